"""The highest load that the warehouse remembers: what RTS 6 Art. 10 wants doubled."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Final

from streams.drills.plan import Load
from streams.warehouse.connection import connect, embedded_folder

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

    from streams.settings import Settings

STATED: Final = Load(messages_per_s=250.0, eur_per_s=25_000.0, source="stated: no load is stored yet")
_DAYS: Final = 183  # six months
_QUERY: Final = """
SELECT max(messages), max(eur) FROM (
    SELECT toStartOfInterval(source_time, INTERVAL 1 SECOND) AS second,
           count() AS messages, toFloat64(sum(order_value)) AS eur
    FROM audit_events
    WHERE event_type IN ('ORDER_APPROVED', 'ORDER_REJECTED') AND source_time > now() - INTERVAL {days:Int32} DAY
    GROUP BY second
)
"""


def highest_load(settings: Settings) -> Load:
    """Return the highest second of six months in the warehouse, a stated load where nothing is stored.

    Raises: WarehouseUnavailableError where a warehouse is set and does not answer.
    """
    folder = embedded_folder(settings.warehouse)
    if folder is not None and not folder.exists():
        return STATED
    with closing(connect(settings.warehouse)) as warehouse:
        return highest_stored(warehouse)


def highest_stored(warehouse: Client) -> Load:
    """Return the highest second that a warehouse remembers of six months."""
    if not int(str(warehouse.command("EXISTS TABLE audit_events"))):
        return STATED
    messages, eur = warehouse.query(_QUERY, {"days": _DAYS}).result_rows[0]
    if not messages:
        return STATED
    return Load(float(messages), float(eur or 0.0), f"the warehouse's highest second of {_DAYS} days")
