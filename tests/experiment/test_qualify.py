"""``experiment.qualify`` on a simulated machine: its noise and the loads of the ladder are known."""

import contextlib
import itertools
import json
import random
import re
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from scipy import stats

from hardwatt.bundle.model import SeriesSamples
from hardwatt.bundle.reader import Bundle
from hardwatt.bundle.writer import Writer
from hardwatt.cluster.changes import Log, Manifest
from hardwatt.config.lab import Lab
from hardwatt.core.errors import LabError, RefusedError, SettingsError
from hardwatt.delivery.burn import FINE_SCRIPT
from hardwatt.experiment import operations
from hardwatt.experiment.arm import Action, BaseArm, Commit
from hardwatt.experiment.plan import noise_curve, qualification
from hardwatt.experiment.plan.machine_noise import ladder, loads, pairs_for_equivalence, spread
from hardwatt.experiment.plan.noise_curve import NoiseRow
from hardwatt.experiment.plan.preregistration import printed
from hardwatt.experiment.plan.run_table import Row
from hardwatt.experiment.plan.study_model import Study
from hardwatt.experiment.qualify import announcement, effort, qualify
from hardwatt.instruments.parts import slots
from tests.experiment.simulated import CLOCK_OFFSET_MS, SimulatedTestbed, opened

CPU, READ_AT = "hardwatt_node_cpu_seconds_total", "hardwatt_meter_read_timestamp_seconds"
NOISE = 0.05
"""CPU-seconds: standard deviation of a slot of 30 s."""
POD = 0.4


class Steady(BaseArm):
    """Delivers at once, and spends in each slot of 30 s what its machine draws for it."""

    testbed: "Metered"

    @contextlib.contextmanager
    def prepare(self) -> Iterator[None]:
        yield

    def deliver(self, commit: Commit) -> None:
        self.testbed.deliver(commit)

    def actions(self) -> list[Action]:
        window = self.context.study.estimand.window_seconds
        return [
            Action(30.0 * slot + 12.0, lambda slot=slot: self.testbed.spend(slot))  # type: ignore[misc]
            for slot in range(int(window / 30))
        ]


class Metered(SimulatedTestbed):
    """A simulated lab whose meter is scraped every second. ``shown``: the part of a load that its counter shows."""

    def __init__(
        self, path: Path, *, noise: float = NOISE, again: float = 0.0, late: float = 0.0, shown: float = 1.0,
        seed: int = 1,
    ) -> None:  # fmt: skip
        super().__init__(path)
        self.noise, self.again, self.late, self.shown = noise, again, late, shown
        self._draw = random.Random(seed)
        self.level = 0.0
        self.scraped: list[tuple[float, float]] = []
        self.stop_after = -1
        self.clock.sleep = self._pass  # type: ignore[method-assign]
        self.cluster.on_job = self._start

    def arm(self, study: Study, row: Row, log: Log) -> BaseArm:
        self.stop_after -= 1
        if self.stop_after == 0:
            raise KeyboardInterrupt
        if study.name != "qualify-noise":
            return super().arm(study, row, log)
        self._key = "flux" if study.code_of(row.arm) == "pull" else "runner"
        self.level = self._draw.gauss(0, self.again)
        arm = Steady(mock.Mock(spec=["run_id"], study=study))
        arm.testbed = self
        return arm

    def deliver(self, commit: Commit) -> None:
        self._rollouts.moments[commit.revision] = self.clock.monotonic() + 1.0

    def spend(self, slot: int) -> None:
        own = 2.0 + self.level + self._draw.gauss(0, self.noise) + self.late * (slot % 2)
        self.disk.data["cpu"] += max(0.0, own)

    def _start(self, job: Manifest) -> None:
        environment = {each["name"]: each["value"] for each in job["spec"]["template"]["spec"]["containers"][0]["env"]}
        if "CPU_SECONDS" not in environment:
            self._job(job)
            return
        load = float(environment["CPU_SECONDS"])
        if load != int(load):
            assert environment["CPU_NANOSECONDS"] == str(round(1e9 * load))
        self.disk.data["cpu"] += max(0.0, POD + self.shown * load + self._draw.gauss(0, self.noise))

    def dump(self, run_id: str, t0_ms: int, t1_ms: int, writer: Writer) -> str:
        near = [read for read in self.scraped if t0_ms - 12_000 <= read[0] <= t1_ms + 12_000]
        at, cpu = np.array(near).T
        ts, labels = at.astype(np.int64), {"job": "meter", "instance": "node:9100"}
        for metric, values in ((CPU, cpu), (READ_AT, at / 1000)):
            writer.add_samples(run_id, metric, [SeriesSamples({"__name__": metric, **labels}, ts, values)])
        return ""

    def _pass(self, seconds: float) -> None:
        data, last = self.disk.data, self.disk.data["now"] + seconds
        while data["now"] < last - 1e-9:
            step = min(1.0, last - data["now"])
            data["cpu"] += self._cores() * step
            data["now"] += step
            self.scraped.append((self.clock.wall_ms() + CLOCK_OFFSET_MS, data["cpu"]))


