// Making and changing elements. Text goes in as text, never as markup.

export const byId = (id) => document.getElementById(id);

/** Make an element: h("button", {class: "x", type: "button", onclick}, "text", child, ...). */
export function h(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

/** Set an element's text if it differs: writing the same text again would cost a layout. */
export function setText(element, text) {
  if (element.shown !== text) {
    element.textContent = text;
    element.shown = text;
  }
}

/** Set an attribute if it differs. */
export function setAttribute(element, name, value) {
  if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

/** A bar from 0 to 1 with its text beside it; the bar is only an ornament. */
export function bar(share, text, level) {
  const fill = h("span", { class: "fill" });
  fill.style.transform = `scaleX(${Math.max(0, Math.min(1, share || 0))})`;
  return h("span", { class: `meter ${level}` }, h("span", { class: "track", "aria-hidden": "true" }, fill), h("span", { class: "num" }, text));
}

export function toast(text, kind = "info") {
  const made = h("div", { class: `toast ${kind}` }, text);
  byId("toasts").append(made);
  setTimeout(() => made.remove(), 8000);
}
