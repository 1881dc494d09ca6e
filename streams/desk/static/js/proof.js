// A command's proof: what was asked, from which offset on each lane enforces it, what was refused since.

import { h } from "./dom.js";
import * as format from "./format.js";

/** Everything about one command, as a definition list. */
export function proof(command) {
  const refusedBy = command.answers.filter(([, , , applied]) => !applied);
  const rows = [
    ["requested", `${format.moment(command.at)} by ${command.by}`],
    ["for", format.scopeText(command)],
    ...(command.reason ? [["because", command.reason]] : []),
  ];
  const box = h("div", { class: "proof" }, h("p", { class: `verdict ${level(command)}` }, headline(command)));
  const list = h("dl", {}, ...rows.flatMap(([name, text]) => [h("dt", {}, name), h("dd", {}, text)]));
  box.append(list);
  if (command.answers.length) box.append(lanes(command));
  if (command.action === "KILL" && !refusedBy.length) box.append(since(command));
  return box;
}

/** In one sentence: does it hold? */
export function headline(command) {
  const refused = command.answers.find(([, , , applied]) => !applied);
  if (refused) return `✕ Refused by the gate: ${refused[4] || "see the log"}`;
  const done = `${command.answers.length} of ${command.wanted} lane${command.wanted === 1 ? "" : "s"}`;
  if (!command.complete) return `… Requested, in force in ${done}`;
  const speed = command.effectMs === null ? "" : `, ${Math.round(command.effectMs)} ms after it was given`;
  if (command.liftedAt) return `○ Released by ${command.liftedBy} at ${format.clock(command.liftedAt)} UTC`;
  return `✓ In force in ${done}${speed}`;
}

export function level(command) {
  if (command.answers.some(([, , , applied]) => !applied)) return "bad";
  return command.complete ? "good" : "warn";
}

function lanes(command) {
  const rows = command.answers.map(([lane, offset, at, applied, text]) =>
    h("tr", {}, h("td", {}, String(lane)), h("td", {}, String(offset)), h("td", {}, format.clock(at)), h("td", {}, applied ? "enforced" : "refused"), h("td", {}, text)),
  );
  const head = ["lane", "offset in the log", "at", "", "effect"].map((text) => h("th", { scope: "col" }, text));
  return h("table", { class: "lanes" }, h("thead", {}, h("tr", {}, ...head)), h("tbody", {}, ...rows));
}

function since(command) {
  const figures = [
    ["orders refused since", format.count(command.refused)],
    ["orders approved since", format.count(command.approved)],
    ["open orders then", format.count(command.openBefore)],
    ["cancelled by venues", format.count(command.cancelled)],
    ["open now", format.count(command.openNow)],
  ];
  return h("dl", { class: "figures" }, ...figures.map(([name, text]) => h("div", {}, h("dt", {}, name), h("dd", {}, text))));
}
