"""Data files that come with the code: `schemas/`, `topology/`, `infra/`."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).parent


def resource(name: str) -> Path:
    """Return the path of a data file or folder, as "schemas/avro": in the checkout, else in the installed package."""
    return _PACKAGE.parent / name if _is_checkout() else _PACKAGE / "_resources" / name


def checkout_or_working_folder() -> Path:
    """Return where local state belongs: the checkout, else the working folder."""
    return _PACKAGE.parent if _is_checkout() else Path.cwd()


def _is_checkout() -> bool:
    # Beside an installed package there is no project file.
    return (_PACKAGE.parent / "pyproject.toml").is_file()
