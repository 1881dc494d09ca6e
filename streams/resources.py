"""Data files that come with the code: `schemas/`, `topology/`, `infra/`."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).parent


def resource(name: str) -> Path:
    """Return the path of a data file or folder, as "schemas/avro": in the checkout, else in the installed package."""
    return _PACKAGE.parent / name if is_checkout() else _PACKAGE / "_resources" / name


def is_checkout() -> bool:
    """Tell whether the code runs from a checkout; beside an installed package there is no project file."""
    return (_PACKAGE.parent / "pyproject.toml").is_file()


def checkout_or_working_folder() -> Path:
    """Return where local state belongs: the checkout, else the working folder."""
    return _PACKAGE.parent if is_checkout() else Path.cwd()
