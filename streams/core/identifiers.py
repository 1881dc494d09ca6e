"""Identifiers of the record formats and their check digits: LEI, DTI, MIC, currency. What exists, a list says."""

from __future__ import annotations

import re
from enum import StrEnum, unique
from typing import Final


@unique
class Identifier(StrEnum):
    """What a code identifies, by its standard."""

    LEI = "ISO 17442"
    DTI = "ISO 24165"
    MIC = "ISO 10383"
    CURRENCY = "ISO 4217"


_FORMS: Final = {
    Identifier.LEI: re.compile(r"[0-9A-Z]{18}[0-9]{2}"),
    Identifier.DTI: re.compile(r"[1-9BCDFGHJKLMNPQRSTVWXZ][0-9BCDFGHJKLMNPQRSTVWXZ]{8}"),
    Identifier.MIC: re.compile(r"[0-9A-Z]{4}"),
    Identifier.CURRENCY: re.compile(r"[A-Z]{3}"),
}
# Digits and consonants without Y: what a DTI is spelled with, and the order in which its check character counts.
_DTI_ALPHABET: Final = "0123456789BCDFGHJKLMNPQRSTVWXZ"


def is_well_formed(kind: Identifier, code: str) -> bool:
    """Say whether a code has its standard's form and, for an LEI, its check digits.

    A DTI's check character is not asked for here: the registry comes first, see `has_dti_check`.
    """
    if not _FORMS[kind].fullmatch(code):
        return False
    return kind is not Identifier.LEI or has_lei_check(code)


def has_lei_check(code: str) -> bool:
    """Say whether the last two digits are those of MOD 97-10. Source: ISO 17442-1 Annex A, ISO 7064."""
    return int("".join(str(int(character, 36)) for character in code)) % 97 == 1


def has_dti_check(code: str) -> bool:
    """Say whether the last character is that of the hybrid system MOD 31,30. Source: ISO 24165-1, ISO 7064.

    It holds for every entry of the registry but one: Bitcoin's own, 4H95J0R2X.
    """
    size = len(_DTI_ALPHABET)
    carry = size
    for character in code[:-1]:
        total = (carry + _DTI_ALPHABET.index(character)) % size or size
        carry = total * 2 % (size + 1)
    return (carry + _DTI_ALPHABET.index(code[-1])) % size == 1
