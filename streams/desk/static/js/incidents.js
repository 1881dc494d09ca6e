// An incident's card: what happened, and each deadline with the time that is left.

import { h } from "./dom.js";
import * as format from "./format.js";
import { now } from "./store.js";

export function incidentCard(incident) {
  const deadlines = incident.deadlines.map(([duty, due, done, by]) => {
    const left = due - now();
    const text = done ? `✓ ${by}, ${format.clock(done)}` : left > 0 ? `${format.span(left)} left` : `▲ ${format.span(-left)} late`;
    return h("div", { class: done ? "good" : left > 0 ? "warn" : "bad" }, h("dt", {}, format.words(duty)), h("dd", {}, text));
  });
  const late = incident.deadlines.some(([, due, done]) => !done && due < now());
  const score = incident.score === null ? "" : `, score ${format.score(incident.score)}`;
  const owed = incident.reporting === "NONE" ? "" : `; regulator: ${format.words(incident.reporting).toLowerCase()}`;
  return h(
    "article",
    { class: `card ${late ? "bad" : "warn"}` },
    h("h3", {}, `${late ? "▲" : "◆"} Incident ${incident.id}: ${incident.title.toLowerCase()}`),
    h("p", {}, `${format.words(incident.cause)}${score}, since ${format.clock(incident.at)} UTC${owed}`),
    h("dl", { class: "deadlines" }, ...deadlines),
  );
}
