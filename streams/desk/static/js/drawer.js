// One bot: its score and what it is made of, its use of every limit, its last orders.

import { bar, byId, h, setText } from "./dom.js";
import * as format from "./format.js";
import { ask } from "./orders.js";
import { palette } from "./spark.js";
import { showLife } from "./life.js";
import { may, now, stateOf, store } from "./store.js";
import { listen } from "./stream.js";
import { focusAgain } from "./table.js";

let close = () => {};
let plot = null;
let shown = "";

export function open(id) {
  hide(false);
  shown = id;
  const drawer = byId("drawer");
  drawer.hidden = false;
  drawer.replaceChildren(frame(id));
  document.body.classList.add("with-drawer");
  byId("drawer-close").focus();
  close = listen(`/events/bots/${encodeURIComponent(id)}`, { bot: render });
}

export function hide(giveBack = true) {
  close();
  close = () => {};
  plot?.destroy();
  plot = null;
  shown = "";
  byId("drawer").hidden = true;
  document.body.classList.remove("with-drawer");
  if (giveBack) focusAgain();
}

function frame(id) {
  const buttons = [
    may("KILL") && h("button", { type: "button", class: "danger", onclick: () => ask("KILL", "BOT", id) }, "Stop this bot"),
    may("HALT") && h("button", { type: "button", onclick: () => ask("HALT", "BOT", id) }, "Halt or reduce"),
    may("RELEASE") && h("button", { type: "button", onclick: () => ask("RELEASE", "BOT", id) }, "Release"),
    may("REVOKE") && h("button", { type: "button", onclick: () => ask("REVOKE", "BOT", id) }, "Revoke"),
  ];
  return h(
    "div",
    {},
    h("div", { class: "bar" }, h("h2", {}, id), h("button", { id: "drawer-close", type: "button", class: "plain", "aria-label": "Close", onclick: () => hide() }, "✕")),
    h("p", { id: "drawer-state" }),
    h("div", { class: "line actions" }, ...buttons),
    h("h3", {}, "Score, five minutes"),
    h("div", { id: "drawer-plot", role: "img", "aria-label": "Score over the last five minutes" }),
    h("h3", {}, "What the score is made of"),
    h("dl", { id: "drawer-features", class: "bars" }),
    h("h3", {}, "Use of each limit"),
    h("dl", { id: "drawer-usages", class: "bars" }),
    h("h3", {}, "Policy"),
    h("p", { id: "drawer-policy", class: "dim" }),
    h("h3", {}, "Last orders"),
    h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Last orders" }, h("table", { id: "drawer-orders" }, h("tbody", {}))),
  );
}

function render(detail) {
  if (detail.row[0] !== shown) return;
  const bot = store.bots.get(shown);
  if (bot) {
    const { sign, text } = format.STATES[stateOf(bot)];
    const why = bot.state === "ACTIVE" ? "" : `: ${format.words(bot.why)}, by ${bot.by}, for ${format.span(now() - bot.since)}`;
    setText(byId("drawer-state"), `${sign} ${text}${why} · ${format.count(bot.approved)} approved, ${format.count(bot.refused)} refused, ${bot.open} open`);
  }
  const features = detail.features.map(([name, share]) => [name, bar(share, format.score(share), format.level(share))]);
  byId("drawer-features").replaceChildren(...(features.length ? pairs(features) : [h("dt", {}, "no score yet")]));
  const usages = detail.usages.map(([name, used, limit, unit, share]) => [name, bar(share, `${format.inUnit(used, unit)} of ${format.inUnit(limit, unit)} ${unit}`, format.level(share))]);
  byId("drawer-usages").replaceChildren(...(usages.length ? pairs(usages) : [h("dt", {}, "not registered: no limits, every order is refused")]));
  byId("drawer-policy").textContent = detail.policy ? policyText(detail.policy) : "none";
  const table = byId("drawer-orders").tBodies[0];
  if (!table.contains(document.activeElement)) table.replaceChildren(...detail.recent.map(orderRow));
  draw(detail);
}

const pairs = (rows) => rows.flatMap(([name, content]) => [h("dt", {}, name), h("dd", {}, content)]);

function policyText(policy) {
  const valid = `valid until ${format.moment(policy.validUntil).slice(0, 10)}, review due ${policy.reviewDue}, fitness test due ${policy.fitnessDue}`;
  return `${policy.id.slice(0, 16)}… · ${policy.markets.join(", ")} · ${valid}`;
}

function orderRow([clOrdId, at, reason, symbol, side, quantity, value]) {
  const answer = reason === "NONE" ? "✓ Approved" : `✕ ${format.words(reason)}`;
  const button = h("button", { type: "button", class: "link", onclick: () => showLife(clOrdId, shown) }, clOrdId);
  const cells = [format.clock(at), `${side} ${format.amount(quantity)} ${symbol}`, value ? `${format.inUnit(value, "EUR")} EUR` : ""];
  return h("tr", {}, h("td", {}, button), ...cells.map((text) => h("td", {}, text)), h("td", { class: reason === "NONE" ? "good" : "bad", title: store.reasons[reason] || "" }, answer));
}

function draw(detail) {
  const box = byId("drawer-plot");
  const times = detail.history.map(([at]) => at);
  const scores = detail.history.map(([, value]) => value);
  const level = (value) => times.map(() => (detail.policy ? value : null));
  const data = [times, scores, level(detail.policy?.breaker), level(detail.policy?.halt)];
  if (!plot && times.length && box.clientWidth) plot = new uPlot(options(box.clientWidth), data, box);
  else plot?.setData(data);
}

function options(width) {
  const { line, warn, bad, grid, text } = palette();
  const axis = { stroke: text, grid: { stroke: grid, width: 1 }, ticks: { stroke: grid, width: 1 }, font: "11px system-ui" };
  const threshold = (label, stroke) => ({ label, stroke, dash: [4, 4], points: { show: false } });
  return {
    width,
    height: 150,
    legend: { show: false },
    cursor: { show: false },
    scales: { y: { range: [0, 1] } },
    axes: [{ ...axis, space: 70, values: (_, ticks) => ticks.map((at) => format.clock(at * 1000)) }, { ...axis, size: 36 }],
    series: [{}, { label: "score", stroke: line, width: 2, points: { show: true, size: 4 } }, threshold("breaker", warn), threshold("halt", bad)],
  };
}
