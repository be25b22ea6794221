"""What the order of runs does under drift: an experiment on a simulated testbed whose truth is known.

``python -m tests.experiment.orders`` runs all sessions and writes ``docs/orders.json``, ``docs/orders.svg`` and the
table in ``docs/orders.md``. The tests run few sessions, and hold the committed files against each other.
"""

import argparse
import contextlib
import dataclasses
import itertools
import json
import random
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import polars as pl
from scipy import stats

from hardwatt.bundle.draws import stream
from hardwatt.bundle.model import Run
from hardwatt.bundle.writer import Writer
from hardwatt.cluster.changes import Log
from hardwatt.config.settings import ROOT
from hardwatt.core.errors import LabError
from hardwatt.experiment.arm import BaseArm, Commit
from hardwatt.experiment.plan.run_table import Row, RunTable, make_plan
from hardwatt.experiment.plan.study_model import Study, override
from hardwatt.experiment.run.journal import ExperimentState, Journal
from hardwatt.experiment.run.loop import Engine
from hardwatt.instruments.windows import Rule, integrate
from tests.experiment.simulated import IDLE_CORES, Disk, SimulatedTestbed

A, B = ARMS = ("arm-a", "arm-b")
ORDERS = ("blocked", "shuffled", "randomised", "abba")
PAIRS, SESSIONS, SEED = 20, 40, 2026
CONFIDENCE = 0.95
NODE = Rule(max_gap_ms=2500, max_rate=64.0)
PAGE, FIGURE, NUMBERS = (ROOT / "docs" / name for name in ("orders.md", "orders.svg", "orders.json"))


@dataclasses.dataclass(frozen=True)
class Truth:
    """What the simulated machine does. Shares are of the idle node's CPU time in a window."""

    effect: float = 0.0
    """What arm B spends more than arm A."""
    drift: float = 0.02
    """How much the idle node grows over the whole session, steadily."""
    noise: float = 0.004
    """Standard deviation of a window."""
    carry_over: float = 0.2
    """Share of an arm's own extra that is still spent in the run after it."""
    failing: float = 0.03
    """Probability that a run's first delivery never becomes Ready."""
    gaps: float = 0.03
    """Probability that a window's samples are not complete."""
    resets: float = 0.03
    """Probability that the counter starts from zero in a run."""


class Spender(BaseArm):
    """An arm that spends what the truth says, and delivers at once."""

    testbed: "DriftPlant"

    @contextlib.contextmanager
    def prepare(self) -> Iterator[None]:
        yield

    def deliver(self, commit: Commit) -> None:
        self.testbed.delivered(commit)


class Memory(Disk):
    """A disk that forgets: nobody is killed here."""

    def __init__(self) -> None:
        super().__init__(Path("/nonexistent/nothing"))

    def save(self) -> None:
        """Keep nothing."""


class DriftPlant(SimulatedTestbed):
    """The simulated lab with drift, noise, carry-over, failing deliveries, gaps and resets, seeded."""

    def __init__(self, truth: Truth, session_seconds: float, seed: int) -> None:
        with mock.patch("tests.experiment.simulated.Disk", lambda path: Memory()):
            super().__init__(Path("/nonexistent/nothing"))
        self.truth, self._session = truth, session_seconds
        self._draw = random.Random(seed)
        self._own = self._before = self._noise = 0.0
        self._fails = self._gap = False
        self._reset_at = float("inf")
        self._run = ""
        self.samples: dict[str, list[tuple[float, float]]] = {}
        self.clock.sleep = self._pass  # type: ignore[method-assign]

    def event(self, name: str) -> None:
        """Nobody listens, so that many sessions take little."""

    def arm(self, study: Study, row: Row, log: Log) -> BaseArm:
        truth, idle = self.truth, IDLE_CORES
        self._before, self._own = truth.carry_over * self._own, idle * truth.effect * (row.arm == B)
        self._noise = self._draw.gauss(0, idle * truth.noise)
        self._fails, self._gap = (self._draw.random() < share for share in (truth.failing, truth.gaps))
        resets = self._draw.random() < truth.resets
        now = self.clock.monotonic()
        self._reset_at = now + self._draw.uniform(10, study.estimand.window_seconds) if resets else float("inf")
        self._run = row.run_id
        self.samples[row.run_id] = []
        arm = Spender(mock.Mock(spec=["run_id"]))
        arm.testbed = self
        return arm

    def delivered(self, commit: Commit) -> None:
        """Make the revision Ready a second later, unless this run is one that fails."""
        if not (self._fails and commit.index < 0):
            self._rollouts.moments[commit.revision] = self.clock.monotonic() + 1.0

    def push(self) -> None:
        """The arm alone delivers."""

    def reset(self, study: Study) -> None:
        self._run = ""
        self._noise = 0.0

    def dump(self, run_id: str, t0_ms: int, t1_ms: int, writer: Writer) -> str:
        if self._gap:
            raise LabError("samples are missing")
        return ""

    def _pass(self, seconds: float) -> None:
        """Let time pass in steps of a second, as a scraper sees it."""
        data = self.disk.data
        end = data["now"] + seconds
        while data["now"] < end - 1e-9:
            step = min(1.0, end - data["now"])
            data["cpu"] += self._cores() * step
            data["now"] += step
            if data["now"] >= self._reset_at:
                self._sample()
                data["cpu"], self._reset_at = 0.0, float("inf")
            self._sample()

    def _sample(self) -> None:
        if self._run:
            node_ms = self.clock.wall_ms() + 250
            self.samples[self._run].append((node_ms + (self.disk.data["cpu"] == 0.0), self.disk.data["cpu"]))

    def _cores(self) -> float:
        share = (self.clock.monotonic() - 1000.0) / self._session
        arm = self._own + self._before + self._noise if self._run else 0.0
        return IDLE_CORES * (1 + self.truth.drift * share) + arm


