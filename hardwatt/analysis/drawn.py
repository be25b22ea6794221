"""A plan against its seed: order of arms, moments of commits and delays are drawn again.

Whoever gives an arm's windows another arm's name has to change the plan too, and its seed draws the old one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hardwatt.bundle import draws
from hardwatt.bundle.model import Run
from hardwatt.bundle.protocol import protocol_sha256, session_seed
from hardwatt.bundle.reader import Bundle

ORDERS = ("randomised", "abba", "williams")


def unlike_draws(bundle: Bundle) -> Iterator[str]:
    """Yield what a plan with a study's definition has otherwise than its seed draws; nothing for other plans."""
    plan = bundle.plan
    extra: Mapping[str, Any] = plan.model_extra or {}
    session, protocol = bundle.manifest.session, protocol_sha256(bundle.plan_as_stored)
    if session is not None and protocol and plan.seed not in (session, session_seed(protocol, session)):
        yield f"the plan's seed {plan.seed} does not follow from its protocol and session {session}"
    definition = extra.get("definition")
    if not isinstance(definition, Mapping):
        return
    order = extra.get("order", "randomised" if len(plan.arms) == 2 else "williams")
    if order not in ORDERS:
        yield f"the plan has the unknown order {order!r}"
        return
    blocks = draws.orders(order, plan.arms, len({row.block for row in plan.runs if not row.repeat}), plan.seed)
    wanted = [(block, place, arm) for block, arms in enumerate(blocks, 1) for place, arm in enumerate(arms)]
    place_of = {
        block: place for place, block in enumerate(sorted({row.block for row in plan.runs if not row.repeat}), 1)
    }
    stored = [(place_of[row.block], row.position, row.arm) for row in plan.runs if not row.repeat]
    if stored != wanted:
        first = next(
            (row for row, other in zip(stored, wanted, strict=False) if row != other), stored[-1] if stored else ""
        )
        yield f"the plan's order of arms is not the one that its seed draws, from {first} on"
    for row in plan.runs:
        yield from _unlike(row.run_id, row.block, row.position, row.model_extra or {}, definition, plan.seed)


def _unlike(
    run_id: str, block: int, position: int, row: Mapping[str, Any], definition: Mapping[str, Any], seed: int
) -> Iterator[str]:
    timing, trace = _section(definition, "timing"), _section(definition, "trace")
    if "phase_seconds" in row and "phase_seconds" in timing:
        drawn = draws.phase(block, position, float(timing["phase_seconds"]), seed)
        if row["phase_seconds"] != drawn:
            yield f"the plan's delay before {run_id} is not the one that its seed draws"
    counts = trace.get("commits_by_block") or ([trace["commits"]] if "commits" in trace else [])
    keys = ("first_seconds", "spacing_seconds", "jitter_seconds")
    if "offsets" in row and counts and all(key in trace for key in keys):
        first, spacing, jitter = (float(trace[key]) for key in keys)
        if list(row["offsets"]) != draws.offsets(block, counts, first, spacing, jitter, seed):
            yield f"the plan's commits of {run_id} are not those that its seed draws"


def unlike_repeats(bundle: Bundle, runs: Sequence[Run]) -> Iterator[tuple[str, str]]:
    """Yield run id and reason of each run of a repeated block whose arm the seed draws at another place."""
    plan = bundle.plan
    if not isinstance((plan.model_extra or {}).get("definition"), Mapping):
        return
    for run in runs:
        if not run.repeat:
            continue
        order = draws.repeated_order(plan.arms, run.block, plan.seed)
        if run.position >= len(order) or order[run.position] != run.arm:
            yield run.run_id, "its place in the repeated block is not the one that the plan's seed draws for its arm"


def _section(definition: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return a section of a stranger's plan; nothing where it is something else."""
    section = definition.get(name)
    return section if isinstance(section, Mapping) else {}
