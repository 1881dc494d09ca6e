"""The evaluation: NAB's rule as published, pumps and quiet bots counted right, missing data said."""

from __future__ import annotations

import csv
import gzip
import json
import random
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import orjson
import pytest
from typer.testing import CliRunner

from streams.cli.application import app
from streams.detect.data import DetectDataError, PumpEvent, Trade, read_pump_events, read_series
from streams.detect.evaluate import evaluate, series_scores
from streams.detect.nab import nab_score, rows_of, sigmoid
from streams.detect.plot import draw
from streams.detect.pumps import Found, alarms, judge
from streams.detect.quiet import THRESHOLDS, Quiet, deal, score_orders
from streams.detect.series import news

SHARED = Path(__file__).parents[3] / "shared" / "data"
STANDARD = {"tpWeight": 1.0, "fnWeight": 1.0, "fpWeight": 0.11, "tnWeight": 1.0}
LOW_FN = STANDARD | {"fnWeight": 2.0}
S_US = 1_000_000

# NAB's rule.


def scored(scores: list[float], windows: list[tuple[int, int]], weights: dict[str, float] = STANDARD) -> Any:
    return nab_score([(scores, rows_of(len(scores), windows))], weights)


def test_a_detector_that_says_nothing_has_zero_and_a_perfect_one_a_hundred() -> None:
    windows = [(100, 149), (300, 379)]
    perfect = [float(row in {100, 300}) for row in range(400)]
    for weights in (STANDARD, LOW_FN):
        assert scored([0.0] * 400, windows, weights).normalised == 0.0
        assert scored(perfect, windows, weights).normalised == pytest.approx(100.0)


def test_sigmoid_has_the_published_values() -> None:
    # The documentation of NAB's scoring function names these.
    assert sigmoid(-1.0) == pytest.approx(0.98661, abs=1e-5)
    assert sigmoid(-0.5) == pytest.approx(0.84828, abs=1e-5)
    assert sigmoid(0.0) == 0.0
    assert sigmoid(1.0) == pytest.approx(-0.98661, abs=1e-5)
    assert sigmoid(3.0) == -1.0


def test_a_window_counts_once_by_its_earliest_detection() -> None:
    windows = [(100, 199)]
    late = scored([float(row in {150, 180}) for row in range(400)], windows)
    assert late.normalised == pytest.approx(100 * (1 + sigmoid(-0.5) / sigmoid(-1.0)) / 2, abs=0.5)
    assert (late.found, late.windows, late.false_alarms) == (1, 1, 0)


def test_a_false_alarm_costs_its_weight_far_off_and_less_behind_a_window() -> None:
    windows = [(100, 149)]
    far = scored([0.9 * (row == 80) + (row == 100) * 0.8 for row in range(400)], windows)
    near = scored([0.9 * (row == 152) + (row == 100) * 0.8 for row in range(400)], windows)
    assert far.normalised == pytest.approx(100 * (2 - 0.11) / 2)
    assert far.normalised < near.normalised < 100.0


def test_what_is_in_the_probation_does_not_count() -> None:
    rows = rows_of(400, [(100, 149)])
    assert rows[59] is None
    assert rows[60] is not None
    assert rows_of(100_000, [])[750] is not None


def test_the_published_scores_of_the_full_corpus_are_reproduced_by_the_same_normalisation() -> None:
    # config/thresholds.json holds raw totals over 116 windows; NAB's table the normalised ones.
    path = SHARED / "anomaly_nab" / "config" / "thresholds.json"
    if not path.exists():
        pytest.skip("thresholds.json is not in the shared data folder")
    published = json.loads(path.read_text())
    null = published["null"]["standard"]["score"]
    shown = {name: 100 * (published[name]["standard"]["score"] - null) / (116 - null) for name in published}
    assert null == -116.0
    assert shown["ARTime"] == pytest.approx(74.9, abs=0.1)
    assert shown["numenta"] == pytest.approx(70.1, abs=0.1)
    assert shown["contextOSE"] == pytest.approx(69.9, abs=0.1)


def test_an_alarm_is_news_once() -> None:
    assert news([0.0, 0.5, 0.5, 0.6, 0.1, 0.0, 0.6], rows=2) == [0.0, 0.5, 0.0, 0.6, 0.0, 0.0, 0.6]


# Pumps.

