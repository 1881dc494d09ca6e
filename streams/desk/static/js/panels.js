// What stands beside the table: head, banner, alerts, what is in force, commands, audit.

import { byId, h, setAttribute, setText } from "./dom.js";
import * as format from "./format.js";
import { incidentCard } from "./incidents.js";
import { ask, watch } from "./orders.js";
import { headline, level } from "./proof.js";
import { throughput } from "./spark.js";
import { may, now, stateOf, store } from "./store.js";

const SILENT_MS = 3000;
// Events and their checkpoint are one transaction; the desk verifies the last one each second.
const UNSIGNED_MS = 3000;
const ALERTS_SHOWN = 150;
const COMMANDS_SHOWN = 100;
const FORCE_SHOWN = 60;
const saved = JSON.parse(localStorage.getItem("desk.alerts") || "{}");
const filter = { severities: saved.severities || [], open: saved.open || false, search: "" };
let openBot = () => {};

export function start(open) {
  openBot = open;
  byId("severities").append(...Object.entries(format.SEVERITIES).map(severityFilter));
  byId("open-only").checked = filter.open;
  byId("open-only").addEventListener("change", (event) => {
    filter.open = event.target.checked;
    saveFilter();
  });
  byId("alert-search").addEventListener("input", (event) => {
    filter.search = event.target.value.trim().toLowerCase();
    alerts();
  });
  byId("command-search").addEventListener("input", commands);
}

function severityFilter([severity, { sign, text, level: colour }]) {
  const pressed = () => String(filter.severities.includes(severity));
  const button = h("button", { type: "button", "aria-pressed": pressed(), class: colour }, `${sign} ${text}`);
  button.addEventListener("click", () => {
    const on = filter.severities.includes(severity);
    filter.severities = on ? filter.severities.filter((s) => s !== severity) : [...filter.severities, severity];
    button.setAttribute("aria-pressed", pressed());
    saveFilter();
  });
  return button;
}

function saveFilter() {
  localStorage.setItem("desk.alerts", JSON.stringify({ severities: filter.severities, open: filter.open }));
  alerts();
}

/** The head: figures of the last second, and whether each part lives. */
export function head() {
  const { head: figures } = store;
  if (!figures) return;
  const scoped = figures.seconds === undefined;
  byId("figures").hidden = byId("fig-spark").hidden = scoped;
  if (!scoped) {
    const done = figures.seconds.filter(([second]) => second < Math.floor(figures.now / 1000)).slice(-3);
    const rate = done.length ? done.reduce((sum, [, yes, no]) => sum + yes + no, 0) / 3 : 0;
    setText(byId("fig-rate"), format.count(Math.round(rate)));
    const total = figures.approved + figures.refused;
    setText(byId("fig-share"), total ? format.percent(figures.approved / total) : "–");
    setText(byId("fig-p50"), figures.p50Ms === null ? "–" : `${Math.round(figures.p50Ms)} ms`);
    setText(byId("fig-p99"), figures.p99Ms === null ? "–" : `${Math.round(figures.p99Ms)} ms`);
    throughput(byId("fig-spark"), figures.seconds);
  }
  setText(byId("count-bots"), format.count(store.bots.size));
  audit();
}

function chip(id, state, text) {
  setAttribute(byId(id), "class", state);
  setText(byId(id).querySelector(".mark"), { good: "●", warn: "◆", bad: "▲" }[state]);
  setText(byId(id).querySelector(".text"), text);
}

/** Each second: the clock, and how old the picture is. Runs also while nothing is pushed. */
export function age() {
  setText(byId("clock"), `${format.clock(now())} UTC`);
  const silent = store.heard ? Date.now() - store.heard : 0;
  const figures = store.head;
  const problems = [];
  if (!store.heard) problems.push("Connecting to the desk …");
  else if (silent > SILENT_MS) problems.push(`No word from the desk for ${format.span(silent)}: what you see is that old.`);
  else if (figures) problems.push(...behind(figures));
  const banner = byId("banner");
  banner.hidden = problems.length === 0;
  setText(banner, problems.length ? `▲ ${problems.join(" ")}` : "");
  document.body.classList.toggle("stale", problems.length > 0 && store.heard > 0);
  chip("chip-live", silent > SILENT_MS || !store.heard ? "bad" : "good", silent > SILENT_MS ? `Old: ${format.span(silent)}` : "Live");
  if (figures) health(figures);
}

