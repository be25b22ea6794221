"""docs/talk.md is what the computation gives, and the computation gives what can be checked by hand."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from hardwatt.analysis import talk
from hardwatt.analysis.contract import as_json, parse
from hardwatt.analysis.talk_model import Reanalysis
from hardwatt.core.errors import LabError
from hardwatt.report.pages import talk_page

PAGE = Path(__file__).parents[2] / "docs" / "talk.md"


def test_the_page_is_what_the_computation_gives() -> None:
    assert PAGE.read_text() == talk_page(), "run: python -m hardwatt.report.pages docs"


def test_the_first_number_is_a_time() -> None:
    timestamps = talk.reanalysed().timestamps
    assert datetime(2022, 9, 24, 16, 45, tzinfo=UTC).timestamp() == 1664037900
    assert timestamps.rows[0].utc == "2022-09-24 16:45:00 UTC"
    assert timestamps.apart_seconds == pytest.approx(46.523)
    assert timestamps.real_millijoules == 4


def test_the_sums_and_watts_of_the_published_readings() -> None:
    results = talk.reanalysed()
    readings = {(reading.zone, round(reading.sum_mw * 3)) for reading in results.readings}
    assert readings == {("package", 367), ("package", 624), ("dram", 105)}
    supported = results.supported
    assert supported.package_watts == pytest.approx(0.129)
    assert supported.dram_watts == pytest.approx(0.0407, abs=5e-5)
    assert supported.both_watts * 3600 == pytest.approx(611, abs=1)
    assert supported.kwh_per_year == pytest.approx(1.49, abs=0.005)
    assert supported.source_factor == pytest.approx(3.65, abs=0.01)


def test_the_totals_are_impossible() -> None:
    totals = talk.reanalysed().totals
    kustomize = next(row for row in totals.rows if row.name == "kustomize")
    assert kustomize.kwh == pytest.approx(1.28e9, rel=0.01)
    assert totals.wrapped == 2**64 - 1
    assert totals.wrap_millijoules == pytest.approx(1.8446744e16)
    assert min(row.node_years for row in totals.rows) > 5000


def test_rate_of_a_gauge_is_what_prometheus_computes() -> None:
    # A counter that rises by 3 each step; one that restarts: 10 -> 4 counts 4.
    assert talk.counter_rate([0.0, 3, 6], 3) == 1
    assert talk.counter_rate([10.0, 4.0], 1) == 4
    steady, moving, _ = talk.reanalysed().rate.rows
    assert steady.mean_mw == moving.mean_mw
    assert steady.rate == 0 < moving.rate


def test_pairs_needed_on_a_node_of_sixty_watts() -> None:
    rows = {row.percent: row.pairs for row in talk.reanalysed().needed}
    # ((1.96 + 0.842) * sqrt(2) * 0.24 W / 0.129 W)^2 + 1.92
    assert rows[0.4].package == 57
    assert rows[0.4].both < rows[1.0].both < rows[2.0].both


def test_every_published_value_names_a_commit_that_is_listed() -> None:
    data = talk.published()
    alone = (data.real_answer, data.source_alone, data.rate, data.totals, data.units)
    commits = {value.commit for value in alone}
    commits |= {value.commit for values in (data.read_as_energy, data.reading, data.sum) for value in values}
    assert commits == set(data.commits)
    assert all(len(commit) == 40 for commit in data.commits.values())


def test_the_results_are_typed_and_unknown_keys_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = talk.reanalysed()
    assert parse(Reanalysis, as_json(results)) == results
    (tmp_path / "talk.toml").write_text(f"stranger = 1\n{talk.DATA.read_text().replace('reading', 'readings')}")
    monkeypatch.setattr(talk, "DATA", tmp_path / "talk.toml")
    with pytest.raises(LabError, match=r"talk.toml.*reading: .*stranger: "):
        talk.published()
