"""Draw the matrix of controls: `topology/matrix.md` from `topology/matrix.toml`."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

_HEAD: Final = """# Which control is where, and what shows it

The controls that exist here, numbered as in the list that Portcullis was planned with. There are 68; those that are
missing in this table do not exist here, or only in part. "Law" says where a duty of this kind really stands; it does
not say that anybody is bound by it, or that Portcullis complies: [what binds whom](law.md). "Guide" is where the
vendor's guide files it. The table is generated from [matrix.toml](matrix.toml); a test looks for all that it names.

| # | control | law | guide | code | shown by test | shown in operation |
|---|---|---|---|---|---|---|
"""


@dataclass(frozen=True, slots=True)
class Control:
    """A control, where it is, and what shows it; `evidence` is SQL for the warehouse, or a command."""

    number: int
    name: str
    law: str
    guide: str
    modules: tuple[str, ...]
    tests: tuple[str, ...]
    evidence: str

    @property
    def is_query(self) -> bool:
        """Say whether the evidence is a query and no command."""
        return self.evidence.startswith("SELECT ")


def parse_controls(text: str) -> tuple[Control, ...]:
    """Read the controls. Raises: KeyError, TypeError where one lacks something or has something else."""
    return tuple(_control(entry) for entry in tomllib.loads(text)["control"])


def render_matrix(controls: Sequence[Control]) -> str:
    """Return the page."""
    return _HEAD + "".join(f"| {' | '.join(_cells(control))} |\n" for control in controls)


def _control(entry: dict[str, Any]) -> Control:
    plain = {"guide": "", **entry}
    return Control(**{**plain, "modules": tuple(plain["modules"]), "tests": tuple(plain["tests"])})


def _cells(control: Control) -> tuple[str, ...]:
    return (
        str(control.number),
        control.name,
        control.law,
        control.guide,
        "<br>".join(f"`{module.removeprefix('streams/')}`" for module in control.modules),
        "<br>".join(f"`{test.removeprefix('tests/')}`" for test in control.tests),
        f"`{control.evidence}`",
    )
