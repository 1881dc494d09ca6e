// An incident's card: what happened, and each deadline with the time that is left.

import { h } from "./dom.js";
import * as format from "./format.js";
import { now } from "./store.js";

export function incidentCard(incident) {
  const deadlines = incident.deadlines.map(([name, at, met]) => {
    const left = at - now();
    const text = met ? `✓ done ${format.clock(met)}` : left > 0 ? `${format.span(left)} left` : `▲ ${format.span(-left)} late`;
    return h("div", { class: met ? "good" : left > 0 ? "warn" : "bad" }, h("dt", {}, format.words(name)), h("dd", {}, text));
  });
  return h(
    "article",
    { class: "card warn" },
    h("h3", {}, `◆ Incident: ${incident.title}`),
    h("p", {}, `${format.words(incident.state)} since ${format.clock(incident.at)} UTC`),
    h("dl", { class: "deadlines" }, ...deadlines),
  );
}
