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
