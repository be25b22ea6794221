"""Several sessions of one protocol: one bundle each, resumed wherever they are interrupted, none counted twice."""

import contextlib
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hardwatt.bundle.reader import Bundle
from hardwatt.config.lab import Lab
from hardwatt.core.errors import LabError, LockedError, RefusedError, SettingsError
from hardwatt.experiment import operations, series
from hardwatt.experiment.plan.run_table import make_plan, make_session
from hardwatt.experiment.plan.study_model import Study
from hardwatt.experiment.run import series_state
from hardwatt.experiment.run.journal import JOURNAL, Journal
from hardwatt.experiment.run.series_state import SeriesJournal, SeriesState
from hardwatt.experiment.series import Request
from hardwatt.machines.lab_lock import locked
from tests.experiment.simulated import Killed, SimulatedTestbed, opened

THREE = Request("push-vs-pull", sessions=3, pairs=1)


class Site:
    """A simulated lab, and what comes between sessions: every happening of both is counted, and can be the last."""

    def __init__(self, lab: Lab, path: Path) -> None:
        self.lab, self.path = lab, path
        self.happened: list[str] = []
        self.die_at = -1
        self.death: Callable[[], BaseException] = Killed
        self.testbeds: list[SimulatedTestbed] = []
        self.between: list[str] = []
        self.change: Callable[[SimulatedTestbed], None] = lambda testbed: None

    def event(self, name: str) -> None:
        self.happened.append(name)
        if len(self.happened) - 1 == self.die_at:
            raise self.death()

    def open(self, lab: Lab) -> contextlib.AbstractContextManager[SimulatedTestbed]:
        testbed = SimulatedTestbed(self.path, on=self.event)
        self.change(testbed)
        self.testbeds.append(testbed)
        return opened(testbed, lab)

    def perform(self, lab: Lab, kind: str) -> str:
        self.event(f"down {kind}")
        self.event(f"up {kind}")
        self.between.append(kind)
        return f"fresh {kind}"

    def run(self, request: Request = THREE, between: str = "cluster") -> SeriesState:
        return series.run(self.lab, request, between, self.perform, open_testbed=self.open)


@pytest.fixture
def site(lab: Lab, tmp_path: Path) -> Site:
    return Site(lab, tmp_path / "cluster.json")


def sessions_of(state: SeriesState) -> list[int | None]:
    return [Bundle.open(bundle).manifest.session for bundle in state.bundles()]


def test_each_session_has_a_bundle_of_its_own_number_and_draws(site: Site) -> None:
    state = site.run()
    assert state.state == "finished"
    bundles = [Bundle.open(bundle) for bundle in state.bundles()]
    assert [bundle.manifest.session for bundle in bundles] == [session.number for session in state.sessions]
    assert len({bundle.manifest.seed for bundle in bundles}) == 3
    assert {bundle.manifest.protocol_sha256 for bundle in bundles} == {state.protocol_sha256}
    assert site.between == ["cluster", "cluster"]


def test_the_manifest_says_what_was_done_before_a_session(site: Site) -> None:
    hosts = [Bundle.open(bundle).manifest.host for bundle in site.run().bundles()]
    assert [host["series"] for host in hosts] == ["session 1 of 3", "session 2 of 3", "session 3 of 3"]
    assert hosts[0]["before_session"] == series.AS_IT_WAS
    assert hosts[1]["before_session"].startswith("fresh cluster; ")


def test_no_two_of_many_sessions_repeat_each_other(study: Study) -> None:
    plan = make_plan(study, seed=0, pairs=2)
    numbers = series.numbers(plan, 400, first=0)
    tables = [make_session(study, session=number, pairs=2) for number in numbers]
    assert len({table.seed for table in tables}) == 400
    assert len({tuple(row.phase_seconds for row in table.rows) for table in tables}) == 400
    assert len({tuple(row.offsets for row in table.rows) for table in tables}) == 400
    orders = [table.rows[0].arm for table in tables]
    assert 150 < orders.count("push") < 250


