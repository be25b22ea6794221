"""The gate before a run: the cluster must be at rest and the node as busy as at its baseline, not more."""

import dataclasses
from collections.abc import Callable, Sequence

from hardwatt.bundle import Edge
from hardwatt.engine.plant import Plant
from hardwatt.engine.studymodel import Study
from hardwatt.errors import WaitError

CPU = "hardwatt_node_cpu_seconds_total"
READ_AT = "hardwatt_meter_read_timestamp_seconds"


@dataclasses.dataclass(frozen=True)
class Passed:
    """How a gate opened."""

    waited_seconds: float
    cores: float
    """CPU-seconds of the node per second at the last look."""
    baseline_cores: float


def node_cpu(edge: Edge) -> tuple[float, float]:
    """Return (seconds since 1970 of the reading, CPU-seconds of the node).

    Raises ``WaitError`` where the exporter does not show the meter's counter.
    """
    found = [value for series, value in edge.values.items() if series.partition("{")[0] == CPU]
    if len(found) != 1:
        raise WaitError(f"the exporter shows {len(found)} series {CPU}, not one", hint="invoke lab.status")
    return edge.values.get(READ_AT, edge.node_ms / 1000), found[0]


def busy_cores(plant: Plant, seconds: float) -> float:
    """Return the node's CPU use over the next ``seconds``, in cores."""
    start, before = node_cpu(plant.edge("gate", "start"))
    plant.clock.sleep(seconds)
    end, after = node_cpu(plant.edge("gate", "end"))
    if end <= start:
        raise WaitError(f"the meter did not move within {seconds:g} s", hint="invoke lab.status")
    return (after - before) / (end - start)


def baseline(plant: Plant, study: Study, say: Callable[[str], None]) -> float:
    """Return the idle node's CPU use in cores, once the cluster is at rest and two looks agree.

    Raises ``WaitError``.
    """
    gate, started = study.gate, plant.clock.monotonic()
    last: float | None = None
    while True:
        reasons = list(plant.unsettled(study))
        cores = busy_cores(plant, gate.baseline_seconds / 2)
        if not reasons and last is not None and abs(cores - last) <= gate.cpu_band_cores:
            return (cores + last) / 2
        if plant.clock.monotonic() - started > gate.timeout_seconds:
            raise _not_settled("the baseline", reasons or [_busy(cores, last or 0.0)], gate.timeout_seconds)
        say(f"baseline: {'; '.join(reasons) or f'{cores:.2f} cores, looking again'}")
        last = None if reasons else cores


def pass_gate(plant: Plant, study: Study, baseline_cores: float, say: Callable[[str], None]) -> Passed:
    """Wait until pods are at rest and the node's CPU use is near its baseline.

    Raises ``WaitError`` with the reasons when the gate does not open in time.
    """
    gate, started = study.gate, plant.clock.monotonic()
    while True:
        cores = busy_cores(plant, gate.sample_seconds)
        reasons = list(plant.unsettled(study))
        if cores - baseline_cores > gate.cpu_band_cores:
            reasons.append(_busy(cores, baseline_cores))
        waited = plant.clock.monotonic() - started
        if not reasons:
            return Passed(round(waited, 1), round(cores, 3), round(baseline_cores, 3))
        if waited > gate.timeout_seconds:
            raise _not_settled("the gate", reasons, gate.timeout_seconds)
        say(f"gate waits: {'; '.join(reasons)}")


def _busy(cores: float, baseline_cores: float) -> str:
    return f"the node uses {cores:.2f} cores, its baseline is {baseline_cores:.2f}"


def _not_settled(what: str, reasons: Sequence[str], seconds: float) -> WaitError:
    return WaitError(
        f"{what} did not open within {seconds:g} s: {'; '.join(reasons)}",
        hint="invoke lab.status; a busier machine needs a wider gate.cpu_band_cores in the study",
    )
