"""The whole engine on the simulated lab, with faults."""

import contextlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hardwatt.analysis.results import analysed
from hardwatt.bundle.model import Run
from hardwatt.bundle.reader import Bundle
from hardwatt.bundle.writer import Writer
from hardwatt.cluster.changes import Undo
from hardwatt.config.lab import Lab
from hardwatt.config.settings import ROOT
from hardwatt.core.errors import LabError, LockedError, RefusedError, SettingsError, VerifyError
from hardwatt.core.files import read_json
from hardwatt.experiment import operations
from hardwatt.experiment.run import resume
from hardwatt.experiment.run.journal import JOURNAL, Journal
from hardwatt.experiment.run.status import status
from hardwatt.experiment.testbed.interface import NO_JITTER
from tests.experiment.simulated import CLOCK_OFFSET_MS, IDLE_CORES, JOB_SECONDS, Killed, SimulatedTestbed, opened

STUDY, SEED, PAIRS = "push-vs-pull", 11, 2


def start(
    lab: Lab, testbed: SimulatedTestbed, *, pairs: int | None = PAIRS, seed: int | None = SEED, resume: bool = False
) -> Path:
    study = "" if resume else STUDY
    return operations.run(
        lab, study, pairs=pairs, seed=seed, resume=resume, open_testbed=lambda of: opened(testbed, of)
    )


def at(name: str, count: int, what: Callable[[], None]) -> Callable[[str], None]:
    """Call ``what`` the ``count``-th time that an event starting with ``name`` happens."""
    left = [count]

    def on(event: str) -> None:
        if event.startswith(name):
            left[0] -= 1
            if left[0] == 0:
                what()

    return on


def throw(error: BaseException) -> Callable[[], None]:
    def raise_it() -> None:
        raise error

    return raise_it


def journal(lab: Lab) -> Journal:
    found = Journal.load(lab.dir / JOURNAL)
    assert found is not None
    return found


def assert_put_back(lab: Lab, testbed: SimulatedTestbed) -> None:
    assert set(testbed.disk.data["replicas"].values()) == {1}
    assert testbed.disk.data["suspended"] == []
    assert testbed.disk.data["objects"] == {}
    assert all(NO_JITTER not in arguments for arguments in testbed.disk.data["arguments"].values())
    assert journal(lab).state.undo == ()


def test_both_arms_deliver_every_commit_in_windows_of_exactly_t(lab: Lab, tmp_path: Path) -> None:
    testbed = SimulatedTestbed(tmp_path / "cluster.json")
    bundle = Bundle.open(start(lab, testbed))
    bundle.verify()
    assert [run.run_id for run in bundle.runs] == [run.run_id for run in bundle.plan.runs]
    assert {run.status for run in bundle.runs} == {"done"}
    assert {run.seconds for run in bundle.runs} == {bundle.plan.window_seconds}
    assert {(run.commits, run.ready) for run in bundle.runs} == {(3, 3)}
    assert_put_back(lab, testbed)
    assert journal(lab).state.state == "finished"


def test_deliveries_are_in_the_nodes_clock_and_take_what_the_lab_takes(lab: Lab, tmp_path: Path) -> None:
    testbed = SimulatedTestbed(tmp_path / "cluster.json")
    bundle = Bundle.open(start(lab, testbed))
    arms = {run.run_id: run.arm for run in bundle.runs}
    waits = {arms[one.run_id]: (one.ready_ms or 0) - one.committed_ms for one in bundle.deliveries}
    assert waits == {"push": 3000, "pull": 4000}
    runs = {run.run_id: run for run in bundle.runs}
    plan = {run.run_id: run for run in bundle.plan.runs}
    for one in bundle.deliveries:
        offset = (plan[one.run_id].model_extra or {})["offsets"][one.index]
        assert one.committed_ms - runs[one.run_id].t0_ms == pytest.approx(1000 * offset, abs=1)
    assert read_json(bundle.path / f"log/{bundle.runs[0].run_id}.json")["clock_offset_ms"] == CLOCK_OFFSET_MS