class MemoryWriter(Writer):
    """A bundle of which only the runs table is kept, in memory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._kept: list[Run] = []

    @property
    def runs(self) -> list[Run]:
        return self._kept

    def add_run(self, run: Run) -> None:
        self._kept.append(run)

    def add_edge(self, edge: Any) -> None:
        """The samples tell it too."""

    def add_deliveries(self, run_id: str, deliveries: Any) -> None:
        """Not asked for here."""

    def discard(self, run_id: str) -> None:
        """There is nothing."""


class MemoryJournal(Journal):
    """A journal of which only the present state is kept."""

    def _write(self, state: ExperimentState) -> None:
        self.state = state


def study_of(base: Study) -> Study:
    """Return the study of the simulation: two arms that deliver nothing in the window."""
    return override(
        base.model_copy(update={"arms": ARMS}),
        {"estimand.arms": {A: "as it is", B: "spends more"}, "trace.commits": 0, "design.max_repeats": 20},
        "orders",
    )


def plan_of(study: Study, order: str, seed: int, pairs: int) -> RunTable:
    """Return a plan in one of the four orders; the first two are what a study cannot choose."""
    inner = "abba" if order == "abba" else "randomised"
    plan = make_plan(override(study, {"design.order": inner}, "orders"), seed=seed, pairs=pairs)
    rows = list(plan.rows)
    if order == "blocked":
        rows.sort(key=lambda row: row.arm)
    elif order == "shuffled":
        stream(seed, "shuffled").shuffle(rows)
    return dataclasses.replace(plan, rows=tuple(rows))


def length(plan: RunTable) -> float:
    """Return how long the planned runs take on the simulated machine, where arms are ready after a second."""
    timing, gate = plan.study.timing, plan.study.gate
    around = gate.sample_seconds + timing.transient_seconds + 1.0
    blocks = [row.block for row in plan.rows]
    changes = sum(first != second for first, second in itertools.pairwise(blocks))
    windows = sum(plan.study.estimand.window_seconds + around + row.phase_seconds for row in plan.rows)
    return windows + gate.baseline_seconds * (changes + 2)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What one session's analysis says, in percent of the idle node's CPU time in a window."""

    estimate: float
    found: bool
    """Whether the 95 % interval leaves zero out."""
    failed: int
    """Failed rows, whose pairs were repeated."""


