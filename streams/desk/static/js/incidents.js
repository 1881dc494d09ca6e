// An incident's card: what happened, each deadline with the time that is left, and the steps that a person signs.

import { typed } from "./confirm.js";
import { byId, h } from "./dom.js";
import * as format from "./format.js";
import { give } from "./orders.js";
import { may, now } from "./store.js";

const NOTES = {
  CLASSIFY: "A major incident (DORA Art. 18) is reported to the authority: its deadlines begin with your signature.",
  REPORT: "You say that the report was sent; the next one's clock starts. Name the receipt.",
  COMPLETE: "The audit is built from the log as it is now and signed by you with your findings.",
};
const REASONS = { CLASSIFY: "Why", REPORT: "Receipt", COMPLETE: "Findings" };
const REPORTS = { INITIAL_DUE: "INITIAL_REPORT", INTERMEDIATE_DUE: "INTERMEDIATE_REPORT", FINAL_DUE: "FINAL_REPORT" };

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
    h("div", { class: "line foot" }, ...steps(incident)),
  );
}

function steps(incident) {
  const report = REPORTS[incident.reporting];
  const audited = incident.deadlines.some(([duty, , done]) => duty === "POST_INCIDENT_AUDIT" && done);
  const step = (action, title, stage) => may(action) && h("button", { type: "button", onclick: () => ask(action, title, incident, stage) }, title);
  return [step("CLASSIFY", "Classify"), report && step("REPORT", `${format.words(report)} sent`, report), !audited && step("COMPLETE", "Complete and sign")];
}

/** Ask for what a step needs; the incident's id is typed, as what is signed stays in the log. */
function ask(action, title, incident, stage) {
  const dialog = byId("dialog");
  const reason = h("textarea", { id: "order-reason", rows: "3", maxlength: "400", required: true });
  const changes = h("textarea", { id: "order-changes", rows: "3", maxlength: "4000" });
  const major = h("input", { type: "radio", name: "major", value: "MAJOR" });
  const minor = h("input", { type: "radio", name: "major", value: "NOT_MAJOR", checked: true });
  const error = h("p", { class: "error", role: "alert" });
  const more = {
    CLASSIFY: () => ({ stage: major.checked ? "MAJOR" : "NOT_MAJOR" }),
    REPORT: () => ({ stage }),
    COMPLETE: () => ({ changes: changes.value.split("\n").map((line) => line.trim()).filter(Boolean) }),
  }[action];
  const go = () => give({ action, incident: incident.id, confirm: incident.id, ...more() }, reason.value.replace(/\s+/g, " "), error);
  const form = h(
    "form",
    { class: "order", method: "dialog", novalidate: true },
    h("h2", { id: "dialog-title" }, title),
    h("p", { class: "scope" }, "incident ", h("strong", {}, `${incident.id}, ${incident.title.toLowerCase()}`)),
    h("p", { class: "note" }, NOTES[action]),
    action === "CLASSIFY" && h("fieldset", { class: "scopes" }, h("legend", {}, "Is it major?"), h("label", {}, minor, "not major"), h("label", {}, major, "major")),
    h("label", { for: "order-reason" }, REASONS[action]),
    reason,
    ...(action === "COMPLETE" ? [h("label", { for: "order-changes" }, "What is to be changed, a line each"), changes] : []),
    h("div", { class: "confirm" }, ...typed(incident.id, title, "primary", go)),
    error,
    h("button", { type: "button", class: "plain", onclick: () => dialog.close() }, "Leave it"),
  );
  form.addEventListener("submit", (event) => event.preventDefault());
  dialog.replaceChildren(form);
  dialog.showModal();
  reason.focus();
}