EVENT = PumpEvent("made", 30 * 3_600_000, happened=True, path=Path())


def made_market(*, pump_at_s: int | None, crash_at_s: int | None = None) -> list[Trade]:
    chance = random.Random(4)
    trades, price = [], 1.0
    for second in range(0, 40 * 3_600, 20):
        price *= 1 + chance.gauss(0, 0.0004)
        trades.append(Trade(second * S_US, chance.random() < 0.5, price, chance.expovariate(0.1)))
        if second == pump_at_s:
            for step in range(30):
                price *= 1.005
                trades += [Trade(second * S_US + step // 3 * 300_000, buy=True, price=price, amount=100.0)] * 2
        if second == crash_at_s:
            price *= 0.7
            trades.append(Trade(second * S_US, buy=False, price=price, amount=100.0))
    return trades


@pytest.mark.parametrize("chunk_s", [5, 25])
def test_a_pump_at_its_label_is_found_and_one_elsewhere_is_a_false_alarm(chunk_s: int) -> None:
    assert judge(EVENT, made_market(pump_at_s=30 * 3_600), chunk_s) == Found(1, 1, 0)
    assert judge(EVENT, made_market(pump_at_s=20 * 3_600), chunk_s) == Found(1, 0, 1)
    assert judge(EVENT, made_market(pump_at_s=None, crash_at_s=20 * 3_600), chunk_s) == Found(1, 0, 0)


def test_alarms_within_half_an_hour_are_one_and_the_first_hours_count_nothing() -> None:
    hour = 3_600_000
    scores = [(0, 0.9), (7 * hour, 0.9), (7 * hour + 60_000, 0.8), (8 * hour, 0.74), (9 * hour, 0.76)]
    assert alarms(scores, 0) == [7 * hour, 9 * hour]


def test_precision_recall_and_f1() -> None:
    found = Found(4, 3, 1) + Found(1, 0, 1)
    assert (found.precision, found.recall) == (0.6, 0.6)
    assert found.f1 == pytest.approx(0.6)
    assert Found().f1 == Found().precision == Found().recall == 0.0


# Quiet bots.


def test_trades_are_dealt_evenly_and_always_alike() -> None:
    trades = [Trade(number * S_US, number % 2 == 0, 100.0, 1.0) for number in range(1_000)]
    dealt = deal(trades, 4)
    assert dealt == deal(trades, 4)
    assert {bot for bot, _ in dealt} == {0, 1, 2, 3}
    assert min(sum(bot == one for bot, _ in dealt) for one in range(4)) > 150


def test_one_breaker_holds_for_its_cool_down_and_pauses_are_no_trading_time() -> None:
    chance = random.Random(5)
    trades = [Trade(number * S_US, chance.random() < 0.5, 100.0, chance.uniform(1, 2)) for number in range(2_000)]
    odd_us = (2_001 * S_US, 2_002 * S_US, 9_000 * S_US)
    trades += [Trade(at_us, buy=True, price=100.0, amount=1e6) for at_us in odd_us]
    quiet = score_orders([(0, trade) for trade in trades])
    assert (quiet.orders, quiet.above_breaker, quiet.breakers) == (2_003, 3, 2)
    assert quiet.breakers_at[THRESHOLDS.index(0.75)] == 2
    assert list(quiet.breakers_at) == sorted(quiet.breakers_at, reverse=True)
    assert quiet.bot_weeks == pytest.approx((2_002 + 3_600) / 604_800, rel=1e-3)


# The whole, on made data.


def write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt", newline="") if path.suffix == ".gz" else path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("data")
    begin, chance = datetime(2024, 1, 1), random.Random(6)  # noqa: DTZ001 - the benchmark's files have no zone
    values = [chance.gauss(10, 1) + 40 * (row in {700, 701}) for row in range(1_000)]
    rows = [{"timestamp": str(begin + timedelta(minutes=5 * row)), "value": value} for row, value in enumerate(values)]
    write_csv(home / "anomaly_nab/data/made/spike.csv.gz", rows)
    window = [[f"{rows[690]['timestamp']}.000000", f"{rows[740]['timestamp']}.000000"]]
    (home / "anomaly_nab/labels").mkdir()
    (home / "anomaly_nab/labels/combined_windows.json").write_text(
        json.dumps({"made/spike.csv": window, "made/elsewhere.csv": []})
    )
    (home / "anomaly_nab/config").mkdir()
    profiles = {"standard": {"CostMatrix": STANDARD}, "reward_low_FN_rate": {"CostMatrix": LOW_FN}}
    (home / "anomaly_nab/config/profiles.json").write_text(json.dumps(profiles))
    tape = [
        {"timestamp_ms": trade.time_us // 1_000, "side": "buy" if trade.buy else "sell", "price": trade.price}
        | {"amount": trade.amount}
        for trade in made_market(pump_at_s=30 * 3_600)
    ]
    write_csv(home / "ticks_pump_events/AAABTC.trades.csv.gz", tape)
    silent = {"file": "BBBBTC.trades.csv.gz", "announced_ms": 1, "ticks_minus60s_to_plus300s": 9}
    event = {"file": "AAABTC.trades.csv.gz", "announced_ms": EVENT.label_ms, "ticks_minus60s_to_plus300s": 900}
    labels = {"lamorgia_label_5s_ms": "", "b0r0koko_time_ms": ""}
    write_csv(home / "ticks_pump_events/events.csv", [event | labels, silent | labels])
    write_csv(home / "ticks_quiet/calm.trades.csv.gz", tape[:4_000])
    return home


def test_the_evaluation_reads_a_folder_and_gives_every_figure(folder: Path) -> None:
    evaluation = evaluate(folder, lambda _: None)
    figures = evaluation.as_dict()
    assert evaluation.complete
    assert figures["nab_standard"] > 80
    assert figures["pump_f1_5s"] == figures["pump_f1_25s"] == 1.0
    assert figures["pump_f1_25s_tuned"] is None
    assert figures["false_breakers_per_bot_week"] == 0.0
    assert 0 < figures["us_per_order"] < 1_000


def test_the_picture_shows_what_each_threshold_finds_and_costs(folder: Path) -> None:
    evaluation = evaluate(folder, lambda _: None)
    noisy = replace(evaluation, quiet={"noisy": Quiet(100, 0.5, 0, 0, 1, 0.0, tuple(range(len(THRESHOLDS), 0, -1)))})
    drawn = ET.fromstring(draw(noisy))  # noqa: S314 - our own
    lines = [one.attrib["points"].split() for one in drawn if one.tag.endswith("polyline")]
    assert [len(line) for line in lines] == [len(THRESHOLDS)] * 3
    heights = [float(point.split(",")[1]) for point in lines[2]]
    assert heights == sorted(heights)  # fewer, so lower in the picture, the higher the threshold
    assert evaluation.pump_curve[0.75] == evaluation.pumps[25]


def test_the_command_prints_one_object_and_says_when_there_is_no_data(folder: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["detect", "--data", str(folder), "--json"])
    assert result.exit_code == 0, result.output
    figures = orjson.loads(result.stdout.strip().splitlines()[-1])
    wanted = {"nab_standard", "pump_f1_5s", "pump_f1_25s", "false_breakers_per_bot_week", "us_per_order"}
    assert figures.keys() >= wanted
    missing = CliRunner().invoke(app, ["detect", "--data", str(tmp_path), "--json"])
    assert isinstance(missing.exception, DetectDataError)
    assert "anomaly_nab, ticks_pump_events, ticks_quiet" in str(missing.exception)


def test_a_folder_with_a_part_gives_what_it_can_and_is_not_complete(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "ticks_quiet").symlink_to(folder / "ticks_quiet")
    evaluation = evaluate(tmp_path, lambda _: None)
    assert not evaluation.complete
    assert evaluation.as_dict()["nab_standard"] is None
    assert evaluation.as_dict()["pump_f1_25s"] is None
    assert evaluation.as_dict()["false_breakers_per_bot_week"] == 0.0


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    table = tmp_path / "ticks_pump_events" / "events.csv"
    table.parent.mkdir()
    table.write_bytes(b"\xff\xfe")
    with pytest.raises(DetectDataError, match=r"events\.csv"):
        read_pump_events(tmp_path)


def test_a_few_of_the_benchmarks_files_reach_what_the_page_promises() -> None:
    series = [one for one in read_series(SHARED) if one.name.startswith("realTraffic")]
    if not series:
        pytest.skip("the benchmark is not in the shared data folder")
    files = [(series_scores(one), rows_of(len(one.values), one.windows)) for one in series]
    assert nab_score(files, STANDARD).normalised > 70
