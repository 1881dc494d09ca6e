// Numbers, times and states as people read them. A state or severity is always a sign and a word, never a colour alone.

const whole = new Intl.NumberFormat("en-US");

export const count = (n) => (n === null || n === undefined ? "–" : whole.format(n));
export const percent = (share) => (share === null || share === undefined ? "–" : `${(share * 100).toFixed(share < 0.1 ? 1 : 0)} %`);
export const score = (value) => (value === null || value === undefined ? "–" : value.toFixed(2));
export const level = (share) => (share >= 0.9 ? "bad" : share >= 0.7 ? "warn" : "good");

/** Money to the unit, everything else as it is. */
export const inUnit = (text, unit) => amount(unit === "EUR" ? String(text).split(".")[0] : text);

export function amount(text) {
  const [units, fraction = ""] = String(text).split(".");
  const grouped = units.replace(/\B(?=(\d{3})+(?!\d))/g, ",");
  return fraction ? `${grouped}.${fraction.slice(0, 6)}` : grouped;
}

export function clock(ms) {
  return ms ? new Date(ms).toISOString().slice(11, 19) : "–";
}

export function moment(ms) {
  return ms ? new Date(ms).toISOString().replace("T", " ").replace("Z", " UTC") : "–";
}

/** How long ago or how long still, in the largest two units. */
export function span(ms) {
  const s = Math.max(0, Math.round(ms / 1000));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${String(s % 60).padStart(2, "0")} s`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${String(Math.floor((s % 3600) / 60)).padStart(2, "0")} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

export const STATES = {
  UNREGISTERED: { sign: "○", text: "Not registered", level: "info" },
  ACTIVE: { sign: "●", text: "Active", level: "good" },
  REDUCING: { sign: "◐", text: "Breaker open", level: "warn" },
  HALTED: { sign: "■", text: "Halted", level: "bad" },
  STOPPED: { sign: "■", text: "Stopped", level: "bad" },
  SUSPENDED: { sign: "✕", text: "Suspended", level: "bad" },
  REVOKED: { sign: "✕", text: "Revoked", level: "bad" },
};

export const SEVERITIES = {
  CRITICAL: { sign: "▲", text: "Critical", level: "bad" },
  WARNING: { sign: "◆", text: "Warning", level: "warn" },
  INFO: { sign: "•", text: "Info", level: "info" },
};

/** CODE_LIKE_THIS → Code like this. */
export function words(code) {
  const text = String(code).replaceAll("_", " ").toLowerCase();
  return text.charAt(0).toUpperCase() + text.slice(1);
}

export const scopeText = (command) => (command.scope === "ALL" ? "everything" : `${command.scope.toLowerCase()} ${command.target}`);
