// An order's life with its proof, asked for when somebody looks.

import { get } from "./api.js";
import { byId, h } from "./dom.js";
import * as format from "./format.js";
import { store } from "./store.js";

export async function showLife(clOrdId, bot = "") {
  const dialog = byId("dialog");
  const content = h("div", { class: "life" }, h("p", {}, "Reading the log …"));
  const close = h("button", { type: "button", class: "primary", onclick: () => dialog.close() }, "Close");
  dialog.replaceChildren(h("h2", { id: "dialog-title" }, `Order ${clOrdId}`), content, close);
  if (!dialog.open) dialog.showModal();
  close.focus();
  try {
    const life = await get(`/api/orders/${encodeURIComponent(clOrdId)}?bot=${encodeURIComponent(bot)}`);
    content.replaceChildren(...(life.bots ? choice(clOrdId, life.bots) : steps(life)));
  } catch (error) {
    content.replaceChildren(h("p", { class: "error", role: "alert" }, error.message));
  }
}

function choice(clOrdId, bots) {
  const buttons = bots.map((bot) => h("button", { type: "button", onclick: () => showLife(clOrdId, bot) }, bot));
  return [h("p", {}, "Several bots used this ClOrdID:"), h("div", { class: "presets" }, ...buttons)];
}

function steps({ order, decision, leaf, proof, executions }) {
  const list = h(
    "ol",
    { class: "steps" },
    step("Requested", order.received, asked(order)),
    step(decision.approved ? "✓ Approved" : `✕ Refused: ${format.words(decision.reason)}`, decision.at, decided(decision), decision.approved ? "good" : "bad"),
    step(`Logged as leaf ${format.count(leaf.index)} of lane ${leaf.lane}`, decision.at, [["leaf hash", leaf.hash], ["offset", String(leaf.offset)]]),
    step(proof.verified ? "✓ Proof verified" : "✕ Not proven", 0, proven(proof), proof.verified ? "good" : "bad"),
    ...executions.map((report) => step(format.words(report.exec_type), report.at, executed(report), report.findings ? "bad" : "")),
  );
  return [list];
}

function step(title, at, rows, level = "") {
  const pairs = rows.filter(([, text]) => text !== null && text !== "").flatMap(([name, text]) => [h("dt", {}, name), h("dd", {}, text)]);
  return h("li", { class: level }, h("h3", {}, title, at ? h("time", {}, format.moment(at)) : ""), h("dl", {}, ...pairs));
}

function asked(order) {
  const price = order.price === null ? "at market" : `at ${format.amount(order.price)}`;
  return [
    ["order", `${order.side} ${format.amount(order.order_qty)} ${order.symbol} ${price}, ${format.words(order.msg_type).toLowerCase()}`],
    ["by", `${order.agent_id}, certificate ${order.certificate_sha256.slice(0, 16)}…`],
    ["to", order.ex_destination],
    ["record", `orders.requested, partition ${order.partition}, offset ${order.offset}`],
  ];
}

function decided(decision) {
  const reference = decision.reference;
  return [
    ["after", `${decision.after_ms.toFixed(1)} ms`],
    ...decision.failures.map(([reason, limit, observed, unit]) => [
      format.words(reason),
      `limit ${limit}, observed ${observed} ${unit === "TEXT" ? "" : unit} — ${store.reasons[reason] || ""}`,
    ]),
    ["value", decision.order_value && `${format.amount(decision.order_value)} EUR, day's sum ${format.amount(decision.daily_value || "0")} EUR`],
    ["score", decision.score === null ? null : `${decision.score.toFixed(3)} (${Object.entries(decision.features).filter(([, v]) => v > 0.005).map(([n, v]) => `${n} ${v.toFixed(2)}`).join(", ") || "nothing unusual"})`],
    ["reference", reference && `${format.amount(reference.price)}, ${Math.round(reference.age_ms)} ms old, partition ${reference.partition}, offset ${reference.offset}`],
    ["state", decision.state_before === decision.state_after ? decision.state_after : `${decision.state_before} → ${decision.state_after}`],
    ["policy", decision.policy_sha256.slice(0, 16)],
  ];
}

const proven = (proof) => [["says", proof.text], ["log", proof.origin || null], ["root", proof.root || null]];

function executed(report) {
  return [
    ["traded", Number(report.last_qty) ? `${format.amount(report.last_qty)} at ${format.amount(report.last_px)} on ${report.last_mkt}` : `nothing, on ${report.last_mkt}`],
    ["left", format.amount(report.leaves_qty)],
    ["ExecID", report.exec_id],
    ["findings", report.findings],
  ];
}
