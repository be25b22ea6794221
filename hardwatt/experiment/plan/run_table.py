"""The run table: which arm runs when, made from the study and one seed before anything runs."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hardwatt.bundle import draws
from hardwatt.bundle.manifest import plan_sha256 as hash_of
from hardwatt.bundle.model import Run
from hardwatt.bundle.protocol import protocol_sha256, session_seed
from hardwatt.config.settings import parse
from hardwatt.core.errors import RefusedError
from hardwatt.experiment.plan.study_model import Study

KILLED, STOPPED = INTERRUPTIONS = ("killed in mid-run", "stopped by Ctrl-C")
QUICK, FULL = "quick", "full"


@dataclasses.dataclass(frozen=True)
class Row:
    """One planned run."""

    run_id: str
    block: int
    """Number of the block (the pair, where there are two arms), from 1; a repeated one has a number of its own."""
    position: int
    """Place in the block, from 0."""
    arm: str
    phase_seconds: float
    """Seeded delay right before the window."""
    offsets: tuple[float, ...]
    """Seconds from the start of the window to each commit; the same in every run of a block."""
    repeat: int = 0
    """0 for a planned run, else the number of the repeated block."""


@dataclasses.dataclass(frozen=True)
class RunTable:
    """Everything that was decided before the first run. Saved and hashed first."""

    study: Study
    seed: int
    pairs: int
    rows: tuple[Row, ...]
    code: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """SHA-256 of each file that decides what a run does: the arms and the workload's manifests."""
    size: str = QUICK
    """``quick`` or ``full``; in a full plan the study has its full values."""
    session: int | None = None
    """Number of the session; a bundle is one session of its protocol. None: a plan of a time before sessions."""
    _repeats: dict[int, tuple[Row, ...]] = dataclasses.field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as it is stored in a bundle; equal plans give equal data."""
        data = self._shared()
        if self.session is None:
            return data
        return {**data, "protocol_sha256": protocol_sha256(data), "session": self.session}

    def _shared(self) -> dict[str, Any]:
        study = self.study
        return {
            "schema_version": 1,
            "study": study.name,
            "seed": self.seed,
            "arms": list(study.arms),
            "window_seconds": study.estimand.window_seconds,
            "primary": self._primary(),
            "secondaries": list(study.secondaries),
            "order": study.order,
            "size": self.size,
            "runs": [{**dataclasses.asdict(row), "offsets": list(row.offsets)} for row in self.rows],
            "pairs": self.pairs,
            "definition": study.model_dump(mode="json"),
            "code": dict(self.code),
            "estimated_seconds": round(self.estimated_seconds(), 1),
        }

    def _primary(self) -> dict[str, Any]:
        """Return outcome, estimator and interval, and the margin for one window in the outcome's unit."""
        study = self.study
        margin = study.primary.margin
        seconds, commits = study.estimand.window_seconds, study.trace.commits
        return {
            **study.primary.model_dump(mode="json", exclude={"margin"}),
            "unit": study.primary.unit,
            "margin": margin and margin.per_window(commits, seconds),
        }

    @property
    def protocol_sha256(self) -> str:
        """The hash of what this plan shares with every other session of its protocol."""
        return protocol_sha256(self._shared())

    @property
    def sha256(self) -> str:
        """The hash that names this plan; the bundle's manifest holds the same."""
        return hash_of(self.to_dict())

    def estimated_seconds(self) -> float:
        """Return how long the runs take when every gate opens at its first look."""
        idle = self.study.gate.baseline_seconds * (self.pairs + 1)
        return idle + sum(self.run_seconds(row) for row in self.rows)

    def run_seconds(self, row: Row) -> float:
        """Return how long one run takes when its gate opens at the first look."""
        timing = self.study.timing
        around = self.study.gate.sample_seconds + timing.transient_seconds + 3 * timing.rollout_seconds
        return self.study.estimand.window_seconds + around + row.phase_seconds

    def repeat(self, number: int) -> tuple[Row, ...]:
        """Return the rows of the ``number``-th repeated block (from 1).

        They follow from the seed like the planned ones, so a repeat decides nothing afterwards.
        """
        if number not in self._repeats:
            block = self.pairs + number
            order = draws.repeated_order(self.study.arms, block, self.seed)
            self._repeats[number] = _block(self.study, self.seed, block, order, repeat=number)
        return self._repeats[number]


