"""The end of a series at the terminal: the pooled answer, the command that repeats it, the page last."""

from pathlib import Path

import pytest

from hardwatt.cli import experiment
from hardwatt.experiment.run.series_state import DONE, FAILED, SeriesState, SessionState
from hardwatt.testing.synthetic_bundle import Spec, make_bundle
from tests.analysis.test_pool import as_session, numbers, renewed


def series_of(tmp_path: Path, count: int) -> SeriesState:
    sessions = []
    for number in numbers([2] * count):
        path = tmp_path / f"s{number}"
        make_bundle(path, Spec(pairs=2, commits=1, window_seconds=20.0, effect=float(number), seed=number))
        renewed(path, as_session(number))
        sessions.append(SessionState(number, DONE, bundle=str(path)))
    sessions.append(SessionState(0, FAILED, bundle=str(tmp_path / "lost"), reason="0 of 2 pairs are complete"))
    protocol = str(tmp_path / "series" / "protocol.json")
    return SeriesState("s", {}, "invoke experiment.run s", "cluster", protocol, "a" * 64, 60.0, tuple(sessions))


def test_what_is_complete_is_pooled_and_what_failed_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = series_of(tmp_path, 2)
    assert experiment._end_of_series(state, no_report=False) == 1
    shown = capsys.readouterr()
    page = tmp_path / "series" / "pool" / "pool.html"
    assert shown.out.splitlines()[-1] == str(page)
    assert page.exists()
    assert f"session 3 of 3 failed: 0 of 2 pairs are complete; {tmp_path / 'lost'}" in shown.err
    bundles = " ".join(map(str, state.bundles()))
    assert f"again: invoke experiment.pool {bundles} --output {page.parent}" in shown.err
    assert "2 sessions pooled: " in shown.err


def test_one_complete_session_is_reported_as_this_cluster_this_hour(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = series_of(tmp_path, 1)
    assert experiment._end_of_series(state, no_report=False) == 1
    shown = capsys.readouterr()
    assert "this cluster, this hour" in shown.err
    assert shown.out.strip() == str(state.bundles()[0] / "results" / "report.html")