def test_the_counters_at_the_edges_hold_what_the_runner_jobs_cost(lab: Lab, tmp_path: Path) -> None:
    testbed = SimulatedTestbed(tmp_path / "cluster.json")
    bundle = Bundle.open(start(lab, testbed))
    cpu = {(edge.run_id, edge.edge): edge.values["hardwatt_node_cpu_seconds_total"] for edge in bundle.edges}
    spent = {run.arm: cpu[run.run_id, "end"] - cpu[run.run_id, "start"] for run in bundle.runs}
    assert spent["push"] - spent["pull"] == pytest.approx(3 * JOB_SECONDS - 0.05 * 45, abs=1e-6)


def test_a_revision_that_never_becomes_ready_is_an_outcome(lab: Lab, tmp_path: Path) -> None:
    testbed = SimulatedTestbed(tmp_path / "cluster.json")
    first = operations.plan(lab, STUDY, pairs=PAIRS, seed=SEED).rows[0].run_id
    testbed.never_ready = {f"{first}.3"}
    bundle = Bundle.open(start(lab, testbed))
    failing = next(run for run in bundle.runs if run.run_id == first)
    assert (failing.status, failing.commits, failing.ready) == ("done", 3, 2)
    assert failing.flags == ("1 of 3 revisions not ready in the window",)
    assert [one.status for one in bundle.deliveries if one.run_id == first] == ["ready", "ready", "failed"]


def test_a_revision_that_a_later_one_overtook_is_coalesced(lab: Lab, tmp_path: Path) -> None:
    testbed = SimulatedTestbed(tmp_path / "cluster.json")
    first = operations.plan(lab, STUDY, pairs=PAIRS, seed=SEED).rows[0].run_id
    testbed.never_ready = {f"{first}.1"}
    bundle = Bundle.open(start(lab, testbed))
    assert [one.status for one in bundle.deliveries if one.run_id == first] == ["coalesced", "ready", "ready"]


def test_a_first_delivery_that_fails_is_a_failed_row_and_the_pair_is_repeated(lab: Lab, tmp_path: Path) -> None:
    testbed = SimulatedTestbed(tmp_path / "cluster.json")
    second = operations.plan(lab, STUDY, pairs=PAIRS, seed=SEED).rows[1].run_id
    testbed.never_ready = {f"{second}.0"}
    bundle = Bundle.open(start(lab, testbed))
    failed = [run for run in bundle.runs if run.status == "failed"]
    assert [run.run_id for run in failed] == [second]
    assert "first delivery" in failed[0].reason
    repeated = [run for run in bundle.runs if run.repeat == 1]
    assert {run.arm for run in repeated} == {"push", "pull"}
    assert {run.block for run in repeated} == {PAIRS + 1}
    assert_put_back(lab, testbed)


def test_a_gate_that_never_opens_names_its_reasons(lab: Lab, tmp_path: Path) -> None:
    testbed = SimulatedTestbed(tmp_path / "cluster.json")
    busy: list[str] = []
    testbed.busy = lambda: busy
    testbed.on = at("reset", 1, lambda: busy.append("pod app/stuck is Pending"))
    with pytest.raises(LabError) as error:
        start(lab, testbed)
    assert "only 0 of 2 pairs are complete" in error.value.message
    assert "pod app/stuck is Pending" in error.value.message
    bundle = Bundle.open(Path(journal(lab).state.bundle))
    bundle.verify()
    assert [run.status for run in bundle.runs] == ["done"] + ["failed"] * 4
    assert_put_back(lab, testbed)


def test_a_busy_node_keeps_the_gate_shut(lab: Lab, tmp_path: Path) -> None:
    testbed = SimulatedTestbed(tmp_path / "cluster.json")

    def load() -> None:
        testbed.disk.data["cpu"] += 4.0

    testbed.on = at("edge end gate", 3, load)  # the first gate's look, after the baseline's two
    runs = Bundle.open(start(lab, testbed)).runs
    gates = [read_json(Path(journal(lab).state.bundle) / f"log/{run.run_id}.json")["gate"] for run in runs]
    assert max(gate["waited_seconds"] for gate in gates) > min(gate["waited_seconds"] for gate in gates)
    assert all(gate["cores"] == pytest.approx(0.3, abs=0.01) for gate in gates)


def test_flux_keeps_its_intervals_in_every_window(lab: Lab, tmp_path: Path) -> None:
    seen: list[bool] = []
    testbed = SimulatedTestbed(tmp_path / "cluster.json")
    testbed.on = lambda event: (
        seen.append(all(NO_JITTER in arguments for arguments in testbed.disk.data["arguments"].values()))
        if event.startswith("edge start p")
        else None
    )
    start(lab, testbed)
    assert seen == [True] * 2 * PAIRS
    assert_put_back(lab, testbed)


