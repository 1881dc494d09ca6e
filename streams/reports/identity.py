"""Who and what a batch names: parties held against their proven registrations, codes looked up in reference lists."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final

from streams.audit.proof import ProofVerifier
from streams.core.errors import PortcullisError
from streams.core.identifiers import Identifier, has_dti_check, is_well_formed
from streams.reports.facts import party_of
from streams.reports.layout import MANIFEST, BatchError, read_items, registrations_file
from streams.resources import resource
from streams.wire.decisions import decode_audit_event

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from streams.reports.facts import Facts, Party
    from streams.reports.layout import LogRange
    from streams.wire.note import Verifier

_LIST_BYTES_MAX: Final = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Lists:
    """The codes that are known to exist. DTIs are a few of ours unless the registry's own list was given."""

    mics: frozenset[str]
    currencies: frozenset[str]
    dtis: frozenset[str]
    has_registry: bool

    def problem(self, kind: Identifier, code: str) -> str:
        """Return what is wrong with a code, empty where nothing is: the list comes first, check digits second."""
        known = {Identifier.MIC: self.mics, Identifier.CURRENCY: self.currencies, Identifier.DTI: self.dtis}.get(kind)
        if known is not None and code in known:
            return ""
        if not is_well_formed(kind, code):
            return f"{code!r} is no {kind.name} ({kind})"
        if kind is Identifier.DTI and not self.has_registry:
            return "" if has_dti_check(code) else f"{code!r} has a wrong check character ({kind})"
        return "" if known is None else f"{code!r} is not on the list of {kind}"


def load_lists(dti_list: Path | None = None) -> Lists:
    """Return the bundled lists, with the DTI registry's codes from a file where one is given.

    Raises: BatchError where a file cannot be read.
    """
    mics, currencies, dtis = (_bundled(name) for name in ("mic", "currency", "dti"))
    return Lists(mics, currencies, dtis if dti_list is None else _codes(dti_list), dti_list is not None)


def identifier_gaps(facts: Facts, venues: Iterable[str], lists: Lists) -> list[str]:
    """Name the codes of a batch's facts, and of the venues that reported, that are missing or do not hold."""
    gaps = [f"venue {found}" for venue in sorted(venues) if (found := lists.problem(Identifier.MIC, venue))]
    for bot, party in facts.parties.items():
        if not party.lei:
            gaps.append(f"{bot}: its operator's identifier {party.regulator_id!r} is no LEI ({Identifier.LEI})")
    for symbol, instrument in facts.instruments.items():
        if not instrument.dti:
            gaps.append(f"{symbol}: no DTI is stated ({Identifier.DTI})")
        elif found := lists.problem(Identifier.DTI, instrument.dti):
            gaps.append(f"{symbol}: {found}")
        as_currency = lists.problem(Identifier.CURRENCY, instrument.currency)
        if as_currency and lists.problem(Identifier.DTI, instrument.currency):
            gaps.append(
                f"{symbol}: prices in {instrument.currency}, neither a currency (ISO 4217) nor a DTI (ISO 24165)"
            )
    return gaps


class PartyCheck:
    """Collects the proven registrations of a batch's bots, and holds what the manifest says of them against these."""

    def __init__(self, folder: Path, facts: Facts, keys: Sequence[Verifier]) -> None:
        self._folder = folder
        self._facts = facts
        self._proofs = ProofVerifier(keys)
        self._found: dict[str, Party] = {}
        self._problems: list[str] = []

    def take_older(self, log: LogRange) -> None:
        """Take the registrations of a log from before the batch's leaves, each with its proof."""
        name = registrations_file(log.partition)
        try:
            items = list(read_items(self._folder / name))
            for leaf, proof in zip(items[::2], items[1::2], strict=True):
                proven = self._proofs.verify(leaf, proof)
                if proven.checkpoint.origin != log.origin or proven.index >= log.begin:
                    raise BatchError(f"leaf {proven.index} of {proven.checkpoint.origin} does not belong there")
                self._take(log.partition, proven.index, decode_audit_event(leaf)[0].subject or b"")
        except (PortcullisError, ValueError) as error:
            self._problems.append(f"{name}: {error}")

    def take(self, partition: int, registrations: Iterable[tuple[int, bytes]], last: int) -> None:
        """Take the registrations among a section's leaves; those after the last record say nothing of it."""
        for index, record in registrations:
            if index < last:
                self._take(partition, index, record)

    def _take(self, partition: int, index: int, record: bytes) -> None:
        agent, party = party_of(record, partition, index)
        if party is not None:
            self._found[agent] = party

    def problems(self, bot: str) -> list[str]:
        """Return what does not hold: a party that is not the last proven registration's, or is left out.

        `bot`: the one that the batch is about, or empty.
        """
        proven = {name: party for name, party in self._found.items() if bot in ("", name)}
        for name in sorted(self._facts.parties.keys() | proven.keys()):
            if self._facts.parties.get(name) != proven.get(name):
                self._problems.append(f"{MANIFEST}: who runs {name} is not what its last registration says")
        return self._problems


@cache
def _bundled(name: str) -> frozenset[str]:
    return _codes(resource(f"schemas/reference/{name}.txt"))


def _codes(path: Path) -> frozenset[str]:
    """Read codes separated by white space; a line that begins with # is a comment."""
    try:
        if path.stat().st_size > _LIST_BYTES_MAX:
            raise BatchError(f"{path}: at most {_LIST_BYTES_MAX} bytes")
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BatchError(f"{path}: cannot be read ({error})") from None
    return frozenset(code for line in lines if not line.startswith("#") for code in line.split())
