// The desk's page: one stream in, one frame out.

import * as api from "./api.js";
import { byId, h } from "./dom.js";
import * as drawer from "./drawer.js";
import { showLife } from "./life.js";
import * as orders from "./orders.js";
import * as panels from "./panels.js";
import { forgetColours } from "./spark.js";
import { may, onDelta, onSnapshot, store } from "./store.js";
import { listen } from "./stream.js";
import * as table from "./table.js";

const FORCE_EVERY_MS = 1000;
// Alerts and commands are written at once; figures in motion are not read faster than this, and painting them costs most.
const FIGURES_EVERY_MS = 500;
const KEYS = [
  ["/", "find a bot"],
  ["o", "find an order"],
  ["s", "stop trading"],
  ["1 … 5", "bots, in force, alerts, commands, audit"],
  ["↑ ↓ Enter", "move in the table, open a bot"],
  ["Escape", "close what is open"],
];

let due = { bots: false, alerts: false, commands: false, head: false };
let framed = false;
let forcedAt = 0;
let figuresAt = 0;
let timer = 0;

function changed(parts) {
  due = { bots: due.bots || parts.bots, alerts: due.alerts || parts.alerts, commands: due.commands || parts.commands, head: due.head || parts.head };
  const wait = due.alerts || due.commands ? 0 : FIGURES_EVERY_MS - (Date.now() - figuresAt);
  if (framed || (wait > 0 && timer)) return;
  if (wait > 0) {
    timer = setTimeout(schedule, wait);
  } else {
    schedule();
  }
}

function schedule() {
  clearTimeout(timer);
  timer = 0;
  framed = true;
  requestAnimationFrame(frame);
}

/** Write what is due, at most once a frame. */
function frame() {
  framed = false;
  const now = due;
  due = { bots: false, alerts: false, commands: false, head: false };
  figuresAt = Date.now();
  if (now.head) panels.head();
  if (now.bots) table.render();
  if (now.alerts) panels.alerts();
  if (now.commands) {
    panels.commands();
    orders.render();
  }
  if (now.commands || ((now.bots || now.head) && Date.now() - forcedAt > FORCE_EVERY_MS)) {
    forcedAt = Date.now();
    panels.force();
  }
}

function show(view) {
  document.body.dataset.view = view;
  for (const button of document.querySelectorAll("nav button")) {
    if (button.dataset.show === view) button.setAttribute("aria-current", "page");
    else button.removeAttribute("aria-current");
  }
  changed({ bots: true, alerts: true, commands: true, head: true });
}

function onKey(event) {
  if (event.target.closest("input, select, textarea, dialog[open]") || event.ctrlKey || event.metaKey || event.altKey) return;
  const views = ["bots", "force", "alerts", "commands", "audit"];
  const actions = {
    "/": () => {
      show("bots");
      byId("search").focus();
    },
    o: () => {
      show("bots");
      byId("order-id").focus();
    },
    s: () => may("KILL") && orders.ask("KILL"),
    Escape: () => !byId("drawer").hidden && drawer.hide(),
    "?": help,
  };
  const action = actions[event.key] || (views[Number(event.key) - 1] && (() => show(views[Number(event.key) - 1])));
  if (!action) return;
  event.preventDefault();
  action();
}

function help() {
  const dialog = byId("dialog");
  const rows = KEYS.flatMap(([key, text]) => [h("dt", {}, key), h("dd", {}, text)]);
  dialog.replaceChildren(h("h2", { id: "dialog-title" }, "Keys"), h("dl", { class: "keys" }, ...rows), h("button", { type: "button", class: "primary", onclick: () => dialog.close() }, "Close"));
  dialog.showModal();
}

function theme() {
  const shown = document.documentElement.dataset.theme;
  const dark = shown ? shown === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  const chosen = dark ? "light" : "dark";
  document.documentElement.dataset.theme = chosen;
  localStorage.setItem("desk.theme", chosen);
  forgetColours();
  changed({ bots: true, head: true });
}

async function start() {
  const kept = localStorage.getItem("desk.theme");
  if (kept) document.documentElement.dataset.theme = kept;
  try {
    store.me = await api.me();
  } catch {
    location.assign("/login");
    return;
  }
  byId("user-name").textContent = store.me.name;
  byId("user-role").textContent = store.me.role;
  byId("stop").hidden = !may("KILL");
  table.start(drawer.open);
  panels.start(drawer.open);
  byId("stop").addEventListener("click", () => orders.ask("KILL"));
  byId("theme").addEventListener("click", theme);
  byId("help").addEventListener("click", help);
  byId("logout").addEventListener("click", async () => {
    await api.post("/api/logout");
    location.assign("/login");
  });
  byId("order-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const id = byId("order-id").value.trim();
    if (id) showLife(id);
  });
  for (const button of document.querySelectorAll("nav button")) button.addEventListener("click", () => show(button.dataset.show));
  document.addEventListener("keydown", onKey);
  setInterval(panels.age, 1000);
  panels.age();
  listen("/events", {
    snapshot: (message) => {
      onSnapshot(message);
      changed({ bots: true, alerts: true, commands: true, head: true });
      panels.age();
    },
    delta: (message) => {
      onDelta(message);
      changed({ bots: Boolean(message.bots) || Boolean(message.head), alerts: Boolean(message.alerts), commands: Boolean(message.commands) || Boolean(message.incidents), head: Boolean(message.head) });
    },
    "signed-out": () => location.assign("/login"),
  });
}

await start();