def test_a_number_whose_draws_are_those_of_another_session_is_left_out(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hardwatt.experiment.plan.run_table.session_seed", lambda protocol, number: number // 2)
    assert series.numbers(make_plan(study, seed=0, pairs=2), 4, first=0) == [0, 2, 4, 6]


def happenings(site: Site) -> int:
    site.run()
    return len(site.happened)


@pytest.mark.parametrize("death", [Killed, KeyboardInterrupt])
@pytest.mark.parametrize("share", [k / 12 for k in range(12)])
def test_interrupted_anywhere_the_same_command_goes_on_and_counts_each_session_once(
    lab: Lab, tmp_path: Path, death: type[BaseException], share: float
) -> None:
    whole = happenings(Site(dataclasses.replace(lab, dir=tmp_path / "other"), tmp_path / "other.json"))
    site = Site(lab, tmp_path / "cluster.json")
    site.die_at, site.death = int(share * whole), death
    with pytest.raises(death):
        site.run()
    begun = SeriesJournal.load(lab)
    assert begun is not None
    site.die_at = -1
    state = site.run()
    assert [session.number for session in state.sessions] == [session.number for session in begun.state.sessions]
    assert sessions_of(state) == [session.number for session in state.sessions]
    assert len(set(state.bundles())) == 3


@pytest.mark.parametrize("event", ["down cluster", "up cluster"])
def test_killed_between_sessions_what_comes_between_is_done_again_and_said(
    site: Site, event: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def die(name: str) -> None:
        site.happened.append(name)
        if name == event and site.happened.count(event) == 1:
            raise Killed

    site.event = die  # type: ignore[method-assign]
    with pytest.raises(Killed):
        site.run()
    capsys.readouterr()
    state = site.run()
    assert sessions_of(state) == [session.number for session in state.sessions]
    assert site.between == ["cluster", "cluster"]
    assert "session 2 of 3 was interrupted before its first run: what comes before it (cluster) is done again" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize("moment", ["before the journal", "after the bundle", "after the experiment"])
def test_killed_at_the_seams_of_a_session_it_is_neither_lost_nor_counted_twice(
    site: Site, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*rest: Any, **more: Any) -> None:
        raise Killed

    with pytest.raises(Killed), monkeypatch.context() as patched:
        if moment == "before the journal":
            patched.setattr(Journal, "start", die)
        elif moment == "after the bundle":
            patched.setattr(Journal, "close", die)
        else:
            patched.setattr(series._Session, "_ended", die)
        site.run()
    state = site.run()
    assert sessions_of(state) == [session.number for session in state.sessions]
    folders = [path for path in site.lab.results.iterdir() if (path / "manifest.json").exists()]
    assert sorted(folders) == sorted(state.bundles())


def test_a_session_that_goes_on_is_named_before_anything_else_runs(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    site.die_at = 30
    with pytest.raises(Killed):
        site.run()
    experiment = Journal.load(site.lab.dir / JOURNAL)
    assert experiment is not None
    capsys.readouterr()
    site.die_at = -1
    site.run()
    assert f"session 1 of 3 goes on in {experiment.state.bundle}" in capsys.readouterr().err.replace("\n", "")


def test_a_failed_session_is_said_with_its_bundle_and_the_others_go_on(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    def break_second(testbed: SimulatedTestbed) -> None:
        if len(site.testbeds) == 1:
            names = [
                f"p00{block}-{place}-{arm}.0" for block in (1, 2, 3) for place in (1, 2) for arm in ("push", "pull")
            ]
            testbed.never_ready = set(names)

    site.change = break_second
    state = site.run()
    assert [session.state for session in state.sessions] == ["done", "failed", "done"]
    assert len(state.bundles()) == 2
    line = series.failures(state)[0]
    assert line.startswith("session 2 of 3 failed: 0 of 1 pairs are complete: ")
    assert line.endswith(state.sessions[1].bundle)
    assert (Path(state.sessions[1].bundle) / "manifest.json").exists()
    assert "session 2 of 3 failed: " in capsys.readouterr().err


def test_a_lab_that_is_gone_stops_the_series_and_loses_nothing(site: Site) -> None:
    def gone(testbed: SimulatedTestbed) -> None:
        if len(site.testbeds) == 1:
            testbed.meter_problem = "the meter has another source"

    site.change = gone
    with pytest.raises(LabError, match="another source") as caught:
        site.run()
    assert "invoke lab.up" in caught.value.hint
    site.change = lambda testbed: None
    state = site.run()
    assert sessions_of(state) == [session.number for session in state.sessions]
    assert site.between == ["cluster", "cluster"]  # the second session goes on in its cluster


def test_a_fresh_cluster_that_fails_stops_the_series_before_the_session(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    calls: list[str] = []

    def fail(lab: Lab, kind: str) -> str:
        calls.append(kind)
        if len(calls) == 1:
            raise LabError("no disk", hint="invoke lab.check")
        return "fresh"

    site.perform = fail  # type: ignore[method-assign]
    with pytest.raises(LabError, match="no disk"):
        site.run()
    assert "session 2 of 3 has not begun" in capsys.readouterr().err
    assert len(site.testbeds) == 1
    assert len(site.run().bundles()) == 3


def test_an_abandoned_session_is_said_and_the_next_begins(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.die_at = 30
    with pytest.raises(Killed):
        site.run()
    operations.forget(site.lab)  # what lab.down does
    site.die_at = -1
    state = site.run()
    assert [session.state for session in state.sessions] == ["abandoned", "done", "done"]
    assert "session 1 of 3 abandoned: " in capsys.readouterr().err


def test_nobody_can_slip_in_between_down_and_up(site: Site) -> None:
    seen: list[str] = []

    def look(lab: Lab, kind: str) -> str:
        other = dataclasses.replace(lab)  # what another process has
        for _ in ("down", "up"):
            with locked(lab, "lab.down"):  # a part of this command goes on under its lock
                pass
            with pytest.raises(LockedError, match=r"experiment\.run"), locked(other, "lab.up"):
                pass
            seen.append(lab.holder())
        return "fresh"

    site.perform = look  # type: ignore[method-assign]
    site.run(Request("push-vs-pull", sessions=2, pairs=1))
    assert len(seen) == 2
    assert all("experiment.run" in holder for holder in seen)
    with locked(site.lab, "free again"):
        pass


def test_another_series_and_a_single_experiment_are_refused_while_one_is_unfinished(site: Site) -> None:
    site.die_at = 30
    with pytest.raises(Killed):
        site.run()
    with pytest.raises(RefusedError, match="sessions 4, not 3") as caught:
        site.run(dataclasses.replace(THREE, sessions=4))
    assert caught.value.hint.startswith("invoke experiment.run push-vs-pull --sessions 3 --pairs 1 goes on with it")
    with pytest.raises(RefusedError, match="session 1 of 3 of push-vs-pull is next"):
        series.refuse_within(site.lab)


def test_a_series_does_not_begin_while_an_experiment_is_unfinished(site: Site) -> None:
    site.die_at = 30
    with pytest.raises(Killed):
        operations.run(site.lab, "push-vs-pull", pairs=1, open_testbed=site.open)
    site.die_at = -1
    with pytest.raises(RefusedError, match="a series begins after it"):
        site.run()
    assert SeriesJournal.load(site.lab) is None


def test_resume_goes_on_with_the_series_and_abandon_ends_it(site: Site) -> None:
    site.die_at = 30
    with pytest.raises(Killed):
        site.run()
    site.die_at = -1
    state = series.resume(site.lab, site.perform, open_testbed=site.open)
    assert len(state.bundles()) == 3
    with pytest.raises(LabError, match="no series of sessions is unfinished"):
        series.resume(site.lab, site.perform, open_testbed=site.open)
    site.die_at = len(site.happened) + 20
    with pytest.raises(Killed):
        site.run()
    assert (
        series.abandon(site.lab, open_cluster=lambda lab: contextlib.nullcontext(SimulatedTestbed(site.path).cluster))[
            -1
        ]
        == "given up: 0 of 3 sessions are complete"
    )
    assert series_state.unfinished(site.lab) is None
    site.die_at = -1
    assert len(site.run().bundles()) == 3


def test_a_study_that_is_edited_in_mid_series_changes_no_session(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.die_at = 30
    with pytest.raises(Killed):
        site.run()
    site.die_at = -1
    monkeypatch.setattr(operations, "load_study", lambda *rest: pytest.fail("the study was read again"))
    assert len(site.run().bundles()) == 3


def test_the_frozen_protocol_is_one_that_others_can_run(site: Site) -> None:
    state = site.run(dataclasses.replace(THREE, sessions=2))
    document = json.loads(Path(state.protocol).read_text())
    assert document["sha256"] == state.protocol_sha256
    assert operations.plan(site.lab, state.protocol, session=7).protocol_sha256 == state.protocol_sha256


def test_progress_names_the_session_and_the_time_left_for_all(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.run(dataclasses.replace(THREE, sessions=2))
    lines = capsys.readouterr().err.splitlines()
    assert any(line.startswith("session 1 of 2, ") and "left in all: p001-1" in line for line in lines)
    assert any(line.startswith("session 2 of 2, ") and "left in all: p001-1" in line for line in lines)


def test_the_status_shows_where_the_series_is(site: Site) -> None:
    assert series.status_lines(site.lab) == []
    site.die_at = 30
    with pytest.raises(Killed):
        site.run()
    assert series.status_lines(site.lab) == [
        "push-vs-pull, 3 sessions: running; none has ended",
        "  session 1: running; invoke experiment.run push-vs-pull --sessions 3 --pairs 1 goes on with it",
    ]


@pytest.mark.parametrize("count", [-1, 61])
def test_a_number_of_sessions_that_is_none_is_refused(count: int) -> None:
    with pytest.raises(SettingsError, match="--sessions is a number from 1 to 60"):
        Request("push-vs-pull", sessions=count)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda data: data.update(schema=2), "another version"),
        (lambda data: data["sessions"][0].update(state="lost"), "unknown state"),
        (lambda data: data["sessions"].append(data["sessions"][0]), "listed twice"),
        (lambda data: data.update(extra=1), "extra"),
    ],
)
def test_a_damaged_journal_is_refused_by_name(site: Site, change: Any, says: str) -> None:
    site.die_at = 30
    with pytest.raises(Killed):
        site.run()
    path = site.lab.dir / series_state.FILE
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))
    with pytest.raises(LabError, match=says) as caught:
        site.run()
    assert str(path) in caught.value.message