function behind(figures) {
  const found = [];
  if (figures.silentMs) found.push(`The cluster has not answered for ${format.span(figures.silentMs)}: what you see is that old.`);
  else if (!figures.caughtUp) found.push("The desk is still reading the log.");
  const stalled = figures.lanes.filter((lane) => lane.stalledMs);
  if (stalled.length) {
    const waiting = stalled.reduce((sum, lane) => sum + lane.waiting, 0);
    const longest = Math.max(...stalled.map((lane) => lane.stalledMs));
    found.push(`No decision for ${format.span(longest)}: ${format.count(waiting)} orders wait.`);
  }
  if (figures.lanes.some((lane) => !lane.signatureOk)) found.push("A checkpoint of the log does not bear the log's signature.");
  if (figures.lanes.some((lane) => !lane.witnessOk)) found.push("A cosigned checkpoint does not satisfy the witness policy.");
  return found;
}

function health(figures) {
  const waiting = figures.lanes.reduce((sum, lane) => sum + lane.waiting, 0);
  const stalled = figures.lanes.some((lane) => lane.stalledMs);
  chip("chip-gate", stalled || figures.silentMs ? "bad" : "good", stalled ? `Gate: ${format.count(waiting)} wait` : "Gate decides");
  const bad = figures.lanes.some((lane) => !lane.signatureOk);
  const signed = figures.lanes.filter((lane) => lane.signedAt >= lane.eventAt - UNSIGNED_MS).length;
  chip("chip-log", bad ? "bad" : "good", bad ? "Log: bad signature" : `Log signed ${signed}/${figures.lanes.length}`);
}

export function alerts() {
  const open = [...store.alerts.values()].filter((alert) => !alert.ackAt && alert.severity !== "INFO");
  setText(byId("count-alerts"), open.length ? String(open.length) : "");
  const list = byId("alert-list");
  if (!list.offsetParent) return;
  const fits = [...store.alerts.values()].filter(wanted).sort((a, b) => b.at - a.at);
  list.replaceChildren(...fits.slice(0, ALERTS_SHOWN).map(alertItem));
  if (!fits.length) list.append(h("li", { class: "empty" }, "No alert fits the filter."));
}

function wanted(alert) {
  if (filter.severities.length && !filter.severities.includes(alert.severity)) return false;
  if (filter.open && alert.ackAt) return false;
  return !filter.search || `${alert.kind} ${alert.bot} ${alert.market} ${alert.message}`.toLowerCase().includes(filter.search);
}

function alertItem(alert) {
  const { sign, text, level: colour } = format.SEVERITIES[alert.severity] || format.SEVERITIES.INFO;
  const [scope, target] = alert.bot ? ["BOT", alert.bot] : alert.market ? ["MARKET", alert.market] : ["ALL", ""];
  const acknowledge = () => ask("ACKNOWLEDGE", scope, target);
  return h(
    "li",
    { class: `alert ${colour} ${alert.ackAt ? "seen" : ""}` },
    h("div", { class: "line" }, h("span", { class: "sign" }, `${sign} ${text}`), h("span", { class: "kind" }, format.words(alert.kind)), h("time", {}, format.clock(alert.at))),
    h("p", {}, alert.message),
    h(
      "div",
      { class: "line foot" },
      alert.bot && h("button", { type: "button", class: "link", onclick: () => openBot(alert.bot) }, alert.bot),
      alert.ackAt ? h("span", { class: "by" }, `seen by ${alert.ackBy}, ${format.clock(alert.ackAt)}`) : may("ACKNOWLEDGE") && h("button", { type: "button", onclick: acknowledge }, "Acknowledge"),
    ),
  );
}

/** Kills, incidents with their deadlines, breakers with their countdown. */
export function force() {
  const kills = [...store.commands.values()].filter((command) => command.inForce).sort((a, b) => b.at - a.at);
  const killed = new Set(kills.filter((kill) => kill.scope === "BOT").map((kill) => kill.target));
  const incidents = [...store.incidents.values()].filter((incident) => !incident.closed);
  const stopped = [...store.bots.values()].filter((bot) => bot.state !== "ACTIVE" && !killed.has(bot.id));
  stopped.sort((a, b) => b.since - a.since);
  setText(byId("count-force"), kills.length + incidents.length + stopped.length ? String(kills.length + incidents.length + stopped.length) : "");
  const list = byId("force-list");
  if (!list.offsetParent || list.contains(document.activeElement)) return;
  const cards = [...kills.map(killCard), ...incidents.map(incidentCard), ...stopped.slice(0, FORCE_SHOWN).map(breakerCard)];
  if (stopped.length > FORCE_SHOWN) cards.push(h("p", { class: "empty" }, `and ${stopped.length - FORCE_SHOWN} more bots: filter the table by state`));
  list.replaceChildren(...(cards.length ? cards : [h("p", { class: "empty" }, "Nothing is stopped.")]));
}

