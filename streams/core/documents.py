"""Reading a JSON document strictly: every problem is collected with its path, nothing is guessed."""

from __future__ import annotations

import json
import re
from datetime import UTC, date, datetime, time
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from streams.core.orders import parse_decimal

NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
PERSON: Final = re.compile(r"[A-Za-z0-9._@+-]{1,100}")
MARKET: Final = re.compile(r"[A-Z0-9][A-Z0-9_./-]{0,31}")
REGION: Final = re.compile(r"[a-z0-9-]{1,32}")
MIC: Final = re.compile(r"[A-Z0-9]{4}")
SHA256: Final = re.compile(r"[0-9a-f]{64}")

_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
# Not the names that mean something else on each machine, or count leap seconds.
_ZONE: Final = re.compile(r"(?!(?:right|posix)/|(?:localtime|posixrules|Factory)$)[A-Za-z][A-Za-z0-9_+/-]{0,63}")
_MINUTE: Final = re.compile(r"[0-9]{2}:[0-9]{2}")
_INSTANT: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?Z")
_FREE_TEXT_MAX: Final = 500
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MISSING: Final = object()


def load_json(document: bytes) -> object:
    """Read JSON as RFC 8259 wants it: UTF-8, no key twice, no NaN; fractions stay text so that they are refused.

    Raises: ValueError or RecursionError where the bytes are not such a document.
    """
    return json.loads(
        document.decode("utf-8"),
        object_pairs_hook=_object,
        parse_float=_Fraction,
        parse_constant=_Fraction,
    )