def test_idle_baselines_stand_around_each_block(lab: Lab, tmp_path: Path) -> None:
    bundle = Bundle.open(start(lab, SimulatedTestbed(tmp_path / "cluster.json")))
    found = read_json(bundle.path / "log/baselines.json")
    assert [(one["block"], one["place"]) for one in found] == [(1, "before"), (2, "before"), (2, "after")]
    assert all(one["cores"] == pytest.approx(IDLE_CORES, abs=0.01) for one in found)
    runs = [run for run in bundle.runs if run.block == 2]
    assert found[1]["t1_ms"] < min(run.t0_ms for run in runs)
    assert found[2]["t0_ms"] >= max(run.t1_ms for run in runs)
    seconds = (bundle.plan.model_extra or {})["definition"]["gate"]["baseline_seconds"]
    assert all(one["t1_ms"] - one["t0_ms"] == pytest.approx(1000 * seconds, abs=2) for one in found)


def test_a_node_that_stays_busy_after_the_last_block_loses_no_run(lab: Lab, tmp_path: Path) -> None:
    testbed = SimulatedTestbed(tmp_path / "cluster.json")
    busy: list[str] = []
    testbed.busy = lambda: busy
    testbed.on = at("dump", 2 * PAIRS, lambda: busy.append("pod x/y is Pending"))
    bundle = Bundle.open(start(lab, testbed))
    assert [run.status for run in bundle.runs] == ["done"] * 2 * PAIRS
    assert "pod x/y is Pending" in read_json(bundle.path / "log/baselines.json")[-1]["reason"]


def test_a_cause_that_was_declared_makes_a_failed_row_and_its_pair_is_repeated(lab: Lab, tmp_path: Path) -> None:
    testbed = SimulatedTestbed(tmp_path / "cluster.json")
    testbed.on = at("marks", 2, lambda: testbed.marked.update({"pod-restarted": 4.0}))
    bundle = Bundle.open(start(lab, testbed))
    failed = [run for run in bundle.runs if run.status == "failed"]
    assert [run.reason for run in failed] == [
        "excluded, as declared: a container of the cluster restarted inside the window"
    ]
    assert {run.repeat for run in bundle.runs if run.block > PAIRS} == {1}
    assert_complete(bundle, [])


