// More than an OK: a name that is typed, a button that is held.

import { h } from "./dom.js";

const HOLD_MS = 900;

/** A word to type, and the button that it unlocks. */
export function typed(word, label, kind, go) {
  const button = h("button", { type: "submit", class: kind, disabled: true, onclick: go }, label);
  const input = h("input", { id: "order-confirm", autocomplete: "off", autocapitalize: "none", spellcheck: "false" });
  input.addEventListener("input", () => {
    button.disabled = input.value !== word;
  });
  return [h("label", { for: "order-confirm" }, "Type ", h("code", {}, word), " to confirm"), input, button];
}

/** A button that acts when it was held, by pointer or key. */
export function held(label, go) {
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
