"""``experiment.qualify`` on a simulated machine: its noise and the control's effect are known."""

import contextlib
import random
import re
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

from hardwatt.bundle.model import SeriesSamples
from hardwatt.bundle.writer import Writer
from hardwatt.cluster.changes import Log
from hardwatt.config.lab import Lab
from hardwatt.core.errors import LabError, RefusedError
from hardwatt.experiment import operations
from hardwatt.experiment.arm import Action, BaseArm, Commit
from hardwatt.experiment.plan import qualification
from hardwatt.experiment.plan.preregistration import printed
from hardwatt.experiment.plan.run_table import Row
from hardwatt.experiment.plan.study_model import Study
from hardwatt.experiment.qualify import control, qualify
from tests.experiment.simulated import CLOCK_OFFSET_MS, SimulatedTestbed, opened

CPU, READ_AT = "hardwatt_node_cpu_seconds_total", "hardwatt_meter_read_timestamp_seconds"
NOISE = 0.1
"""CPU-seconds: standard deviation of a window."""


class Burns(BaseArm):
    """Delivers at once; in a window of the arm ``burn``, a known number of CPU-seconds is spent."""

    testbed: "Metered"
    arm: str

    @contextlib.contextmanager
    def prepare(self) -> Iterator[None]:
        yield

    def deliver(self, commit: Commit) -> None:
        self.testbed.deliver(commit)

    def actions(self) -> list[Action]:
        return [Action(5.0, lambda: self.testbed.spend(self.arm))]


class Metered(SimulatedTestbed):
    """A simulated lab whose meter is scraped every second."""

    def __init__(
        self, path: Path, *, used: float = 2.0, noise: float = NOISE, burnt: float = 5.0, seed: int = 1
    ) -> None:
        super().__init__(path)
        self.used, self.noise, self.burnt, self._draw = used, noise, burnt, random.Random(seed)
        self.scraped: list[tuple[float, float]] = []
        self.stop_after = -1
        self.clock.sleep = self._pass  # type: ignore[method-assign]

    def arm(self, study: Study, row: Row, log: Log) -> BaseArm:
        self.stop_after -= 1
        if self.stop_after == 0:
            raise KeyboardInterrupt
        arm = Burns(mock.Mock(spec=["run_id"]))
        arm.testbed, arm.arm = self, row.arm
        return arm

    def deliver(self, commit: Commit) -> None:
        self._rollouts.moments[commit.revision] = self.clock.monotonic() + 1.0

    def spend(self, arm: str) -> None:
        self.disk.data["cpu"] += max(0.0, self.used + self._draw.gauss(0, self.noise)) + self.burnt * (arm == "burn")

    def dump(self, run_id: str, t0_ms: int, t1_ms: int, writer: Writer) -> None:
        near = [one for one in self.scraped if t0_ms - 12_000 <= one[0] <= t1_ms + 12_000]
        at, cpu = np.array(near).T
        ts, labels = at.astype(np.int64), {"job": "meter", "instance": "node:9100"}
        for metric, values in ((CPU, cpu), (READ_AT, at / 1000)):
            writer.add_samples(run_id, metric, [SeriesSamples({"__name__": metric, **labels}, ts, values)])

    def _pass(self, seconds: float) -> None:
        data, end = self.disk.data, self.disk.data["now"] + seconds
        while data["now"] < end - 1e-9:
            step = min(1.0, end - data["now"])
            data["cpu"] += self._cores() * step
            data["now"] += step
            self.scraped.append((self.clock.wall_ms() + CLOCK_OFFSET_MS, data["cpu"]))


@pytest.fixture(autouse=True)
def same_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's noise is drawn from a seed; so is then the order that it falls into, whatever the arms' code."""
    monkeypatch.setattr("hardwatt.experiment.operations.secrets.randbelow", lambda limit: 7)
    monkeypatch.setattr("hardwatt.experiment.plan.run_table.session_seed", lambda protocol, session: session)


def run(lab: Lab, testbed: Metered, *, hours: float = 4.0, anew: bool = False) -> list[str]:
    return qualify(lab, hours=hours, anew=anew, open_testbed=lambda of: opened(testbed, of))


def test_the_shipped_controls_are_found(lab: Lab) -> None:
    assert control(lab.root, "a/a").control is not None
    positive = control(lab.root, "positive").control
    assert positive is not None
    assert positive.known > 0
    with pytest.raises(LabError, match=r"no study with control\.kind = 'other'"):
        control(lab.root, "other")


def test_a_machine_is_qualified_and_plans_use_it(lab: Lab, tmp_path: Path) -> None:
    lines = run(lab, Metered(tmp_path / "cluster.json"))
    assert re.match(
        r"This machine detects at least \d+(\.\d+)? CPU-ms per deployment in 4 hours \(\d+ pairs", lines[-1]
    )
    found = qualification.load(lab)
    assert found is not None
    noise = found.noise["node_cpu_seconds"]
    assert 0.3 < noise.sd / (NOISE * 2**0.5) < 2.2  # six differences know their spread no better
    assert noise.sd_upper > noise.sd
    assert found.positive.measured == pytest.approx(5.0, abs=0.3)
    assert not (lab.dir / "qualify.json").exists()
    planned = operations.plan(lab, "push-vs-pull", pairs=20, seed=1)
    said = "\n".join(printed(planned, found))
    assert "CPU-s in a window, which is" in said


def test_an_interrupted_qualification_goes_on_where_it_was(lab: Lab, tmp_path: Path) -> None:
    testbed = Metered(tmp_path / "cluster.json")
    testbed.stop_after = 15  # in the second control: the first has twelve runs
    with pytest.raises(KeyboardInterrupt):
        run(lab, testbed)
    assert len(list(lab.results.glob("control-aa-*"))) == 1
    run(lab, testbed)
    assert len(list(lab.results.glob("control-aa-*"))) == 1
    assert qualification.load(lab) is not None


def test_another_experiment_that_is_unfinished_comes_first(lab: Lab, tmp_path: Path) -> None:
    testbed = Metered(tmp_path / "cluster.json")
    testbed.stop_after = 1
    with pytest.raises(KeyboardInterrupt):
        operations.run(lab, "push-vs-pull", pairs=1, seed=1, open_testbed=lambda of: opened(testbed, of))
    with pytest.raises(RefusedError, match="has another plan: study control-aa, not push-vs-pull"):
        run(lab, testbed)


@pytest.mark.parametrize(
    ("machine", "hours", "says"),
    [
        ({"burnt": 4.0}, 4.0, "a known 5 CPU-s were measured as"),
        ({"used": 25.0, "noise": 12.0}, 1.0, "stays unseen"),  # of 60 CPU-s that two processors have in a window
    ],
)
def test_a_machine_that_cannot_see_the_control_says_not_here(
    lab: Lab, tmp_path: Path, machine: dict[str, float], hours: float, says: str
) -> None:
    lines = run(lab, Metered(tmp_path / "cluster.json", **machine), hours=hours)  # type: ignore[arg-type]
    assert lines[-1].startswith("Not here: ")
    assert says in lines[-1]


def test_fewer_than_six_pairs_are_refused(lab: Lab) -> None:
    with pytest.raises(LabError, match="6 pairs or more"):
        qualify(lab, hours=1.0, pairs=5)
