"""Notes of the engine about a run beside its samples: the gate, and fetches from the git server."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from hardwatt.analysis.bundle_sections import DeliveryResult, Gate
from hardwatt.analysis.figures import Json, count, figure
from hardwatt.analysis.sections import Check, ResultFigure
from hardwatt.analysis.table import Table
from hardwatt.bundle.model import Run
from hardwatt.bundle.reader import Bundle
from hardwatt.core.untrusted import inside, read_json

EQUAL_WORK = "windows of both arms leave the same objects, images and commit behind"
_SERVER = "log of the git server, by key"
_GATE = "gate of the engine, before the window"


def read(bundle: Bundle, run: Run) -> Json:
    """Return the engine's notes of a run; empty where the bundle holds none."""
    name = f"log/{run.run_id}.json"
    notes: Any = read_json(inside(bundle.path, name, what="the bundle")) if name in bundle.manifest.files else {}
    return notes if isinstance(notes, dict) else {}


def gate(notes: Json) -> Gate | None:
    """Return the time that the run waited to start, and the load of the node then and at its baseline."""
    passed = notes.get("gate")
    if not passed:
        return None
    return Gate(
        waited=figure(float(passed["waited_seconds"]), "s", _GATE),
        cores=figure(float(passed["cores"]), "CPU-seconds per second", _GATE),
        baseline=figure(float(passed["baseline_cores"]), "CPU-seconds per second", _GATE),
    )


def fetches(bundle: Bundle, table: Table) -> dict[str, dict[str, ResultFigure]]:
    """Arm to fetches inside its windows by the name of the key: ``runner``, ``flux``, ``controller``."""
    counted: dict[str, Counter[str]] = {arm: Counter() for arm in table.arms}
    for run in table.runs:
        counted[run.arm].update(str(fetch.get("key", "")) for fetch in read(bundle, run).get("fetches", []))
    return {
        arm: {key: count(number, "fetches", _SERVER) for key, number in sorted(by_key.items())}
        for arm, by_key in counted.items()
    }


def runner_check(fetched: Mapping[str, Mapping[str, ResultFigure]], delivery: DeliveryResult) -> list[Check]:
    """Compare fetches under the CI job's key with commits, in arms where the job fetched at all."""
    rows = []
    for arm, keys in fetched.items():
        if "runner" not in keys:
            continue
        got, wanted = keys["runner"].value, delivery.arms[arm].commits.value
        name = f"one fetch for each commit under the CI job's own key, {arm}"
        detail = f"{got} fetches, {wanted} commits"
        rows.append(Check(name, "ok" if got == wanted else "warning", detail))
    return rows


def equal_work(bundle: Bundle, table: Table) -> list[Check]:
    """Compare what windows left behind: objects by kind, images and the last commit; none where no log has it.

    A difference between the arms is work that one of them leaves to somebody else.
    """
    by_arm: dict[str, dict[str, set[str]]] = {arm: {} for arm in table.arms}
    for run in table.runs:
        left = read(bundle, run).get("left")
        for name, value in left.items() if isinstance(left, dict) else ():
            by_arm[run.arm].setdefault(str(name), set()).add(str(value))
    names = sorted({name for own in by_arm.values() for name in own})
    if not names:
        return []
    first, second = table.arms
    differ = [
        f"{name}: {_values(by_arm[first], name)} after {first}, {_values(by_arm[second], name)} after {second}"
        for name in names
        if by_arm[first].get(name) != by_arm[second].get(name)
    ]
    return [Check(EQUAL_WORK, "warning" if differ else "ok", "; ".join(differ))]


def _values(own: Mapping[str, set[str]], name: str) -> str:
    return " or ".join(sorted(own.get(name, ()))) or "none"
