"""The desk's read model: records in, one picture out, and what of it changed since somebody last looked. Pure."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from streams.core.orders import TradingState
from streams.desk.alerts import Alerts
from streams.desk.bots import Bot
from streams.desk.facts import Changed, Commanded, Decided, Executed, Place
from streams.desk.lanes import Lane, Pulse
from streams.desk.stops import Stops
from streams.wire.commands import Action, Scope

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from streams.core.incident import Incident
    from streams.core.policy import Policy
    from streams.desk.facts import Fact
    from streams.desk.stops import Followed
    from streams.wire.commands import Command

_ORDERS_MAX: Final = 200_000
_INCIDENTS_MAX: Final = 5_000
BOTS_MAX: Final = 20_000


class Known(NamedTuple):
    """Where the life of an order is told: the verdict's place, and those of what venues reported."""

    decided: Place
    executed: tuple[Place, ...] = ()


class Desk:
    """Everything that the page shows; whoever holds it sees that one thread at a time uses it."""

    def __init__(self, lanes: int, began_us: int) -> None:
        self.bots: dict[str, Bot] = {}
        self.alerts = Alerts()
        self.stops = Stops(lanes)
        self.lanes = [Lane(number) for number in range(lanes)]
        self.pulse = Pulse(began_us=began_us)
        self.incidents: dict[str, Incident] = {}
        self.markets: dict[str, str] = {}
        """Market → its trading state."""
        self.orders: OrderedDict[tuple[str, str], Known] = OrderedDict()
        self.changed_bots: set[str] = set()
        self.changed_alerts: set[str] = set()
        self.changed_commands: set[str] = set()
        self.changed_incidents: set[str] = set()

    def bot(self, agent_id: str) -> Bot | None:
        """Return a bot, a new one where it is not known; None where there are too many or it has no name."""
        found = self.bots.get(agent_id)
        if found is None and agent_id and len(self.bots) < BOTS_MAX:
            found = self.bots[agent_id] = Bot(agent_id)
        if found is not None:
            self.changed_bots.add(agent_id)
        return found

    def on_event(self, fact: Fact, now_us: int) -> None:
        """Take in an audit event."""
        lane = self.lanes[fact.place.partition]
        if fact.place.log_index < lane.events:
            return  # read before
        lane.events = fact.place.log_index + 1
        lane.last_event_us, lane.read_end = fact.place.at_us, fact.place.offset + 1
        match fact:
            case Decided():
                self._on_decided(fact)
            case Executed():
                self._on_executed(fact)
            case Commanded():
                self.on_commanded(fact)
            case Changed():
                bot = self.bot(fact.agent_id)
                if bot is not None:
                    bot.on_changed(fact)
                    if fact.kind == "AGENT_REGISTERED":
                        bot.revoked_us = 0
        lane.progress_us = max(lane.progress_us, min(now_us, fact.place.at_us))

    def on_policy(self, agent_id: str, policy: Policy) -> None:
        """Take in what a bot may do."""
        bot = self.bot(agent_id)
        if bot is not None:
            bot.policy, bot.operator = policy, policy.operator
            for symbol in policy.allowed_markets:
                self.markets.setdefault(symbol, TradingState.ACTIVE.value)

    def on_breaker(self, record: Mapping[str, Any]) -> None:
        """Take in a breaker event: the last state of bots that the log was not read for, and of markets."""
        if record["scope"] == "MARKET":
            self.markets[record["target"]] = record["state"]
            return
        bot = self.bot(record["target"])
        if bot is not None:
            bot.on_breaker(record["state"], record["reason"], record["issued_by"], record["event_time"])
            if record["score"] is not None and bot.score is None:
                bot.score, bot.features = record["score"], record["features"]

    def on_alert(self, record: Mapping[str, Any]) -> None:
        """Take in an alert."""
        alert = self.alerts.on_alert(record)
        if alert is not None:
            self.changed_alerts.add(alert.alert_id)

    def on_incident(self, incident: Incident) -> None:
        """Take in an incident as it stands."""
        self.incidents[incident.incident_id] = incident
        self.changed_incidents.add(incident.incident_id)
        while len(self.incidents) > _INCIDENTS_MAX:
            closed = (key for key, known in self.incidents.items() if known.closed)
            del self.incidents[next(closed, next(iter(self.incidents)))]

    def on_command(self, command: Command, appended_us: int, lane: int) -> None:
        """Take in a command as somebody gave it; only the lanes' answers say whether it holds."""
        followed = self.stops.on_requested(command, appended_us, self.open_orders(command), lane)
        self.changed_commands.add(followed.command.command_id)

    def open_orders(self, command: Command) -> int:
        """Return how many open orders the desk knows of in a command's scope."""
        if command.scope is Scope.BOT:
            bot = self.bots.get(command.target)
            return 0 if bot is None else len(bot.open_orders)
        if command.scope is Scope.MARKET:
            return sum(symbol == command.target for bot in self.bots.values() for symbol in bot.open_orders.values())
        every = command.scope is Scope.ALL
        return sum(len(bot.open_orders) for bot in self.bots.values() if every or bot.operator == command.target)

    def find_orders(self, cl_ord_id: str, agent_id: str = "") -> list[tuple[str, Known]]:
        """Return the orders of this ClOrdID with their bots."""
        if agent_id:
            known = self.orders.get((agent_id, cl_ord_id))
            return [] if known is None else [(agent_id, known)]
        return [(agent, known) for (agent, found), known in self.orders.items() if found == cl_ord_id]

    def _on_decided(self, fact: Decided) -> None:
        self.pulse.on_verdict(fact.place.at_us, approved=fact.approved, latency_us=fact.place.at_us - fact.requested_us)
        key = (fact.agent_id, fact.cl_ord_id)
        if key not in self.orders:  # a repetition is another message, not the order
            self.orders[key] = Known(fact.place)
            if len(self.orders) > _ORDERS_MAX:
                self.orders.popitem(last=False)
        bot = self.bot(fact.agent_id)
        if bot is not None:
            bot.on_decided(fact)
            self._touched(self.stops.on_decided(fact, bot.operator))

    def _on_executed(self, fact: Executed) -> None:
        key = (fact.agent_id, fact.cl_ord_id)
        known = self.orders.get(key)
        if known is not None:
            self.orders[key] = known._replace(executed=(*known.executed, fact.place))
        bot = self.bot(fact.agent_id)
        if bot is not None:
            bot.on_executed(fact)
            self._touched(self.stops.on_executed(fact, bot.operator))

    def on_commanded(self, fact: Commanded) -> None:
        """Take in a lane's answer to a command; the same answer may come twice."""
        if fact.command is None:
            return
        command = fact.command
        followed = self.stops.on_answer(fact, self.open_orders(command))
        self._touched(() if followed is None else (followed, *self.stops.followed.values()))
        if not fact.applied:
            return
        if command.action is Action.ACKNOWLEDGE:
            self.changed_alerts |= {alert.alert_id for alert in self.alerts.on_acknowledged(command, fact.place.at_us)}
        if command.scope is not Scope.BOT:
            self.changed_bots.update(self.bots)
            return
        bot = self.bot(command.target)
        if bot is not None:
            if command.action is Action.REVOKE:
                bot.revoked_us = fact.place.at_us
            elif command.action is Action.KILL:
                bot.on_breaker(TradingState.HALTED.value, "KILL_SWITCH_ENGAGED", command.issued_by, fact.place.at_us)
            elif command.action is Action.RELEASE:
                bot.on_breaker(TradingState.ACTIVE.value, "NONE", command.issued_by, fact.place.at_us)
                bot.failures = bot.open_until_us = 0

    def _touched(self, commands: Iterable[Followed]) -> None:
        self.changed_commands.update(followed.command.command_id for followed in commands)
