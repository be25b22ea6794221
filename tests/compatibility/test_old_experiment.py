"""An experiment that a process of commit 800bb92 was killed in: status, resume and abandon."""

import contextlib
from pathlib import Path

import pytest

from hardwatt.bundle.reader import Bundle
from hardwatt.config.lab import Lab
from hardwatt.core.errors import RefusedError
from hardwatt.core.files import read_json
from hardwatt.experiment import operations
from hardwatt.experiment.plan.run_table import stored_plan
from hardwatt.experiment.run import resume
from hardwatt.experiment.run.journal import JOURNAL, Journal
from hardwatt.experiment.run.status import status
from tests.compatibility.support import MADE, lab_in, place_experiment
from tests.experiment.simulated import SimulatedTestbed, opened

KEPT_T0_MS = 1800001020617
FORMER = "toolkit (engine, dump, meter)"
TODAY = "toolkit (experiment, delivery, cluster, dump, meter)"


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test pulls the plug: waiting for the disk would only cost time."""
    monkeypatch.setattr("os.fsync", lambda handle: None)


def test_status_names_what_an_old_experiment_switched_off(tmp_path: Path) -> None:
    lab = lab_in(tmp_path)
    place_experiment(lab)
    lines = status(lab).splitlines()
    assert lines[0].startswith("push-vs-pull (quick): running, 1 runs done, 0 failed, 2 pairs planned; ")
    assert lines[1].strip().startswith("nothing runs now; invoke experiment.resume")
    assert len([line for line in lines if line.startswith("  to be put back: ")]) == 10


def test_the_toolkit_of_an_old_journal_has_todays_label(tmp_path: Path) -> None:
    lab = lab_in(tmp_path)
    place_experiment(lab)
    assert FORMER in read_json(lab.dir / JOURNAL)["versions"]
    journal = Journal.load(lab.dir / JOURNAL)
    assert journal
    assert journal.state.versions == {"kubernetes": "v1.36.3", TODAY: "45e69146cc72"}
    assert resume.TOOLKIT == TODAY
    journal.end()
    assert set(read_json(lab.dir / JOURNAL)["versions"]) == {"kubernetes", TODAY}


def assert_put_back(lab: Lab, testbed: SimulatedTestbed) -> None:
    assert set(testbed.disk.data["replicas"].values()) == {1}
    assert testbed.disk.data["suspended"] == []
    assert testbed.disk.data["objects"] == {}
    journal = Journal.load(lab.dir / JOURNAL)
    assert journal
    assert journal.state.undo == ()


def test_an_old_experiment_is_refused_once_for_each_change_and_resumed_despite_them(tmp_path: Path) -> None:
    lab = lab_in(tmp_path)
    testbed = SimulatedTestbed(place_experiment(lab))
    with pytest.raises(RefusedError) as refused:
        operations.run(lab, resume=True, open_testbed=lambda of: opened(testbed, of))
    said = refused.value.message
    assert f"{TODAY}: 45e69146cc72 -> {resume.toolkit_version()}" in said
    assert FORMER not in said
    assert said.count("toolkit") == 1
    assert "invoke experiment.resume --despite-changes" in refused.value.hint
    assert_put_back(lab, testbed)
    path = operations.run(lab, resume=True, despite_changes=True, open_testbed=lambda of: opened(testbed, of))
    bundle = Bundle.open(path)
    bundle.verify()
    kept = Bundle.open(path).runs[0]
    assert (kept.run_id, kept.t0_ms) == ("p001-1-pull", KEPT_T0_MS), "the run that 800bb92 finished is kept"
    assert [run.block for run in bundle.runs if run.status == "done"].count(2) == 2
    assert any(TODAY in check.detail and check.status == "warning" for check in bundle.manifest.checks)


def test_an_old_experiment_is_abandoned(tmp_path: Path) -> None:
    lab = lab_in(tmp_path)
    testbed = SimulatedTestbed(place_experiment(lab))
    done = operations.abandon(lab, open_cluster=lambda of: contextlib.nullcontext(testbed.cluster))
    assert len(done) == 10
    assert_put_back(lab, testbed)


def test_an_old_plan_keeps_its_hash() -> None:
    plan = stored_plan(read_json(MADE / "experiment/bundle/plan.json"))
    assert plan.sha256 == read_json(MADE / "experiment/experiment.json")["plan_sha256"]
    assert plan.to_dict() == read_json(MADE / "experiment/bundle/plan.json")
