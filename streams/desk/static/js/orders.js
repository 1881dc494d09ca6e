// Giving commands: stop, halt, reduce, release, acknowledge, revoke. A panic needs more than an OK and less than a form.

import { post } from "./api.js";
import { held, typed } from "./confirm.js";
import { byId, h, setText, toast } from "./dom.js";
import * as format from "./format.js";
import { proof } from "./proof.js";
import { may, store } from "./store.js";

const ALL_WORD = "EVERYTHING";
const REASONS = ["Unusual orders", "Limit breach", "Technical fault", "Asked by the venue", "Drill"];
const TITLES = {
  KILL: "Stop trading",
  HALT: "Halt",
  REDUCE: "Reduce only",
  RELEASE: "Release",
  ACKNOWLEDGE: "Acknowledge",
  REVOKE: "Revoke the certificate",
  CLASSIFY: "Classify the incident",
  REPORT: "Report sent",
  COMPLETE: "Complete and sign the audit",
};
const STOPS = { KILL: "kill", HALT: "halt", REDUCE: "reduce only" };
const SCOPES = { BOT: "one bot", MARKET: "a market", OPERATOR: "an operator", ALL: "everything" };
const NARROW = ["BOT", "MARKET"];
const NOTES = {
  KILL: "New orders are refused from the next decision on, and open orders are cancelled. Positions stay as they are.",
  HALT: "New orders are refused from the next decision on; what is open stays open. Somebody else must release it.",
  REDUCE: "Only orders that lower exposure pass; what is open stays open. Somebody else must release it.",
  RELEASE: "Trading goes on. Whoever stopped it cannot release it: the gate refuses that too.",
  ACKNOWLEDGE: "You have seen it and look after it. Every alert of this scope until now counts as seen.",
  REVOKE: "For good: only a new certificate and a new registration let this bot trade again.",
};

let watched = "";

/** Open the dialog for an action on a scope and target; both can be chosen where no target is given. */
export function ask(action, scope = "BOT", target = "") {
  if (!may(action)) {
    toast(`${format.words(action)} is not for the role ${store.me.role}`, "bad");
    return;
  }
  const dialog = byId("dialog");
  const fixed = Boolean(target) || scope === "ALL";
  const chosen = { action, scope, target };
  const form = h("form", { class: "order", method: "dialog", novalidate: true });
  const reason = h("input", { id: "order-reason", list: "order-reasons", maxlength: "400", required: true, autocomplete: "off" });
  const confirm = h("div", { class: "confirm" });
  const error = h("p", { class: "error", role: "alert" });
  const title = h("h2", { id: "dialog-title" });
  const note = h("p", { class: "note" });
  const where = h("div", {});
  const redraw = () => confirm.replaceChildren(...confirmation(chosen, () => submit(chosen, reason.value, error)));
  const turn = () => {
    setText(title, TITLES[chosen.action]);
    setText(note, NOTES[chosen.action]);
    where.replaceChildren(fixed ? h("p", { class: "scope" }, "for ", h("strong", {}, format.scopeText(chosen))) : scopes(chosen, redraw));
    redraw();
  };
  form.append(
    title,
    ...(action in STOPS && may("HALT") && (!fixed || NARROW.includes(scope)) ? [stops(chosen, turn)] : []),
    where,
    note,
    h("label", { for: "order-reason" }, "Why"),
    reason,
    h("datalist", { id: "order-reasons" }, ...REASONS.map((text) => h("option", { value: text }))),
    ...(action in STOPS ? [presets(reason)] : []),
    confirm,
    error,
    h("button", { type: "button", class: "plain", onclick: () => dialog.close() }, "Leave it"),
  );
  form.addEventListener("submit", (event) => event.preventDefault());
  turn();
  dialog.replaceChildren(form);
  if (!dialog.open) dialog.showModal();
  (fixed ? reason : form.querySelector("select, input")).focus();
}