CHANGES = {
    "a replica": ("Deployment monitoring/prometheus replicas", "0"),
    "a suspended object": ("Kustomization flux-system/flux-system suspended", "false"),
    "an image": ("Deployment flux-system/source-controller manager image", "other"),
    "an argument": ("Deployment flux-system/source-controller manager arguments", "--concurrent=1"),
    "the configuration of Prometheus": ("ConfigMap monitoring/prometheus", "abc"),
    "a flag of the kubelet": ("file /var/lib/kubelet/kubeadm-flags.env", "abc"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_run_fails_where_the_lab_was_changed_inside_its_window(what: str, lab: Lab, tmp_path: Path) -> None:
    testbed = SimulatedTestbed(tmp_path / "cluster.json")
    name, value = CHANGES[what]
    testbed.lab_state = {name: "as it was"}
    testbed.on = at("edge end p", 1, lambda: testbed.lab_state.update({name: value}))
    bundle = Bundle.open(start(lab, testbed))
    failed = [run for run in bundle.runs if run.status == "failed"]
    assert [run.reason for run in failed] == [
        f"the lab was changed inside the window: {name}: as it was before the window, {value} after it"
    ]
    assert_complete(bundle, [])
    first = failed[0].run_id
    assert failed[0].seconds == pytest.approx(bundle.plan.window_seconds, abs=0.01)
    assert not bundle.samples("hardwatt_node_cpu_seconds_total", first).collect().is_empty()
    assert {edge.edge for edge in bundle.edges if edge.run_id == first} == {"start", "end"}
    results = analysed(bundle.path)
    assert {row.run: row.reason for row in results.exclusions}[first] == f"the run failed: {failed[0].reason}"
    assert results.n.value == PAIRS
    assert all(row.run != first for row in results.runs if row.counts)


def test_a_run_that_the_analysis_would_leave_out_fails_at_once_and_its_pair_is_repeated(
    lab: Lab, tmp_path: Path
) -> None:
    testbed = SimulatedTestbed(tmp_path / "cluster.json")

    def silent() -> None:
        """The meter says nothing of the moment of this reading, nor of the right one."""
        testbed.edges[-1].values["hardwatt_meter_read_timestamp_seconds"] += 30  # type: ignore[index]

    testbed.on = at("meter", 2 + 2, silent)
    bundle = Bundle.open(start(lab, testbed))
    failed = [run for run in bundle.runs if run.status == "failed"]
    assert len(failed) == 1
    assert failed[0].reason.startswith("the analysis leaves it out: ")
    assert_complete(bundle, [])
    results = analysed(bundle.path)
    assert results.n.value == PAIRS


@pytest.mark.parametrize(("moment", "which"), [("meter", 2), ("marks", 2)], ids=["before", "after"])
def test_a_run_fails_where_the_nodes_meter_is_not_the_labs(lab: Lab, tmp_path: Path, moment: str, which: int) -> None:
    """Before the gate, or changed by hand inside the window: the run fails, and nothing goes on before it is mended."""
    testbed = SimulatedTestbed(tmp_path / "cluster.json")
    problem = "the meter's configuration on the node is not the lab's"

    def change() -> None:
        testbed.meter_problem = problem

    testbed.on = at(moment, which, change)
    with pytest.raises(LabError, match="is not the lab's") as caught:
        start(lab, testbed)
    assert caught.value.hint == "invoke lab.up, then invoke experiment.resume"
    testbed.meter_problem = ""
    testbed.on = lambda event: None
    bundle = Bundle.open(start(lab, testbed, pairs=None, seed=None, resume=True))
    assert [run.reason for run in bundle.runs if run.status == "failed"] == [problem]
    assert_complete(bundle, [])


def test_a_hot_processor_keeps_the_gate_shut_until_it_is_as_cool_as_at_the_baseline(lab: Lab, tmp_path: Path) -> None:
    testbed = SimulatedTestbed(tmp_path / "cluster.json")
    hot = [60.0] * 3
    testbed.temperature = lambda: hot.pop() if hot and testbed.events.count("gate open") else 40.0
    testbed.on = at("edge end gate", 3, lambda: testbed.events.append("gate open"))
    runs = Bundle.open(start(lab, testbed)).runs
    gates = [read_json(Path(journal(lab).state.bundle) / f"log/{run.run_id}.json")["gate"] for run in runs]
    assert any("the processor has 60 °C, at the baseline it had 40 °C" in gate["waited_for"] for gate in gates)
    assert {gate["celsius"] for gate in gates} == {40.0}


def test_the_window_waits_until_the_arm_is_at_rest(lab: Lab, tmp_path: Path) -> None:
    testbed = SimulatedTestbed(tmp_path / "cluster.json")
    queue: list[str] = []
    testbed.busy = lambda: [queue.pop()] if queue else []
    testbed.on = at("push", 1, lambda: queue.extend(["source-controller has 2 items in its work queues"] * 3))
    said: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(operations, "say", said.append)
        start(lab, testbed)
    assert sum("window waits: source-controller has 2 items" in line for line in said) == 3


def test_a_dump_that_fails_is_a_failed_row(lab: Lab, tmp_path: Path) -> None:
    testbed = SimulatedTestbed(tmp_path / "cluster.json", on=at("dump", 2, throw(LabError("samples are missing"))))
    bundle = Bundle.open(start(lab, testbed))
    assert [run.reason for run in bundle.runs if run.status == "failed"] == ["samples are missing"]
    assert len([run for run in bundle.runs if run.status == "done"]) == 5


def test_ctrl_c_in_mid_window_puts_back_and_the_same_command_goes_on(lab: Lab, tmp_path: Path) -> None:
    testbed = SimulatedTestbed(tmp_path / "cluster.json", on=at("push", 7, throw(KeyboardInterrupt())))
    with pytest.raises(KeyboardInterrupt):
        start(lab, testbed)
    assert_put_back(lab, testbed)
    before = Writer(Path(journal(lab).state.bundle)).runs
    assert [run.status for run in before] == ["done", "failed"]
    assert before[1].reason == "stopped by Ctrl-C"
    testbed.on = lambda event: None
    bundle = Bundle.open(start(lab, testbed, pairs=None, seed=None))
    assert_complete(bundle, before)


def assert_complete(bundle: Bundle, before: list[Run]) -> None:
    """Every planned pair is complete or repeated, and what was done is as it was."""
    bundle.verify()
    done = [run for run in bundle.runs if run.status == "done"]
    assert [run for run in before if run.status == "done"] == [run for run in done if run in before]
    ids = [run.run_id for run in bundle.runs]
    assert len(ids) == len(set(ids))
    pairs = [block for block in {run.block for run in done} if len([r for r in done if r.block == block]) == 2]
    assert len(pairs) == PAIRS
    assert {edge.run_id for edge in bundle.edges} >= {run.run_id for run in done}
    assert {one.run_id for one in bundle.deliveries} >= {run.run_id for run in done}
    assert {edge.run_id for edge in bundle.edges} <= set(ids)


class Grave:
    """Kills the process in memory: after ``Killed`` nothing reaches the disk any more."""

    def __init__(self, testbed: SimulatedTestbed, monkeypatch: pytest.MonkeyPatch) -> None:
        for target in ("hardwatt.experiment.run.journal.write_json", "hardwatt.experiment.run.loop.write_json"):
            self._guard(testbed, monkeypatch, target)
        for method in ("add_run", "add_deliveries", "add_edge", "add_samples", "discard", "finish"):
            self._guard(testbed, monkeypatch, f"hardwatt.bundle.writer.Writer.{method}")

    @staticmethod
    def _guard(testbed: SimulatedTestbed, monkeypatch: pytest.MonkeyPatch, target: str) -> None:
        owner, _, name = target.rpartition(".")
        module, _, cls = owner.rpartition(".") if name[0].islower() and owner.endswith("Writer") else (owner, "", "")
        place = getattr(sys.modules[module], cls) if cls else sys.modules[module]
        real = getattr(place, name)

        def guarded(*args: object, **kwargs: object) -> object:
            if testbed.disk.dead:
                raise Killed
            testbed.event(f"write {name}")
            return real(*args, **kwargs)

        monkeypatch.setattr(place, name, guarded)


def events_of_a_whole_run(lab: Lab, tmp_path: Path) -> int:
    testbed = SimulatedTestbed(tmp_path / "whole.json")
    with pytest.MonkeyPatch.context() as patch:
        Grave(testbed, patch)
        start(lab, testbed)
    (lab.dir / JOURNAL).unlink()
    return len(testbed.events)


@pytest.mark.parametrize("moments", [6, pytest.param(30, marks=pytest.mark.long)])
def test_a_kill_at_random_moments_loses_nothing_and_counts_nothing_twice(
    lab: Lab, tmp_path: Path, moments: int
) -> None:
    total = events_of_a_whole_run(lab, tmp_path)
    for number, moment in enumerate(sorted(random.Random(moments).sample(range(1, total + 1), moments))):
        here = Lab(
            lab.settings.model_copy(update={"results": str(tmp_path / f"r{number}")}), ROOT, tmp_path / f"l{number}"
        )
        file = tmp_path / f"c{number}.json"
        testbed = SimulatedTestbed(file, on=at("", moment, throw(Killed())))
        with pytest.MonkeyPatch.context() as patch:
            Grave(testbed, patch)
            with pytest.raises(Killed):
                start(here, testbed)
        state = Journal.load(here.dir / JOURNAL)
        before = Writer(Path(state.state.bundle)).runs if state else []
        again = SimulatedTestbed(file)
        bundle = Bundle.open(start(here, again))
        assert_complete(bundle, before)
        assert_put_back(here, again)
        reasons = {run.reason for run in bundle.runs if run.status == "failed"}
        assert reasons <= {"killed in mid-run"}


def test_a_real_sigkill_in_mid_window_is_resumed(lab: Lab, tmp_path: Path) -> None:
    script = f"""
import os, signal
from pathlib import Path
from hardwatt.config.lab import Lab
from hardwatt.config.settings import ROOT, Settings
from tests.experiment.simulated import SimulatedTestbed
from tests.experiment.test_run import at, start
lab = Lab(Settings(name="sim", results={lab.settings.results!r}), ROOT, Path({str(lab.dir)!r}))
start(lab, SimulatedTestbed(Path({str(tmp_path / "cluster.json")!r}),
    on=at("push", 6, lambda: os.kill(os.getpid(), signal.SIGKILL))))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert done.returncode == -signal.SIGKILL
    state = journal(lab).state
    assert state.current
    assert any(undo.action == "scale" for undo in state.undo)
    assert "to be put back: Deployment flux-system/" in status(lab)
    before = Writer(Path(state.bundle)).runs
    testbed = SimulatedTestbed(tmp_path / "cluster.json")
    bundle = Bundle.open(start(lab, testbed, pairs=None, seed=None, resume=True))
    assert_complete(bundle, before)
    assert_put_back(lab, testbed)
    assert next(run.reason for run in bundle.runs if run.run_id == state.current) == "killed in mid-run"


def interrupted(lab: Lab, tmp_path: Path) -> SimulatedTestbed:
    testbed = SimulatedTestbed(tmp_path / "cluster.json", on=at("push", 3, throw(KeyboardInterrupt())))
    with pytest.raises(KeyboardInterrupt):
        start(lab, testbed)
    testbed.on = lambda event: None
    return testbed


def test_another_plan_is_refused_while_one_is_unfinished(lab: Lab, tmp_path: Path) -> None:
    testbed = interrupted(lab, tmp_path)
    with pytest.raises(RefusedError, match="has another plan: pairs 5, not 2") as error:
        start(lab, testbed, pairs=5)
    assert "experiment.resume" in error.value.hint


def test_other_versions_are_refused(lab: Lab, tmp_path: Path) -> None:
    testbed = interrupted(lab, tmp_path)
    testbed.versions = {"kubernetes": "v1.37.0"}
    with pytest.raises(RefusedError, match=r"kubernetes: v1\.36\.3 -> v1\.37\.0"):
        start(lab, testbed, resume=True, pairs=None, seed=None)


def test_changed_versions_may_be_gone_on_with_and_the_bundle_says_so(lab: Lab, tmp_path: Path) -> None:
    testbed = interrupted(lab, tmp_path)
    testbed.versions = {"kubernetes": "v1.37.0"}
    resumed = operations.run(lab, resume=True, despite_changes=True, open_testbed=lambda of: opened(testbed, of))
    bundle = Bundle.open(resumed)
    assert_complete(bundle, [])
    said = "kubernetes: v1.36.3 -> v1.37.0"
    assert [one["changes"] for one in read_json(bundle.path / "log/resumed.json")] == [[said]]
    check = next(one for one in bundle.manifest.checks if one.name.startswith("nothing has changed"))
    assert (check.status, check.detail) == ("warning", f"after 1 runs: {said}")


def copied_checkout(lab: Lab, tmp_path: Path) -> Lab:
    root = tmp_path / "checkout"
    shutil.copytree(ROOT / "experiments", root / "experiments")
    return Lab(lab.settings, root, lab.dir)


@pytest.mark.parametrize(
    ("file", "says"),
    [
        ("experiments/arms/pull.py", "experiments/arms/pull.py has changed"),
        ("experiments/workloads/app/deployment.yaml", "experiments/workloads/app/deployment.yaml has changed"),
    ],
)
def test_changed_code_is_refused_unless_told(lab: Lab, tmp_path: Path, file: str, says: str) -> None:
    here = copied_checkout(lab, tmp_path)
    testbed = interrupted(here, tmp_path)
    with (here.root / file).open("a") as opened_file:
        opened_file.write("# another line\n")
    with pytest.raises(RefusedError, match=says) as error:
        start(here, testbed, resume=True, pairs=None, seed=None)
    assert "--despite-changes" in error.value.hint
    assert_put_back(here, testbed)


@pytest.mark.parametrize("file", ["experiment/run/new.py", "delivery/arms.py", "cluster/changes.py", "meter/new.py"])
def test_each_package_that_decides_what_a_run_does_is_part_of_the_toolkits_version(tmp_path: Path, file: str) -> None:
    before = resume.toolkit_version(tmp_path)
    (tmp_path / file).parent.mkdir(parents=True)
    (tmp_path / file).write_text("# another line\n")
    assert resume.toolkit_version(tmp_path) != before


def test_the_packages_of_the_toolkits_version_are_there() -> None:
    assert [name for name in resume._DECIDING if not (ROOT / "hardwatt" / name / "__init__.py").exists()] == []


def test_another_toolkit_is_refused(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    testbed = interrupted(lab, tmp_path)
    monkeypatch.setattr(resume, "toolkit_version", lambda: "another")
    with pytest.raises(RefusedError, match=r"toolkit \(experiment, delivery, cluster, dump, meter\): \w+ -> another"):
        start(lab, testbed, resume=True, pairs=None, seed=None)


def test_a_changed_study_is_refused_and_the_bundles_plan_is_what_counts(lab: Lab, tmp_path: Path) -> None:
    here = copied_checkout(lab, tmp_path)
    testbed = interrupted(here, tmp_path)
    file = here.root / "experiments/studies/push-vs-pull.toml"
    file.write_text(file.read_text().replace("window_seconds = 45", "window_seconds = 60"))
    with pytest.raises(RefusedError, match="the study file has changed"):
        start(here, testbed)
    done = operations.run(here, STUDY, despite_changes=True, open_testbed=lambda of: opened(testbed, of))
    assert {run.seconds for run in Bundle.open(done).runs if run.status == "done"} == {45.0}


def test_a_resume_without_changes_is_noted_too(lab: Lab, tmp_path: Path) -> None:
    bundle = Bundle.open(start(lab, interrupted(lab, tmp_path)))
    notes = read_json(bundle.path / "log/resumed.json")
    assert [(one["changes"], one["after_runs"]) for one in notes] == [([], [bundle.runs[0].run_id])]
    assert all(one.status == "ok" for one in bundle.manifest.checks)


def test_status_says_what_waits_and_what_is_left(lab: Lab, tmp_path: Path) -> None:
    seen: list[str] = []
    testbed = SimulatedTestbed(tmp_path / "cluster.json")
    busy: list[str] = []
    testbed.busy = lambda: [busy.pop()] if busy else []
    testbed.on = at("reset", 1, lambda: busy.extend(["pod app/x is Pending"] * 2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(operations, "say", lambda text: seen.append(status(lab)) if "gate waits" in text else None)
        start(lab, testbed)
    assert len(seen) == 2
    lines = seen[0].splitlines()
    assert lines[0].startswith("push-vs-pull (quick): running, 1 runs done, 0 failed, 2 pairs planned")
    assert re.search(
        r"now: p001-2-\w+: gate waits: pod app/x is Pending, for \d+ s \(process \d+: experiment.run\)", seen[0]
    )
    assert "left: 3 runs, about" in seen[0]
    assert "to be put back" in seen[0]


def test_status_of_an_interrupted_experiment_says_how_to_go_on(lab: Lab, tmp_path: Path) -> None:
    interrupted(lab, tmp_path)
    said = status(lab)
    assert "nothing runs now; invoke experiment.resume goes on with it" in said
    assert "failed: p001-1-" in said
    assert "stopped by Ctrl-C" in said


def test_an_abandoned_experiment_makes_room_for_another(lab: Lab, tmp_path: Path) -> None:
    testbed = interrupted(lab, tmp_path)
    left = Path(journal(lab).state.bundle)
    assert operations.abandon(lab) == []
    with pytest.raises(VerifyError, match="was abandoned unfinished") as caught:
        Bundle.open(left)
    assert "experiment.resume" not in str(caught.value)
    assert Bundle.open(start(lab, testbed, pairs=1, seed=3)).plan.seed == 3


def test_resume_without_an_unfinished_experiment_says_so(lab: Lab, tmp_path: Path) -> None:
    with pytest.raises(LabError, match="no experiment is unfinished"):
        start(lab, SimulatedTestbed(tmp_path / "cluster.json"), resume=True)


def test_a_second_ctrl_c_during_the_clean_up_leaves_the_rest_to_the_next_command(lab: Lab, tmp_path: Path) -> None:
    testbed = SimulatedTestbed(tmp_path / "cluster.json", on=at("push", 3, throw(KeyboardInterrupt())))
    real, presses = testbed.cluster.delete, [KeyboardInterrupt()]

    def delete(api_version: str, kind: str, namespace: str, name: str) -> None:
        if presses:
            raise presses.pop()
        real(api_version, kind, namespace, name)

    testbed.cluster.delete = delete  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        start(lab, testbed)
    testbed.on = lambda event: None
    before = Writer(Path(journal(lab).state.bundle)).runs
    assert [run.reason for run in before] == ["stopped by Ctrl-C"]
    assert_complete(Bundle.open(start(lab, testbed)), before)
    assert_put_back(lab, testbed)


def test_a_clean_up_that_fails_after_ctrl_c_is_still_an_interruption(lab: Lab, tmp_path: Path) -> None:
    testbed = SimulatedTestbed(tmp_path / "cluster.json", on=at("push", 3, throw(KeyboardInterrupt())))
    testbed.on_reset = throw(LabError("the API server is away"))
    with pytest.raises(KeyboardInterrupt):
        start(lab, testbed)
    assert [run.reason for run in Writer(Path(journal(lab).state.bundle)).runs] == ["stopped by Ctrl-C"]


def test_a_lab_that_is_gone_stops_the_experiment_instead_of_failing_pair_after_pair(lab: Lab, tmp_path: Path) -> None:
    testbed = SimulatedTestbed(tmp_path / "cluster.json")
    gone = LabError("the API server cannot be reached")

    def away() -> None:
        testbed.busy = throw(gone)  # type: ignore[assignment]
        raise gone

    testbed.on = at("push", 3, away)
    with pytest.raises(LabError, match="does not answer any more") as error:
        start(lab, testbed)
    assert "experiment.resume" in error.value.hint
    before = Writer(Path(journal(lab).state.bundle)).runs
    assert [run.status for run in before] == ["failed"]
    assert journal(lab).state.state == "running"
    testbed.busy = lambda: ()
    testbed.on = lambda event: None
    assert_complete(Bundle.open(start(lab, testbed, resume=True, pairs=None, seed=None)), before)


def test_an_unknown_study_is_told_before_a_cluster_is_looked_for(lab: Lab) -> None:
    with pytest.raises(SettingsError, match=r"unknown study 'push-vs-pul'; did you mean 'push-vs-pull'\?"):
        operations.run(lab, "push-vs-pul")
    with pytest.raises(LabError, match="no machine"):
        operations.run(lab, STUDY)


def test_a_second_run_at_once_is_refused(lab: Lab, tmp_path: Path) -> None:
    testbed = SimulatedTestbed(tmp_path / "cluster.json")
    with lab.lock("experiment.run"), pytest.raises(LockedError, match=r"experiment\.run"):
        start(lab, testbed)
    assert testbed.events == []


def test_a_clean_up_that_fails_stays_in_the_journal_until_it_works(lab: Lab, tmp_path: Path) -> None:
    testbed = SimulatedTestbed(tmp_path / "cluster.json")
    real = testbed.cluster.delete_all
    failures = [LabError("the API server is away")]

    def delete_all(api_version: str, kind: str, namespace: str, selector: str) -> None:
        if failures:
            raise failures.pop()
        real(api_version, kind, namespace, selector)

    testbed.cluster.delete_all = delete_all  # type: ignore[method-assign]
    bundle = Bundle.open(start(lab, testbed))
    assert [run.reason for run in bundle.runs if run.status == "failed"] == ["the API server is away"]
    assert_put_back(lab, testbed)


def test_status_of_a_lab_without_experiments(lab: Lab) -> None:
    assert status(lab) == "none"
    assert operations.restore(lab) == []


def test_what_cannot_be_put_back_yet_stays_in_the_journal(
    lab: Lab, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    interrupted(lab, tmp_path)
    found = journal(lab)
    found.push(Undo("scale", "apps/v1", "Deployment", "flux-system", "source-controller", replicas=1))
    assert operations.restore(lab) == []  # there is no kubeconfig
    assert "not put back yet" in capsys.readouterr().err
    assert len(journal(lab).state.undo) == 1


def test_abandoning_puts_back_what_a_killed_run_switched_off(lab: Lab, tmp_path: Path) -> None:
    testbed = interrupted(lab, tmp_path)
    journal(lab).push(Undo("scale", "apps/v1", "Deployment", "flux-system", "source-controller", replicas=1))
    testbed.disk.data["replicas"]["source-controller"] = 0
    done = operations.abandon(lab, open_cluster=lambda of: contextlib.nullcontext(testbed.cluster))
    assert done == ["put back: Deployment flux-system/source-controller back to 1 replicas"]
    assert_put_back(lab, testbed)
    assert journal(lab).state.state == "abandoned"


def test_a_lab_whose_cluster_is_gone_has_nothing_to_put_back(lab: Lab, tmp_path: Path) -> None:
    operations.forget(lab)
    interrupted(lab, tmp_path)
    journal(lab).push(Undo("scale", "apps/v1", "Deployment", "flux-system", "source-controller", replicas=1))
    operations.forget(lab)
    assert (journal(lab).state.state, journal(lab).state.undo) == ("abandoned", ())