function killCard(kill) {
  const own = kill.by === store.me.name;
  return h(
    "article",
    { class: "card bad" },
    h("h3", {}, `■ Stop: ${format.scopeText(kill)}`),
    h("p", { class: `verdict ${level(kill)}` }, headline(kill)),
    h("p", {}, `${kill.by}, ${format.clock(kill.at)} UTC${kill.reason ? `: ${kill.reason}` : ""}`),
    h("p", { class: "counts" }, `${format.count(kill.refused)} refused, ${format.count(kill.approved)} approved since; open orders: ${kill.openBefore} then, ${kill.cancelled} cancelled, ${kill.openNow} now`),
    h(
      "div",
      { class: "line foot" },
      h("button", { type: "button", onclick: () => watch(kill.id, kill.action) }, "Proof"),
      may("RELEASE") && !own && h("button", { type: "button", onclick: () => ask("RELEASE", kill.scope, kill.target) }, "Release"),
      may("RELEASE") && own && h("span", { class: "by" }, "You stopped this: somebody else must release it."),
    ),
  );
}

function breakerCard(bot) {
  const { sign, text, level: colour } = format.STATES[stateOf(bot)];
  const left = bot.until > now() ? `closes in ${format.span(bot.until - now())}` : `for ${format.span(now() - bot.since)}`;
  return h(
    "article",
    { class: `card ${colour}` },
    h("h3", {}, `${sign} ${text}: ${bot.id}`),
    h("p", {}, `${format.words(bot.why)}${bot.by ? `, by ${bot.by}` : ""}`),
    h("p", { class: "counts" }, `${left}; score ${format.score(bot.score)}`),
    h(
      "div",
      { class: "line foot" },
      h("button", { type: "button", onclick: () => openBot(bot.id) }, "Look"),
      may("RELEASE") && bot.state === "HALTED" && h("button", { type: "button", onclick: () => ask("RELEASE", "BOT", bot.id) }, "Release"),
    ),
  );
}

export function commands() {
  const table = byId("command-table");
  if (!table.offsetParent) return;
  const search = byId("command-search").value.trim().toLowerCase();
  const fits = [...store.commands.values()].filter((c) => `${c.by} ${c.action} ${c.scope} ${c.target} ${c.reason}`.toLowerCase().includes(search));
  fits.sort((a, b) => b.at - a.at);
  table.tBodies[0].replaceChildren(...fits.slice(0, COMMANDS_SHOWN).map(commandRow));
}

function commandRow(command) {
  const since = command.action === "KILL" ? `${format.count(command.refused)} refused, ${format.count(command.approved)} approved` : "";
  const cells = [format.moment(command.at).slice(0, 19), command.by, `${command.action} ${format.scopeText(command)}`, command.reason];
  const show = h("button", { type: "button", class: "link", onclick: () => watch(command.id, command.action) }, headline(command));
  return h("tr", {}, ...cells.map((text) => h("td", {}, text)), h("td", { class: `verdict ${level(command)}` }, show), h("td", {}, since));
}

function audit() {
  const table = byId("lane-table");
  if (!table.offsetParent) return;
  const rows = store.head.lanes.map((lane) =>
    [
      String(lane.lane),
      format.count(lane.leaves),
      format.count(lane.signed),
      lane.signedAt ? `${format.span(now() - lane.signedAt)} ago` : "none yet",
      lane.signatureOk ? "✓ holds" : "✕ bad",
      !lane.witnessOk ? "✕ not cosigned" : lane.witnessed ? `✓ up to ${format.count(lane.witnessed)}` : "none seen",
      format.count(lane.waiting),
      `${format.count(lane.lag)} records`,
      lane.eventAt ? `${format.span(now() - lane.eventAt)} ago` : "–",
    ].map((text) => h("td", {}, text)),
  );
  table.tBodies[0].replaceChildren(...rows.map((cells) => h("tr", {}, ...cells)));
  const kills = [...store.commands.values()].filter((command) => command.inForce);
  const markets = store.head.markets.map(([name, own]) => {
    const state = kills.some((kill) => kill.scope === "ALL" || kill.target === name) ? "STOPPED" : own;
    const stop = may("KILL") && store.me.role !== "operator" && h("button", { type: "button", "aria-label": `Stop ${name}`, onclick: () => ask("KILL", "MARKET", name) }, "Stop");
    const { sign, text, level: colour } = format.STATES[state] || format.STATES.HALTED;
    const free = may("RELEASE") && own !== "ACTIVE" && h("button", { type: "button", "aria-label": `Release ${name}`, onclick: () => ask("RELEASE", "MARKET", name) }, "Release");
    return h("li", {}, h("strong", {}, name), h("span", { class: colour }, `${sign} ${text}`), stop, free);
  });
  const list = byId("markets");
  if (!list.contains(document.activeElement)) list.replaceChildren(...markets);
}