def session(study: Study, order: str, truth: Truth, seed: int, pairs: int = PAIRS) -> Outcome:
    """Run one session as an experiment and analyse it as its order asks for."""
    plan = plan_of(study, order, seed, pairs)
    testbed = DriftPlant(truth, length(plan), seed)
    with tempfile.TemporaryDirectory() as folder, mock.patch("hardwatt.experiment.run.loop.write_json"):
        writer = MemoryWriter(Path(folder))
        journal = MemoryJournal(Path(folder) / "journal", ExperimentState("orders", seed, pairs, "", folder, {}))
        done = Engine(plan, testbed, journal, writer, lambda text: None).run()
    assert done == pairs, f"{done} of {pairs} pairs are complete"
    values = _values(testbed, [run for run in writer.runs if run.status == "done"])
    idle = IDLE_CORES * study.estimand.window_seconds
    failed = sum(run.status == "failed" for run in writer.runs)
    estimate, found = analysed(values, paired=order in ("randomised", "abba"))
    return Outcome(100 * estimate / idle, found, failed)


def _values(testbed: DriftPlant, runs: Sequence[Run]) -> list[tuple[Run, float]]:
    """Integrate the windows of all runs from their samples, with the product's own instrument."""
    frames = [
        pl.DataFrame({"series_id": number, "ts": ts - run.t0_ms, "value": value})
        for number, run in enumerate(runs)
        for ts, value in [np.array(testbed.samples[run.run_id]).T]
    ]
    length = round(statistics.median(run.t1_ms - run.t0_ms for run in runs))
    table = integrate(pl.concat(frames), 0, length, NODE).sort("series_id")
    assert table["problem"].unique().to_list() == [""], table["problem"].unique()
    return list(zip(runs, table["value"].to_list(), strict=True))


def analysed(values: Sequence[tuple[Run, float]], *, paired: bool) -> tuple[float, bool]:
    """Return (B minus A, whether zero is out of its 95 % interval): by pairs, or by Welch's interval."""
    if paired:
        blocks: dict[int, dict[str, float]] = {}
        for run, value in values:
            blocks.setdefault(run.block, {})[run.arm] = value
        d = [block[B] - block[A] for block in blocks.values() if len(block) == 2]
        interval = stats.ttest_1samp(d, 0.0).confidence_interval(CONFIDENCE)
        return statistics.fmean(d), bool(interval.low > 0 or interval.high < 0)
    a, b = ([value for run, value in values if run.arm == arm] for arm in ARMS)
    interval = stats.ttest_ind(b, a, equal_var=False).confidence_interval(CONFIDENCE)
    return statistics.fmean(b) - statistics.fmean(a), bool(interval.low > 0 or interval.high < 0)


def measured(study: Study, sessions: int, pairs: int = PAIRS, effect: float = 0.005) -> list[dict[str, Any]]:
    """Return one row for each order: bias, spread, false positives without an effect, and power with one."""
    rows = []
    for order in ORDERS:
        null = [session(study, order, Truth(), SEED + number, pairs) for number in range(sessions)]
        real = [session(study, order, Truth(effect=effect), SEED + number, pairs) for number in range(sessions)]
        rows.append(
            {
                "order": order,
                "bias": round(statistics.fmean(one.estimate for one in null), 3),
                "sd": round(statistics.stdev(one.estimate for one in null), 3),
                "false_positives": round(100 * statistics.fmean(one.found for one in null), 1),
                "bias_with_effect": round(statistics.fmean(one.estimate for one in real) - 100 * effect, 3),
                "found": round(100 * statistics.fmean(one.found for one in real), 1),
                "failed_runs": sum(one.failed for one in (*null, *real)),
                "estimates": [round(one.estimate, 3) for one in null],
            }
        )
    return rows


def document(rows: list[dict[str, Any]], sessions: int, effect: float = 0.005) -> dict[str, Any]:
    """Return all numbers, with the truth that they belong to."""
    return {
        "truth": {**dataclasses.asdict(Truth()), "effect": effect},
        "pairs": PAIRS,
        "sessions": sessions,
        "seed": SEED,
        "orders": rows,
    }


def main() -> None:
    """Run everything and write the three files."""
    from hardwatt.experiment.plan.study_file import read_study
    from tests.experiment.ordersfigure import page, svg

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=SESSIONS)
    parser.add_argument("--draw", action="store_true", help="figure and table of the numbers that are there")
    chosen = parser.parse_args()
    if not chosen.draw:
        study = study_of(read_study(Path(__file__).parent / "base.toml"))
        found = document(measured(study, chosen.sessions), chosen.sessions)
        NUMBERS.write_text(json.dumps(found, indent=1) + "\n")
    numbers = json.loads(NUMBERS.read_text())
    FIGURE.write_text(svg(numbers))
    PAGE.write_text(page(PAGE.read_text(), numbers))


if __name__ == "__main__":
    main()
