"""Bundles that may be pooled: further sessions of one protocol, each with data of its own, on one kind of processor."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence

from hardwatt.bundle.protocol import protocol_sha256
from hardwatt.bundle.reader import Bundle
from hardwatt.core.errors import LabError
from hardwatt.instruments.recorder import SOURCES, node_kind

Named = tuple[str, Bundle]
MEASURED = ("edges/", "samples/", "recording/", "raw/")
"""Files of a bundle that hold what was measured: no two experiments have one in common."""
LEAST_BYTES = 64
"""A smaller file may be equal by chance: an empty table."""


def refuse_strangers(named: Sequence[Named]) -> None:
    """Raise `LabError` naming the first bundle that cannot be pooled with those before it, and why."""
    for each in named:
        _refuse_unproven(each)
    first = named[0]
    for other in named[1:]:
        _refuse_other_kind(first, other)
    _refuse_other_counters(named)
    for place, later in enumerate(named):
        for earlier in named[:place]:
            _refuse_again(earlier, later, hint=without([name for name, _ in named], place))


def without(names: Sequence[str], place: int) -> str:
    """Return the command that does without one of the bundles: the others pooled, or the report of a single one."""
    others = [name for number, name in enumerate(names) if number != place]
    return shlex.join(["hardwatt", "pool" if len(others) > 1 else "report", *others])


def _refuse_unproven(named: Named) -> None:
    name, bundle = named
    manifest, plan = bundle.manifest, bundle.plan_as_stored
    if manifest.protocol_sha256 is None or manifest.session is None:
        raise LabError(
            f"{name} has no protocol hash and no session number: a version of hardwatt before sessions made it",
            hint=shlex.join(["hardwatt", "report", name]),
        )
    stated = {manifest.protocol_sha256, plan.get("protocol_sha256"), protocol_sha256(plan)}
    if len(stated) > 1 or plan.get("session") != manifest.session:
        raise LabError(
            f"{name} states a protocol or a session that is not its plan's", hint="copy the bundle again from its maker"
        )


def _refuse_other_kind(first: Named, other: Named) -> None:
    shared: Mapping[str, Callable[[Bundle], object]] = {
        "protocol": lambda bundle: str(bundle.manifest.protocol_sha256)[:12],
        "schema": lambda bundle: bundle.manifest.schema_version,
        "source of energy": lambda bundle: bundle.manifest.source,
        "kind of node CPU": processor,
    }
    for what, get in shared.items():
        mine, its = get(first[1]), get(other[1])
        if mine != its and not (what == "kind of node CPU" and _no_other_processor(first[1], other[1])):
            raise LabError(
                f"{first[0]} and {other[0]} cannot be pooled: their {what} is {mine} and {its}",
                hint=shlex.join(["hardwatt", "compare", first[0], other[0]]),
            )


def _refuse_other_counters(named: Sequence[Named]) -> None:
    """Refuse unequal counters of the node's CPU time, where they are known: each kind misses something else."""
    kinds = [(place, name, kind) for place, (name, bundle) in enumerate(named) if (kind := node_kind(bundle))]
    for place, name, kind in kinds[1:]:
        _, first, its = kinds[0]
        if kind != its:
            raise LabError(
                f"{first} and {name} cannot be pooled: their CPU time of the node is read from "
                f"{SOURCES.get(its, its)} and from {SOURCES.get(kind, kind)}",
                hint=without([name for name, _ in named], place),
            )


def _no_other_processor(first: Bundle, other: Bundle) -> bool:
    """Return True if two bundles differ only in that the older one does not name its processor."""
    both = [bundle.manifest.host for bundle in (first, other)]
    if all("processor" in host for host in both):
        return False
    return len({_kind(bundle, ("architecture",)) for bundle in (first, other)}) == 1


def processor(bundle: Bundle) -> str:
    """Return the kind of processor of a bundle's node, as far as it is recorded, in words."""
    return _kind(bundle, ("processor", "architecture"))


def _kind(bundle: Bundle, keys: Sequence[str]) -> str:
    host, model = bundle.manifest.host, bundle.manifest.power_model
    facts = [str(host[key]) for key in keys if key in host]
    facts += [f"{host['cpus']} CPUs"] if "cpus" in host else []
    return ", ".join([*facts, *([f"power model {model['name']}"] if "name" in model else [])]) or "not recorded"


def _refuse_again(earlier: Named, later: Named, *, hint: str) -> None:
    before, after = earlier[1].manifest, later[1].manifest
    if common := sorted(_measured(earlier[1]) & _measured(later[1])):
        raise LabError(f"{earlier[0]} and {later[0]} hold the same data: {common[0][0]} is equal in both", hint=hint)
    if before.session == after.session or before.seed == after.seed:
        raise LabError(f"{earlier[0]} and {later[0]} are both session {after.session}, with the same draws", hint=hint)


def _measured(bundle: Bundle) -> set[tuple[str, str]]:
    """Return name and checksum of each file that holds measured values."""
    return {
        (name, entry.sha256)
        for name, entry in bundle.manifest.files.items()
        if name.startswith(MEASURED) and entry.bytes >= LEAST_BYTES
    }