def make_plan(
    study: Study,
    *,
    seed: int,
    pairs: int | None = None,
    code: Mapping[str, str] | None = None,
    size: str = QUICK,
    session: int | None = None,
) -> RunTable:
    """Make the plan of a study: the same study, seed and number of blocks give the same plan.

    Each block holds every arm once, in an order drawn from the seed, so that a steady drift cancels
    (``hardwatt.bundle.draws``).
    """
    count = study.design.pairs if pairs is None else pairs
    rows: list[Row] = []
    for block, order in enumerate(draws.orders(study.order, study.arms, count, seed), start=1):
        rows += _block(study, seed, block, order)
    return RunTable(study, seed, count, tuple(rows), code or {}, size, session)


def make_session(
    study: Study, *, session: int, pairs: int | None = None, code: Mapping[str, str] | None = None, size: str = QUICK
) -> RunTable:
    """Make the plan of a session: its seed follows from the protocol and the session's number."""
    protocol = make_plan(study, seed=0, pairs=1, code=code, size=size).protocol_sha256
    seed = session_seed(protocol, session)
    return make_plan(study, seed=seed, pairs=pairs, code=code, size=size, session=session)


def stored_plan(data: Mapping[str, Any]) -> RunTable:
    """Return the plan that a bundle holds, whatever the study file says by now.

    Raises ``RefusedError`` where this version of the toolkit makes another table of it.
    """
    study = parse(Study, data["definition"], "the bundle's plan")
    plan = make_plan(
        study, seed=data["seed"], pairs=data["pairs"], code=data["code"], size=data["size"],
        session=data.get("session"),
    )  # fmt: skip
    if plan.to_dict() != data:
        raise RefusedError(
            "this version of the toolkit plans otherwise than the one that began the experiment",
            hint="go on with that version (the bundle's .unfinished.json names it), or invoke experiment.abandon",
        )
    return plan


def next_row(plan: RunTable, runs: Sequence[Run]) -> Row | None:
    """Return what is to be run next, given what was recorded; None when there is nothing more to do.

    A pair with a failed run is given up, and a repeated pair follows at the end, until as many pairs
    as planned are complete or the repeats are used up.
    """
    status = {run.run_id: run.status for run in runs}
    candidates = list(plan.rows)
    if (row := _open_row(candidates, status)) is not None:
        return row
    for number in range(1, repeats_allowed(plan, runs) + 1):
        if complete_pairs(candidates, status) >= plan.pairs:
            return None
        pair = plan.repeat(number)
        candidates += pair
        if (row := _open_row(pair, status)) is not None:
            return row
    return None


def repeats_allowed(plan: RunTable, runs: Sequence[Run]) -> int:
    """Return how many pairs may be repeated: the study's ``max_repeats``, and one for each interruption.

    A run that a person stopped says nothing about the lab.
    """
    return plan.study.design.max_repeats + sum(run.reason in INTERRUPTIONS for run in runs)


def all_rows(plan: RunTable, runs: Sequence[Run]) -> list[Row]:
    """Return every row that may have been run so far, repeated pairs included."""
    repeats = range(1, repeats_allowed(plan, runs) + 1)
    return [*plan.rows, *(row for number in repeats for row in plan.repeat(number))]


def complete_pairs(rows: Iterable[Row], status: Mapping[str, str]) -> int:
    """Return how many pairs have all their runs done."""
    blocks: dict[int, list[str]] = {}
    for row in rows:
        blocks.setdefault(row.block, []).append(status.get(row.run_id, ""))
    return sum(all(state == "done" for state in states) for states in blocks.values())


def complete(plan: RunTable, runs: Sequence[Run]) -> int:
    """Return how many pairs, repeated ones included, are complete."""
    return complete_pairs(all_rows(plan, runs), {run.run_id: run.status for run in runs})


def _open_row(rows: Iterable[Row], status: Mapping[str, str]) -> Row | None:
    given_up = {row.block for row in rows if status.get(row.run_id) == "failed"}
    return next((row for row in rows if row.run_id not in status and row.block not in given_up), None)


def _block(study: Study, seed: int, block: int, order: Sequence[str], *, repeat: int = 0) -> tuple[Row, ...]:
    offsets = _offsets(study, seed, block)
    return tuple(
        Row(
            run_id=f"p{block:03d}-{position + 1}-{arm}",
            block=block,
            position=position,
            arm=arm,
            phase_seconds=draws.phase(block, position, study.timing.phase_seconds, seed),
            offsets=offsets,
            repeat=repeat,
        )
        for position, arm in enumerate(order)
    )


def _offsets(study: Study, seed: int, block: int) -> tuple[float, ...]:
    trace = study.trace
    return tuple(
        draws.offsets(block, trace.counts, trace.first_seconds, trace.spacing_seconds, trace.jitter_seconds, seed)
    )