class _Fraction:
    """A JSON number with a fraction or exponent: no field takes one."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text[:40]


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key is there twice")
    return result


class DocumentReader:
    """Takes the fields of one JSON object; a field that does not hold is noted and read as a harmless value."""

    def __init__(self, body: object, path: str, problems: list[str]) -> None:
        self._path = path
        self.problems = problems
        self._fields: dict[str, Any] = {}
        if isinstance(body, dict):
            self._fields = dict(body)
        else:
            self.note("", "an object", body)

    def note(self, name: str, rule: str, value: object) -> None:
        """Note that a field breaks a rule."""
        path = ".".join(part for part in (self._path, name) if part) or "document"
        has = "is missing" if value is _MISSING else f"has {ascii(value)[:60]}"
        self.problems.append(f"{ascii(path)[1:-1]}: {rule}, {has}")

    def finish(self) -> None:
        """Note every field that nobody took."""
        for name in sorted(self._fields):
            self.note(name[:40], "no such field", self._fields[name])

    def has(self, name: str) -> bool:
        """Say whether there is a field that nobody took."""
        return name in self._fields

    def take(self, name: str) -> Any:  # noqa: ANN401 - any JSON value
        """Return a field's value as it is."""
        return self._fields.pop(name, _MISSING)

    def child(self, name: str) -> DocumentReader:
        """Return the reader of an object inside this one."""
        return DocumentReader(self.take(name), f"{self._path}.{name}" if self._path else name, self.problems)

    def children(self, name: str, most: int) -> list[DocumentReader]:
        """Return the readers of a list of 1 to `most` objects."""
        path = f"{self._path}.{name}" if self._path else name
        items = self._list(name, 1, most)
        return [DocumentReader(item, f"{path}[{place}]", self.problems) for place, item in enumerate(items)]

    def text(self, name: str, form: re.Pattern[str]) -> str:
        """Return a text of the given form."""
        value = self.take(name)
        if isinstance(value, str) and form.fullmatch(value):
            return value
        self.note(name, f"a text of the form {form.pattern}", value)
        return ""

    def prose(self, name: str) -> str:
        """Return printable text of 1 to 500 characters."""
        value = self.take(name)
        if isinstance(value, str) and value.isprintable() and value.strip() and len(value) <= _FREE_TEXT_MAX:
            return value
        self.note(name, f"printable text of 1 to {_FREE_TEXT_MAX} characters", value)
        return ""

    def choice(self, name: str, choices: tuple[str, ...]) -> str:
        """Return one of the given words."""
        value = self.take(name)
        if isinstance(value, str) and value in choices:
            return value
        self.note(name, f"one of {', '.join(choices)}", value)
        return ""

    def texts(self, name: str, form: re.Pattern[str], least: int, most: int) -> frozenset[str]:
        """Return a list of `least` to `most` different texts of the given form."""
        values = self._list(name, least, most)
        good = [value for value in values if isinstance(value, str) and form.fullmatch(value)]
        if len(good) != len(values) or len(set(good)) != len(good):
            self.note(name, f"different texts of the form {form.pattern}", values)
        return frozenset(good)

    def integer(self, name: str, least: int, most: int, *, default: int | None = None) -> int:
        """Return a whole number from `least` to `most`, the default where there is one and no such field."""
        value = self.take(name)
        if value is _MISSING and default is not None:
            return default
        if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
            return value
        self.note(name, f"a whole number from {least} to {most}", value)
        return least

    def decimal(self, name: str, scale: int, most: int, *, default: int | None = None) -> int:
        """Return decimal text above zero as a fixed-point integer of at most `most`; the default as `integer`."""
        value = self.take(name)
        return default if value is _MISSING and default is not None else self._decimal(name, value, scale, most)

    def decimals(self, name: str, key_form: re.Pattern[str], scale: int, most: int) -> dict[str, int]:
        """Return an object whose keys have the given form and whose values are decimal text above zero."""
        value = self.take(name)
        if not isinstance(value, dict):
            self.note(name, "an object of decimal texts", value)
            return {}
        for key in value:
            if not key_form.fullmatch(key):
                self.note(name, f"keys of the form {key_form.pattern}", key)
        return {key: self._decimal(f"{name}.{key[:40]}", text, scale, most) for key, text in value.items()}

    def _decimal(self, name: str, value: object, scale: int, most: int) -> int:
        if isinstance(value, str):
            try:
                number = parse_decimal(value, scale)
            except ValueError:
                number = 0
            if 0 < number <= most:
                return number
        self.note(name, f"decimal text above 0, at most {most // 10**scale}, with at most {scale} decimals", value)
        return 1

    def flag(self, name: str) -> bool:
        """Return true or false."""
        value = self.take(name)
        if isinstance(value, bool):
            return value
        self.note(name, "true or false", value)
        return False

    def day(self, name: str) -> date:
        """Return a date `YYYY-MM-DD`."""
        return self._day(name, self.take(name))

    def days(self, name: str, most: int) -> frozenset[date]:
        """Return a list of at most `most` dates."""
        return frozenset(self._day(name, value) for value in self._list(name, 0, most))

    def _day(self, name: str, value: object) -> date:
        if isinstance(value, str) and _DAY.fullmatch(value):
            try:
                return date.fromisoformat(value)
            except ValueError:
                pass
        self.note(name, "a date YYYY-MM-DD", value)
        return date.min

    def minute(self, name: str) -> time:
        """Return a time of day `HH:MM`."""
        value = self.take(name)
        if isinstance(value, str) and _MINUTE.fullmatch(value):
            try:
                return time.fromisoformat(value)
            except ValueError:
                pass
        self.note(name, "a time of day HH:MM", value)
        return time.min

    def instant_us(self, name: str) -> int:
        """Return a moment `YYYY-MM-DDThh:mm:ss[.ffffff]Z` in microseconds since the epoch."""
        value = self.take(name)
        if isinstance(value, str) and _INSTANT.fullmatch(value):
            try:
                since = datetime.fromisoformat(value) - _EPOCH
                return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
            except ValueError:
                pass
        self.note(name, "a moment YYYY-MM-DDThh:mm:ssZ in UTC", value)
        return 0

    def zone(self, name: str) -> ZoneInfo:
        """Return a zone by its IANA name."""
        value = self.take(name)
        if isinstance(value, str) and _ZONE.fullmatch(value):
            try:
                return ZoneInfo(value)
            except (ZoneInfoNotFoundError, ValueError, OSError):
                pass
        self.note(name, "a zone of the IANA time zone database", value)
        return ZoneInfo("UTC")

    def _list(self, name: str, least: int, most: int) -> list[Any]:
        value = self.take(name)
        if isinstance(value, list) and least <= len(value) <= most:
            return value
        self.note(name, f"a list of {least} to {most} entries", value)
        return []
