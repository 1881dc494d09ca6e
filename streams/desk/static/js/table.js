// The table of bots: only the rows in sight exist, and only cells whose text differs are written.

import { byId, h, setAttribute, setText } from "./dom.js";
import * as format from "./format.js";
import { sparkline } from "./spark.js";
import { now, stateOf, store } from "./store.js";

const OVERSCAN = 4;
const SORT_EVERY_MS = 1000;
const SPARK_EVERY_MS = 2500; // half of a step of the history
const RANK = { HALTED: 0, STOPPED: 0, SUSPENDED: 0, REVOKED: 1, REDUCING: 2, ACTIVE: 3, UNREGISTERED: 4 };

const COLUMNS = [
  { key: "id", text: "bot", value: (bot) => bot.id },
  { key: "operator", text: "operator", value: (bot) => bot.operator, wide: true },
  { key: "state", text: "state", value: (bot) => RANK[stateOf(bot)] ?? 3 },
  { key: "score", text: "score", value: (bot) => bot.score ?? -1, down: true, number: true },
  { key: "spark", text: "5 minutes", wide: true },
  { key: "daily", text: "daily cap", value: (bot) => bot.daily ?? -1, down: true },
  { key: "rate", text: "msg/s", value: (bot) => bot.rate, down: true, number: true, wide: true },
  { key: "approved", text: "approved", value: (bot) => bot.approved, down: true, number: true, wide: true },
  { key: "refused", text: "refused", value: (bot) => bot.refused, down: true, number: true },
  { key: "open", text: "open", value: (bot) => bot.open, down: true, number: true, wide: true },
  { key: "reason", text: "last answer", value: (bot) => bot.reason, wide: true },
];
const saved = JSON.parse(localStorage.getItem("desk.table") || "{}");
const chosen = { search: "", states: saved.states || [], sort: saved.sort || "state", down: saved.down || false };

let shown = []; // ids in order, filtered
let sortedAt = 0;
let sparkAt = 0;
let rows = [];
let focused = "";
let pointed = false; // rows stay where they are while somebody points at them
let scroller;
let body;
let onOpen = () => {};

export function start(open) {
  onOpen = open;
  scroller = byId("scroller");
  body = byId("bot-table").tBodies[0];
  byId("bot-table").tHead.rows[0].append(...COLUMNS.map(heading));
  body.append(h("tr", { class: "gap", "aria-hidden": "true" }), h("tr", { class: "gap", "aria-hidden": "true" }));
  scroller.addEventListener("scroll", () => requestAnimationFrame(() => render()), { passive: true });
  new ResizeObserver(() => render(true)).observe(scroller);
  byId("search").addEventListener("input", (event) => {
    chosen.search = event.target.value.trim().toLowerCase();
    sort(true);
  });
  byId("states").append(...["HALTED", "REDUCING", "ACTIVE"].map(stateFilter));
  body.addEventListener("click", (event) => open_(event.target.closest("tr")?.dataset.id));
  scroller.addEventListener("keydown", onKey);
  scroller.addEventListener("pointerenter", () => (pointed = true));
  scroller.addEventListener("pointerleave", () => (pointed = false));
  markSorted();
}

/** Show the latest; `force` also where nothing was pushed. */
export function render(force = false) {
  if (!scroller.offsetParent) return;
  if (force || (!pointed && Date.now() - sortedAt > SORT_EVERY_MS)) arrange();
  const height = rowHeight();
  const first = Math.max(0, Math.floor(scroller.scrollTop / height) - OVERSCAN);
  const last = Math.min(shown.length, first + Math.ceil(scroller.clientHeight / height) + 2 * OVERSCAN);
  const drawSparks = Date.now() - sparkAt > SPARK_EVERY_MS;
  if (drawSparks) sparkAt = Date.now();
  grow(last - first);
  gap(body.firstElementChild, first * height);
  gap(body.lastElementChild, (shown.length - last) * height);
  for (let place = 0; place < rows.length; place += 1) {
    const id = place < last - first ? shown[first + place] : null;
    fill(rows[place], id === null ? null : store.bots.get(id), first + place, drawSparks);
  }
}

function heading(column) {
  const classes = `${column.wide ? "wide" : ""} ${column.number ? "number" : ""}`;
  if (!column.value) return h("th", { scope: "col", class: classes }, column.text);
  const button = h("button", { type: "button", onclick: () => sortBy(column) }, column.text);
  return h("th", { scope: "col", class: classes, "data-key": column.key }, button);
}

function sortBy(column) {
  chosen.down = chosen.sort === column.key ? !chosen.down : Boolean(column.down);
  chosen.sort = column.key;
  save();
  markSorted();
  sort(true);
}

function markSorted() {
  for (const th of byId("bot-table").tHead.rows[0].cells) {
    if (th.dataset.key === chosen.sort) th.setAttribute("aria-sort", chosen.down ? "descending" : "ascending");
    else th.removeAttribute("aria-sort");
  }
}

function stateFilter(state) {
  const { sign, text } = format.STATES[state];
  const pressed = () => String(chosen.states.includes(state));
  const button = h("button", { type: "button", "aria-pressed": pressed(), class: format.STATES[state].level }, `${sign} ${text}`);
  button.addEventListener("click", () => {
    chosen.states = chosen.states.includes(state) ? chosen.states.filter((s) => s !== state) : [...chosen.states, state];
    button.setAttribute("aria-pressed", pressed());
    save();
    sort(true);
  });
  return button;
}