/** How to stop: for good, until released, or all but what lowers exposure. */
function stops(chosen, turn) {
  const radios = Object.entries(STOPS).map(([action, text]) => {
    const input = h("input", { type: "radio", name: "stop", value: action, ...(action === chosen.action ? { checked: true } : {}) });
    input.addEventListener("change", () => {
      chosen.action = action;
      if (action !== "KILL" && !NARROW.includes(chosen.scope)) chosen.scope = "BOT";
      turn();
    });
    return h("label", {}, input, text);
  });
  return h("fieldset", { class: "scopes" }, h("legend", {}, "How"), ...radios);
}

function scopes(chosen, redraw) {
  const kinds = store.me.role === "operator" ? ["BOT"] : chosen.action === "KILL" ? Object.keys(SCOPES) : NARROW;
  const target = h("select", { id: "order-target", "aria-label": "Which" });
  const fill = () => {
    const names = { BOT: [...store.bots.keys()], MARKET: store.head.markets.map(([name]) => name), OPERATOR: operators(), ALL: [] }[chosen.scope];
    target.hidden = chosen.scope === "ALL";
    target.replaceChildren(...names.sort().map((name) => h("option", {}, name)));
    chosen.target = target.value || "";
    redraw();
  };
  target.addEventListener("change", () => {
    chosen.target = target.value;
    redraw();
  });
  const buttons = kinds.map((kind) => {
    const input = h("input", { type: "radio", name: "scope", value: kind, ...(kind === chosen.scope ? { checked: true } : {}) });
    input.addEventListener("change", () => {
      chosen.scope = kind;
      fill();
    });
    return h("label", {}, input, SCOPES[kind]);
  });
  queueMicrotask(fill);
  return h("fieldset", { class: "scopes" }, h("legend", {}, "What"), ...buttons, target);
}

const operators = () => [...new Set([...store.bots.values()].map((bot) => bot.operator).filter(Boolean))];

function presets(reason) {
  const buttons = REASONS.map((text) => {
    const choose = () => {
      reason.value = text;
    };
    return h("button", { type: "button", onclick: choose }, text);
  });
  return h("div", { class: "presets", role: "group", "aria-label": "Usual reasons" }, ...buttons);
}

/** One bot: hold the button. Anything wider, and whatever loosens: type its name. */
function confirmation(chosen, go) {
  const { action, scope } = chosen;
  const label = `${TITLES[action]}: ${format.scopeText(chosen)}`;
  const kind = action === "RELEASE" || action === "ACKNOWLEDGE" ? "primary" : "danger";
  if (action === "ACKNOWLEDGE") return [h("button", { type: "submit", class: kind, onclick: go }, label)];
  if (action in STOPS && scope === "BOT") return [held(label, go)];
  return typed(scope === "ALL" ? ALL_WORD : chosen.target, label, kind, go);
}

function submit({ action, scope, target }, reason, error) {
  const [named, confirm] = scope === "ALL" ? ["", ALL_WORD] : [target, target];
  return give({ action, scope, target: named, confirm }, reason, error);
}

/** Send a command with its reason, and watch what becomes of it. */
export async function give(command, reason, error) {
  if (!reason.trim()) {
    setText(error, "Say why: the log keeps it.");
    byId("order-reason").focus();
    return;
  }
  setText(error, "");
  try {
    const { command_id: id } = await post("/api/commands", { ...command, reason: reason.trim() });
    watch(id, command.action);
  } catch (refused) {
    setText(error, refused.message);
  }
}

/** Show what becomes of a command, as the lanes' own log tells it. */
export function watch(id, action = "") {
  const dialog = byId("dialog");
  watched = id;
  const close = h("button", { type: "button", class: "primary", onclick: () => dialog.close() }, "Close");
  dialog.replaceChildren(h("h2", { id: "dialog-title" }, TITLES[action] || "Command"), h("div", { id: "watched", role: "status" }), close);
  if (!dialog.open) dialog.showModal();
  render();
  close.focus();
}

/** Bring the open proof up to date. */
export function render() {
  const box = byId("watched");
  if (!box || !byId("dialog").open) return;
  const command = store.commands.get(watched);
  box.replaceChildren(command ? proof(command) : h("p", {}, "Sent. Waiting for the gate's log …"));
}
