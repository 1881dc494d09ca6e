"""Check digits and lists: LEI, DTI, MIC, currencies."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from streams.core.identifiers import Identifier, has_dti_check, has_lei_check, is_well_formed
from streams.reports.facts import Facts, Instrument, Party
from streams.reports.identity import identifier_gaps, load_lists
from streams.reports.layout import BatchError

SHARED = Path(__file__).parents[3] / "shared" / "data" / "ref_iso24165_dti" / "dti.jsonl.gz"
LEI = "PORTCULLISDEMO000038"
# From the registry; the last is Bitcoin's own, the one that has another check character.
DTIS = ("X9J9K872S", "V15WLZJMF", "1012BPFV0", "10JGWXQK8")


def test_an_lei_has_two_check_digits() -> None:
    assert is_well_formed(Identifier.LEI, LEI)
    for place in range(len(LEI)):
        wrong = LEI[:place] + ("1" if LEI[place] == "0" else "0") + LEI[place + 1 :]
        assert not is_well_formed(Identifier.LEI, wrong), place
    # LEIs of the ISO 10383 list.
    assert all(map(has_lei_check, ("969500HMVSZ0TCV65D58", "5493006GZOHISU7JTC27", "549300S18I523MZORK73")))


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        *((Identifier.LEI, code) for code in ("", "ESMA-001234", LEI.lower(), LEI + "0", LEI[:-2] + "AA")),
        *((Identifier.DTI, code) for code in ("NA", "0H95J0R2X", "4H95J0R2A", "4h95j0r2x", "4H95J0R2X1")),
        *((Identifier.MIC, code) for code in ("BIN", "BINAN", "bina", "XOF ")),
        *((Identifier.CURRENCY, code) for code in ("USDT", "eur", "EU")),
    ],
)
def test_other_forms_are_none(kind: Identifier, code: str) -> None:
    assert not is_well_formed(kind, code)


def test_a_dti_has_a_check_character_but_for_bitcoin_s() -> None:
    assert all(map(has_dti_check, DTIS))
    assert not has_dti_check("4H95J0R2X")
    assert not has_dti_check("X9J9K872T")


def test_the_registry_s_own_codes_have_it_too() -> None:
    if not SHARED.is_file():
        pytest.skip("needs shared/data/ref_iso24165_dti beside the checkout")
    codes = [json.loads(line)["dti"] for line in gzip.decompress(SHARED.read_bytes()).splitlines()]
    assert len(codes) > 3_000
    assert [code for code in codes if not has_dti_check(code)] == ["4H95J0R2X"]


def test_lists_come_first_and_check_digits_second() -> None:
    lists = load_lists()
    assert lists.problem(Identifier.DTI, "4H95J0R2X") == ""
    assert lists.problem(Identifier.DTI, "V15WLZJMF") == ""
    assert "check character" in lists.problem(Identifier.DTI, "V15WLZJMG")
    assert lists.problem(Identifier.MIC, "XOFF") == ""
    assert "not on the list" in lists.problem(Identifier.MIC, "BINA")
    assert lists.problem(Identifier.CURRENCY, "EUR") == ""
    assert "not on the list" in lists.problem(Identifier.CURRENCY, "DEM")


def test_a_registry_of_ones_own_is_the_only_one(tmp_path: Path) -> None:
    path = tmp_path / "dti.txt"
    path.write_text("# mine\nV15WLZJMF\n")
    lists = load_lists(path)
    assert lists.problem(Identifier.DTI, "V15WLZJMF") == ""
    assert "not on the list" in lists.problem(Identifier.DTI, "4H95J0R2X")
    with pytest.raises(BatchError, match="cannot be read"):
        load_lists(tmp_path / "none.txt")


def test_what_a_batch_lacks_is_named() -> None:
    facts = Facts(
        {"good": Party("acme", LEI, "00" * 32, 0, 1), "bad": Party("acme", "ESMA-001234", "00" * 32, 0, 2)},
        {"BTC_EUR": Instrument("4H95J0R2X", "EUR"), "ABC_USDT": Instrument("", "USDT")},
    )
    gaps = identifier_gaps(facts, {"XOFF", "BINA"}, load_lists())
    assert [gap.partition(":")[0] for gap in gaps] == [
        "venue 'BINA' is not on the list of ISO 10383",
        "bad",
        "ABC_USDT",
        "ABC_USDT",
    ]