function save() {
  localStorage.setItem("desk.table", JSON.stringify({ states: chosen.states, sort: chosen.sort, down: chosen.down }));
}

function sort(force) {
  arrange();
  render(force);
}

function arrange() {
  sortedAt = Date.now();
  const column = COLUMNS.find((c) => c.key === chosen.sort) || COLUMNS[2];
  const sign = chosen.down ? -1 : 1;
  const fits = [...store.bots.values()].filter(wanted);
  fits.sort((a, b) => {
    const [x, y] = [column.value(a), column.value(b)];
    if (x !== y) return x < y ? -sign : sign;
    return a.id < b.id ? -1 : 1;
  });
  shown = fits.map((bot) => bot.id);
  byId("bots-empty").hidden = shown.length > 0 || store.bots.size === 0;
  setAttribute(byId("bot-table"), "aria-rowcount", String(shown.length + 1));
}

function wanted(bot) {
  const state = RANK[stateOf(bot)] < 2 ? "HALTED" : stateOf(bot);
  if (chosen.states.length && !chosen.states.includes(state)) return false;
  if (!chosen.search) return true;
  return `${bot.id} ${bot.operator} ${bot.reason} ${stateOf(bot)}`.toLowerCase().includes(chosen.search);
}

function rowHeight() {
  return matchMedia("(max-width: 700px)").matches ? 48 : 36;
}

function grow(wantedRows) {
  while (rows.length < wantedRows) {
    const row = makeRow();
    rows.push(row);
    body.insertBefore(row.element, body.lastElementChild);
  }
}

function gap(row, height) {
  const text = `${height}px`;
  if (row.style.height !== text) row.style.height = text;
}

function makeRow() {
  const cells = {};
  const element = h("tr", { tabindex: "-1" });
  for (const column of COLUMNS) {
    const classes = `${column.wide ? "wide" : ""} ${column.number ? "number" : ""} ${column.key}`;
    const cell = h(column.key === "id" ? "th" : "td", { class: classes, ...(column.key === "id" ? { scope: "row" } : {}) });
    cells[column.key] = cell;
    element.append(cell);
  }
  const canvas = h("canvas", { width: "160", height: "40", "aria-hidden": "true" });
  cells.spark.append(canvas);
  const fillBar = h("span", { class: "fill" });
  const meter = h("span", { class: "meter" }, h("span", { class: "track", "aria-hidden": "true" }, fillBar));
  const share = h("span", { class: "num" });
  meter.append(share);
  cells.daily.append(meter);
  return { element, cells, canvas, fillBar, meter, share, id: "" };
}

function fill(row, bot, place, drawSparks) {
  const { element, cells } = row;
  element.hidden = !bot;
  if (!bot) return;
  const state = stateOf(bot);
  const fresh = row.id !== bot.id;
  row.id = bot.id;
  if (element.dataset.id !== bot.id) element.dataset.id = bot.id;
  setAttribute(element, "aria-rowindex", String(place + 2));
  setAttribute(element, "data-state", state);
  setAttribute(element, "tabindex", bot.id === (focused || shown[0]) ? "0" : "-1");
  const { sign, text } = format.STATES[state] || { sign: "?", text: state };
  const left = state === "REDUCING" && bot.until > now() ? ` ${format.span(bot.until - now())}` : "";
  setText(cells.id, bot.id);
  setText(cells.operator, bot.operator);
  setText(cells.state, `${sign} ${text}${left}`);
  setText(cells.score, format.score(bot.score));
  setText(cells.rate, format.count(bot.rate));
  setText(cells.approved, format.count(bot.approved));
  setText(cells.refused, format.count(bot.refused));
  setText(cells.open, format.count(bot.open));
  setText(cells.reason, bot.reason === "NONE" ? "Approved" : format.words(bot.reason));
  setText(row.share, format.percent(bot.daily));
  setAttribute(row.meter, "class", `meter ${format.level(bot.daily)}`);
  const scale = `scaleX(${Math.max(0, Math.min(1, bot.daily || 0)).toFixed(3)})`;
  if (row.fillBar.style.transform !== scale) row.fillBar.style.transform = scale;
  if (drawSparks || fresh) sparkline(row.canvas, store.histories.get(bot.id) || [], now());
}

function onKey(event) {
  const row = event.target.closest("tr[data-id]");
  const place = row ? shown.indexOf(row.dataset.id) : -1;
  const moves = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10, Home: -shown.length, End: shown.length };
  if (event.key in moves) {
    event.preventDefault();
    focusRow(Math.max(0, Math.min(shown.length - 1, place + moves[event.key])));
  } else if (row && (event.key === "Enter" || event.key === " ")) {
    event.preventDefault();
    open_(row.dataset.id);
  }
}

function focusRow(place) {
  focused = shown[place] || "";
  const height = rowHeight();
  const top = place * height;
  const head = byId("bot-table").tHead.offsetHeight;
  if (top < scroller.scrollTop) scroller.scrollTop = top;
  if (top + height > scroller.scrollTop + scroller.clientHeight - head) scroller.scrollTop = top + height - scroller.clientHeight + head;
  render(true);
  rows.find((row) => row.id === focused && !row.element.hidden)?.element.focus();
}

function open_(id) {
  if (!id) return;
  focused = id;
  onOpen(id);
}

/** Give the focus back to the row that was opened. */
export function focusAgain() {
  rows.find((row) => row.id === focused && !row.element.hidden)?.element.focus();
}
