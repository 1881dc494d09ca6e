"""What is wrong with a set-up, each with a sentence and a way to mend it."""

from streams.doctor.cluster import CLUSTER_CHECKS
from streams.doctor.finding import Check, Finding, State, examine
from streams.doctor.machine import MACHINE_CHECKS

CHECKS: tuple[Check, ...] = (*MACHINE_CHECKS, *CLUSTER_CHECKS)

__all__ = ["CHECKS", "Check", "Finding", "State", "examine"]
