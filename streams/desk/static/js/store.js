// What the page knows: filled by what is pushed, read by what is shown. Times are the server's, in milliseconds.

const HISTORY_STEP_S = 5;
const HISTORY_STEPS = 60;
const ALERTS_MAX = 2000;

export const store = {
  me: null,
  head: null,
  reasons: {},
  bots: new Map(),
  histories: new Map(),
  alerts: new Map(),
  commands: new Map(),
  incidents: new Map(),
  /** Server's clock minus this machine's. */
  ahead: 0,
  /** When the last message came, by this machine's clock; 0 before the first. */
  heard: 0,
};

let botFields = [];
let alertFields = [];

export const now = () => Date.now() + store.ahead;

/** Take in everything anew. */
export function onSnapshot(message) {
  botFields = message.botFields;
  alertFields = message.alertFields;
  store.reasons = message.reasons;
  for (const kept of [store.bots, store.histories, store.alerts, store.commands, store.incidents]) kept.clear();
  for (const [id, steps] of Object.entries(message.histories)) store.histories.set(id, steps);
  onHead(message.head);
  onRows(message);
}

/** Take in what changed; returns which parts did. */
export function onDelta(message) {
  store.ahead = message.now - Date.now();
  if (message.head) onHead(message.head);
  onRows(message);
}

function onHead(head) {
  store.head = head;
  store.ahead = head.now - Date.now();
}

function onRows(message) {
  for (const row of message.bots || []) {
    const bot = named(botFields, row);
    store.bots.set(bot.id, bot);
    remember(bot);
  }
  for (const row of message.alerts || []) {
    const alert = named(alertFields, row);
    store.alerts.set(alert.id, alert);
  }
  while (store.alerts.size > ALERTS_MAX) store.alerts.delete(store.alerts.keys().next().value);
  for (const command of message.commands || []) store.commands.set(command.id, command);
  for (const incident of message.incidents || []) store.incidents.set(incident.id, incident);
}

function named(fields, row) {
  const made = {};
  for (let place = 0; place < fields.length; place += 1) made[fields[place]] = row[place];
  return made;
}

/** Keep the highest score of each five seconds, as the server does. */
function remember(bot) {
  if (bot.score === null) return;
  const step = Math.floor(bot.last / 1000 / HISTORY_STEP_S) * HISTORY_STEP_S;
  let steps = store.histories.get(bot.id);
  if (!steps) store.histories.set(bot.id, (steps = []));
  const last = steps[steps.length - 1];
  if (last && last[0] >= step) {
    if (bot.score > last[1]) last[1] = bot.score;
  } else {
    steps.push([step, bot.score]);
    if (steps.length > HISTORY_STEPS) steps.shift();
  }
}

/** What a bot's state is called: a wide kill stands above its own. */
export function stateOf(bot) {
  if (!bot.registered) return "UNREGISTERED";
  return bot.stop && bot.state === "ACTIVE" ? "STOPPED" : bot.state;
}

export const may = (action) => store.me !== null && store.me.may.includes(action);
