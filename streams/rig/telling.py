"""How soon people hear: from an alert's cause until any reader could see it, and until its mail had come."""

from __future__ import annotations

import os
import re
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from streams.names import Topic
from streams.rig.live_reader import LiveReader
from streams.rig.mailbox import open_mailbox
from streams.wire.avro import Schema, decode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streams.kafka.reading import Stored
    from streams.rig.mailbox import Mailbox
    from streams.rig.stage import Stage

ALERT_LATE_MS: Final = 5_000.0
"""Source: RTS 6 Art. 16(5)."""

_ID: Final = re.compile(r"\b\d+-\d+-[A-Z_]+\b")
_ROUTES: Final = """repeat_after_s = 0
[[route]]
name = "desk"
least = "WARNING"
per_minute = 10000
urls = ["{url}"]
"""
_MAILED_S: Final = 30.0
_POLL_S: Final = 0.05
_NICER: Final = 5


@dataclass(slots=True)
class Told:
    """The alerts of a run from WARNING on: their causes, when each was seen, and the mails."""

    mailbox: Mailbox
    causes_us: dict[str, int] = field(default_factory=dict)
    seen_us: dict[str, int] = field(default_factory=dict)

    def take(self, records: list[Stored], seen_us: int) -> None:
        """Take alerts as a reader saw them."""
        for record in records:
            alert = decode(Schema.ALERT, record.value)
            if alert["severity"] != "INFO":
                self.causes_us.setdefault(alert["alert_id"], alert["cause_time"])
                self.seen_us.setdefault(alert["alert_id"], seen_us)

    def mailed_us(self) -> dict[str, int]:
        """Return when each alert's first mail came, by its id."""
        came: dict[str, int] = {}
        for came_us, text in tuple(self.mailbox.mails):
            for alert_id in _ID.findall(text):
                came.setdefault(alert_id, came_us)
        return came

    def wait_mailed(self) -> None:
        """Wait until every alert has its mail, half a minute at most."""
        deadline = time.monotonic() + _MAILED_S
        while self.seen_us.keys() - self.mailed_us().keys() and time.monotonic() < deadline:
            time.sleep(_POLL_S)

    def visible_ms(self) -> tuple[float, ...]:
        """Return from each cause until the alert could be seen."""
        return tuple((self.seen_us[one] - cause_us) / 1000 for one, cause_us in self.causes_us.items())

    def mail_ms(self) -> tuple[float, ...]:
        """Return from each cause until the mail had come, of those that came."""
        came = self.mailed_us()
        return tuple((came[one] - cause_us) / 1000 for one, cause_us in self.causes_us.items() if one in came)


@contextmanager
def telling(stage: Stage) -> Iterator[Told]:
    """Yield what is told while a notifier with a mailbox of its own, and a reader of the alerts, are at work."""
    with open_mailbox() as mailbox:
        told = Told(mailbox)
        routes = stage.folder / "notify.toml"
        routes.write_text(_ROUTES.format(url=mailbox.url()))
        notifier, reader = stage.notifier(routes), LiveReader(stage.settings, (Topic.RISK_ALERTS,), told.take)
        notifier.start()
        # It stands for a machine of its own: what a mail costs must not slow down what is measured.
        os.setpriority(os.PRIO_PROCESS, notifier.pid, os.getpriority(os.PRIO_PROCESS, 0) + _NICER)
        try:
            notifier.wait_for_line("alerts are read")
            reader.start()
            yield told
            reader.stop()
        finally:
            notifier.stop()
