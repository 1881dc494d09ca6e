"""Modules that a library imports and a process never uses."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class _Spared(ModuleType):
    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


@contextmanager
def spared(*names: str) -> Iterator[None]:
    """Let imports inside the block find empty modules under these names; after it they are as they were.

    What is imported from them by name is an empty class, enough for annotations.
    """
    missing = [name for name in names if name not in sys.modules]
    sys.modules.update({name: _Spared(name) for name in missing})
    try:
        yield
    finally:
        for name in missing:
            del sys.modules[name]