@pytest.fixture(autouse=True)
def same_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's noise is drawn from a seed; so is then the order that it falls into, whatever the arms' code."""
    sessions = itertools.count(7)
    monkeypatch.setattr("hardwatt.experiment.operations.secrets.randbelow", lambda limit: next(sessions))
    monkeypatch.setattr("hardwatt.experiment.plan.run_table.session_seed", lambda protocol, session: session)


def run(lab: Lab, testbed: Metered, **more: Any) -> list[str]:
    return qualify(lab, open_testbed=lambda of: opened(testbed, of), **more)


def test_the_pairs_of_an_equivalence_test_are_the_least_that_succeed_four_times_in_five() -> None:
    for sd, margin in ((1.0, 0.5), (1.0, 0.2), (0.1, 1.0), (3.0, 0.1)):
        pairs = pairs_for_equivalence(sd, margin)
        reach = [(stats.t.ppf(0.95, n - 1) + stats.t.ppf(0.9, n - 1)) * sd / n**0.5 for n in (pairs - 1, pairs)]
        assert reach[1] <= margin
        assert reach[0] > margin or pairs == 6


def test_the_upper_bound_of_noise_covers_in_four_of_five_series_with_runs_of_their_own() -> None:
    rng, held = np.random.default_rng(5), 0
    for _ in range(1000):
        runs = [rng.normal(rng.normal(0, 0.2), 1.0, 10).tolist() for _ in range(3)]
        scatter = spread(runs)
        assert scatter is not None
        row = NoiseRow(1.0, "a", max(1, int(scatter.free)) + 1, scatter.sd)
        held += row.sd_upper > (2 * 1.04) ** 0.5
    assert 750 < held < 880
    assert spread([[1.0, 2.0]]) is None


def test_the_ladders_intervals_hold_all_loads_together_nineteen_times_in_twenty() -> None:
    rng, held = np.random.default_rng(6), 0
    order = [0, 0.1, 0.3, 1, 5, 5, 1, 0.3, 0.1, 0]
    for _ in range(1000):
        runs = [[(float(load), load + rng.normal(level, 0.2)) for load in order] for level in (2.0, 2.5)]
        held += all(rung.recovered for rung in ladder("node_cpu_seconds", runs))
    assert 935 < held < 975
    with pytest.raises(LabError, match="too few slots"):
        ladder("node_cpu_seconds", [[(0.0, 1.0), (1.0, 2.0)]])


def test_a_part_of_a_second_is_burnt_by_the_shell_itself() -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {"CPU_NANOSECONDS": "100000000", "CPU_LIMIT": "2", "PATH": "/usr/bin:/bin"}
    subprocess.run(["sh", "-c", FINE_SCRIPT], env=environment, check=True, timeout=30)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert 0.09 < spent < 0.3


@pytest.mark.parametrize("text", ["", "1 2", "0 x", "0 -1", "0 nan", "0 601"])
def test_a_ladder_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="the level loads holds numbers"):
        loads(text)


def test_the_time_chooses_the_repeats_and_is_told_before_it_starts(lab: Lab) -> None:
    usual, short, night = effort(lab.root, 45), effort(lab.root, 34), effort(lab.root, 240)
    assert (usual.noise, usual.ladder, round(usual.seconds / 60)) == (3, 1, 45)
    assert (short.noise, short.ladder) == (2, 1)
    assert night.noise > 3 * usual.noise and night.ladder > 3 and night.seconds <= 240 * 60 * 1.02
    assert announcement(usual) == (
        "qualify takes about 45 min when no gate has to wait: 3 windows of 300 s in each arm (read as 30 of 30 s, 15 "
        "of 60 s, 6 of 120 s, 3 of 300 s) and 1 ladders of known loads in each direction"
    )
    assert "of 600 s" in announcement(effort(lab.root, 60, long=True))


@pytest.mark.parametrize(("minutes", "long", "least"), [(20, False, 35), (0, False, 35), (45, True, 55)])
def test_too_little_time_is_refused_with_a_command_that_works(lab: Lab, minutes: float, long: bool, least: int) -> None:
    with pytest.raises(SettingsError, match=f"--minutes gives {minutes:g}") as error:
        effort(lab.root, minutes, long=long)
    assert f"--minutes {least}{' --long' if long else ''}" in error.value.hint
    effort(lab.root, least, long=long)


def test_a_machine_is_qualified_and_plans_use_it(lab: Lab, tmp_path: Path) -> None:
    lines = run(lab, Metered(tmp_path / "cluster.json"))
    assert re.match(r"On this machine, on \d{4}-\d\d-\d\d, a window of 30 s tells differences of ", lines[-1])
    assert lines[-1].endswith("It was the only attempt on this machine.")
    stored = qualification.load(lab)
    assert stored is not None and stored.problems == []
    assert stored.curve == noise_curve.load(lab)
    for seconds, rows in stored.curve.of().items():
        for row in rows.values():
            truth = NOISE * 2**0.5 * (seconds / 30) ** 0.5  # this machine's noise does not hang together
            assert 0.4 < row.sd * seconds / 1000 / truth < 2.2, row
            assert row.sd_upper > row.sd
    assert [rung.cpu_seconds for rung in stored.ladder] == [0.1, 0.3, 1.0, 5.0]
    assert all(rung.recovered for rung in stored.ladder)
    assert stored.ladder[-1].measured == pytest.approx(5.0, abs=0.15)
    assert not (lab.dir / "qualify.json").exists()
    planned = operations.plan(lab, "push-vs-pull", pairs=20, seed=1)
    assert "CPU-s in a window, which is" in "\n".join(printed(planned, stored))
    full = operations.plan(lab, "push-vs-pull", size="full", seed=1)
    assert "longer than the noise curve of this machine reaches (300 s)" in "\n".join(printed(full, stored))


def test_preparing_an_arm_again_is_part_of_the_noise_of_long_windows(lab: Lab, tmp_path: Path) -> None:
    run(lab, Metered(tmp_path / "cluster.json", again=0.5, seed=3))
    stored = qualification.load(lab)
    assert stored is not None
    for arm in ("push", "pull"):
        sd = {seconds: rows[arm].sd * seconds / 1000 for seconds, rows in stored.curve.of().items()}
        assert sd[300.0] > 5 * sd[30.0]  # it grows with T, not with its root


def test_parts_of_a_window_add_up_to_it(lab: Lab, tmp_path: Path) -> None:
    run(lab, Metered(tmp_path / "cluster.json"), minutes=34)
    stored = qualification.load(lab)
    assert stored is not None
    bundle = Bundle.open(Path(stored.bundles["noise"]))
    for each in bundle.runs:
        whole = slots(bundle, each, 300.0)[0].value
        for seconds in (30.0, 60.0, 100.0):
            assert sum(figure.value for figure in slots(bundle, each, seconds)) == pytest.approx(whole, abs=1e-3)
        assert len(slots(bundle, each, 120.0)) == 2  # 60 s are left over
    with pytest.raises(LabError, match="has no recording"):
        slots(bundle, bundle.runs[0], 30.0, "node_joules")


@pytest.mark.parametrize("stop_after", [1, 3, 7])
def test_an_interrupted_qualification_goes_on_where_it_was(lab: Lab, tmp_path: Path, stop_after: int) -> None:
    testbed = Metered(tmp_path / "cluster.json")
    testbed.stop_after = stop_after  # of six windows of noise and two ladders
    with pytest.raises(KeyboardInterrupt):
        run(lab, testbed)
    with pytest.raises(RefusedError, match="was started with --minutes 45") as error:
        run(lab, testbed, minutes=120)
    assert "--anew" in error.value.hint
    run(lab, testbed)
    assert len(list(lab.results.glob("qualify-*"))) == 2
    assert [each.result for each in qualification.attempts(lab)] == ["qualified"]


def test_no_attempt_is_forgotten(lab: Lab, tmp_path: Path) -> None:
    bad, good = Metered(tmp_path / "bad.json", shown=0.8), Metered(tmp_path / "good.json")
    assert "no claim can be made: a known load of " in run(lab, bad, minutes=34)[-1]
    good.stop_after = 6
    with pytest.raises(KeyboardInterrupt):
        run(lab, good, minutes=34)
    operations.abandon(lab, open_cluster=lambda of: contextlib.nullcontext(good.cluster))
    last = run(lab, good, minutes=34, anew=True)[-1]
    assert "It was attempt 3 on this machine; the others: 1, " in last
    assert ": given up before its end." in last
    assert [each.result.partition(":")[0] for each in qualification.attempts(lab)] == [
        "not qualified", "given up before its end", qualification.load(lab).attempt().result.partition(":")[0],  # type: ignore[union-attr]
    ]  # fmt: skip


def test_an_experiment_that_fails_is_an_attempt_too(lab: Lab, tmp_path: Path) -> None:
    testbed = Metered(tmp_path / "cluster.json")
    testbed.on = lambda event: (_ for _ in ()).throw(LabError("no samples")) if event == "dump" else None
    testbed.dump = lambda *_: str(testbed.event("dump"))  # type: ignore[method-assign,func-returns-value]
    with pytest.raises(LabError, match="only 0 of 3 pairs"):
        run(lab, testbed)
    (attempt,) = qualification.attempts(lab)
    assert attempt.result.startswith("not finished: only 0 of 3 pairs are complete")
    assert not (lab.dir / "qualify.json").exists()


def test_another_experiment_that_is_unfinished_comes_first(lab: Lab, tmp_path: Path) -> None:
    testbed = Metered(tmp_path / "cluster.json")
    testbed.stop_after = 1
    with pytest.raises(KeyboardInterrupt):
        operations.run(lab, "push-vs-pull", pairs=1, seed=1, open_testbed=lambda of: opened(testbed, of))
    with pytest.raises(RefusedError, match="has another plan: study qualify-noise, not push-vs-pull"):
        run(lab, testbed)


@pytest.mark.parametrize(
    ("machine", "says"),
    [
        ({"shown": 0.9}, r"a known load of 5 CPU-s was measured as 4\.\d+ CPU-s"),
        ({"noise": 0.4}, r"two windows of push that are the same differ by .*it takes about \d+ more windows of push"),
        ({"late": 0.3}, "more windows do not mend that, as the mean itself is outside"),
    ],
)
def test_a_machine_that_is_not_fit_makes_no_claim(
    lab: Lab, tmp_path: Path, machine: dict[str, float], says: str
) -> None:
    last = run(lab, Metered(tmp_path / "cluster.json", **machine))[-1]  # type: ignore[arg-type]
    assert re.match(r"On this machine, on \S+ no claim can be made: ", last)
    assert re.search(says, last)
    assert "Known loads in windows of 30 s: 0.1 CPU-s measured as " in last
    assert json.loads((lab.dir / "qualification.json").read_text())["sentence"] == last
