// Giving commands: stop, release, acknowledge, revoke. A panic needs more than an OK and less than a form.

import { post } from "./api.js";
import { byId, h, setText, toast } from "./dom.js";
import * as format from "./format.js";
import { proof } from "./proof.js";
import { may, store } from "./store.js";

const HOLD_MS = 900;
const ALL_WORD = "EVERYTHING";
const REASONS = ["Unusual orders", "Limit breach", "Technical fault", "Asked by the venue", "Drill"];
const TITLES = {
  KILL: "Stop trading",
  RELEASE: "Release",
  ACKNOWLEDGE: "Acknowledge",
  REVOKE: "Revoke the certificate",
};
const NOTES = {
  KILL: "New orders are refused from the next decision on, and open orders are cancelled. Positions stay as they are.",
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
  const where = fixed ? h("p", { class: "scope" }, "for ", h("strong", {}, format.scopeText(chosen))) : scopes(chosen, () => redraw());
  const redraw = () => confirm.replaceChildren(...confirmation(chosen, () => submit(chosen, reason.value, error)));
  form.append(
    h("h2", { id: "dialog-title" }, TITLES[action]),
    where,
    h("p", { class: "note" }, NOTES[action]),
    h("label", { for: "order-reason" }, "Why"),
    reason,
    h("datalist", { id: "order-reasons" }, ...REASONS.map((text) => h("option", { value: text }))),
    ...(action === "KILL" ? [presets(reason)] : []),
    confirm,
    error,
    h("button", { type: "button", class: "plain", onclick: () => dialog.close() }, "Leave it"),
  );
  form.addEventListener("submit", (event) => event.preventDefault());
  redraw();
  dialog.replaceChildren(form);
  if (!dialog.open) dialog.showModal();
  (fixed ? reason : form.querySelector("select, input")).focus();
}

function scopes(chosen, redraw) {
  const operator = store.me.role === "operator";
  const kinds = operator ? ["BOT"] : ["BOT", "MARKET", "OPERATOR", "ALL"];
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
    return h("label", {}, input, { BOT: "one bot", MARKET: "a market", OPERATOR: "an operator", ALL: "everything" }[kind]);
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
  if (action === "ACKNOWLEDGE") return [h("button", { type: "submit", class: "primary", onclick: go }, label)];
  if (action === "KILL" && scope === "BOT") return [holdButton(label, go)];
  const word = scope === "ALL" ? ALL_WORD : chosen.target;
  const button = h("button", { type: "submit", class: action === "RELEASE" ? "primary" : "danger", disabled: true, onclick: go }, label);
  const typed = h("input", { id: "order-confirm", autocomplete: "off", autocapitalize: "none", spellcheck: "false" });
  typed.addEventListener("input", () => {
    button.disabled = typed.value !== word;
  });
  return [h("label", { for: "order-confirm" }, "Type ", h("code", {}, word), " to confirm"), typed, button];
}

function holdButton(label, go) {
  const fill = h("span", { class: "holding", "aria-hidden": "true" });
  const button = h("button", { type: "button", class: "danger hold" }, fill, h("span", {}, `Hold to ${label.charAt(0).toLowerCase()}${label.slice(1)}`));
  let timer = 0;
  const down = (event) => {
    if (timer || (event.type === "keydown" && event.key !== " " && event.key !== "Enter")) return;
    event.preventDefault();
    button.classList.add("down");
    timer = setTimeout(() => {
      up();
      go();
    }, HOLD_MS);
  };
  const up = () => {
    clearTimeout(timer);
    timer = 0;
    button.classList.remove("down");
  };
  for (const name of ["pointerdown", "keydown"]) button.addEventListener(name, down);
  for (const name of ["pointerup", "pointerleave", "pointercancel", "keyup", "blur"]) button.addEventListener(name, up);
  return button;
}

async function submit(chosen, reason, error) {
  if (!reason.trim()) {
    setText(error, "Say why: the log keeps it.");
    byId("order-reason").focus();
    return;
  }
  setText(error, "");
  try {
    const target = chosen.scope === "ALL" ? "" : chosen.target;
    const { command_id: id } = await post("/api/commands", {
      action: chosen.action,
      scope: chosen.scope,
      target,
      reason: reason.trim(),
      confirm: chosen.scope === "ALL" ? ALL_WORD : target,
    });
    watch(id, chosen.action);
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
