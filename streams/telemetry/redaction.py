"""What never appears in a log: passwords, tokens and keys, by the name of their field or as they stand in a text."""

from __future__ import annotations

import logging
import re
from typing import Final

HIDDEN: Final = "[hidden]"
SECRET_NAME: Final = re.compile(r"(?i)(pass(word|wd|phrase)?|secret|token|api_?key|private_?key|pin)$")
_SECRET_TEXT: Final = re.compile(r"(?i)(://[^:/\s@]+:)[^@\s]+(?=@)|((?:password|secret|token|pin)['\"]?\s*[=:]\s*)\S+")


def redact(text: str) -> str:
    """Return a text without what looks like a secret in it."""
    return _SECRET_TEXT.sub(lambda match: f"{match[1] or match[2]}{HIDDEN}", text)


class RedactingFormatter(logging.Formatter):
    """Formats as the standard library does, then hides secrets."""

    def format(self, record: logging.LogRecord) -> str:
        """Return a record's line."""
        return redact(super().format(record))
