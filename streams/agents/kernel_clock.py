"""What the kernel says of the clock that decides: whether something disciplines it, and how far off it can be."""

from __future__ import annotations

import ctypes
from typing import Final

UNKNOWN: Final = "UNKNOWN"
_UNSYNCHRONISED: Final = 0x40  # STA_UNSYNC
_READ_EVERY_US: Final = 10_000_000


class _Timex(ctypes.Structure):
    """The beginning of `struct timex`, alike on Linux and macOS; the rest is only room. Source: ntp_adjtime(3)."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("room", ctypes.c_char * 256),
    )


class KernelClock:
    """Tells the clock's source; asked once per micro-batch, it asks the kernel every ten seconds."""

    def __init__(self) -> None:
        self._read_us = -_READ_EVERY_US
        self._source = UNKNOWN

    def source(self, now_us: int) -> str:
        """Return SYNCHRONISED or FREE with the kernel's bound on the error (a power of two, us), or UNKNOWN."""
        if not 0 <= now_us - self._read_us < _READ_EVERY_US:
            self._read_us, self._source = now_us, _ask()
        return self._source


def _ask() -> str:
    timex = _Timex()
    try:
        answer = ctypes.CDLL(None).ntp_adjtime(ctypes.byref(timex))
    except (AttributeError, OSError):
        return UNKNOWN
    return UNKNOWN if answer < 0 else describe(timex.status, timex.maxerror)


def describe(status: int, max_error_us: int) -> str:
    """Return the words for a kernel's answer; without discipline its bound means nothing."""
    if status & _UNSYNCHRONISED:
        return "FREE"
    return f"SYNCHRONISED within {1 << max(max_error_us - 1, 0).bit_length()} us"
