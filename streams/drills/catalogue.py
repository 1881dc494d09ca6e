"""All drills."""

from __future__ import annotations

from typing import Final

from streams.drills import counterparty_default, double_load, fat_finger_basket, flash_crash, pump_and_dump, runaway

PLANS: Final = {
    module.PLAN.name: module.PLAN
    for module in (flash_crash, counterparty_default, pump_and_dump, runaway, fat_finger_basket, double_load)
}
