"""The gate before a run: the cluster at rest, and the node as busy, as hot and as hungry as at its idle baseline."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from hardwatt.bundle.exposition import labels_of
from hardwatt.bundle.model import Edge
from hardwatt.core.errors import WaitError
from hardwatt.experiment.plan.study_model import Gate, Study
from hardwatt.experiment.testbed.interface import Testbed
from hardwatt.instruments.zones import between

CPU = "hardwatt_node_cpu_seconds_total"
READ_AT = "hardwatt_meter_read_timestamp_seconds"
TRIES = 3
INFO = "hardwatt_meter_info"

Say = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Look:
    """One look at the node, over some seconds."""

    cores: float
    """CPU-seconds of the node per second."""
    watts: float | None = None
    """Power of the packages, where it is measured; None where it would only be computed from CPU time."""
    celsius: float | None = None
    """The processor's temperature, where the host shows one."""


@dataclasses.dataclass(frozen=True)
class Baseline:
    """The idle node before a block, or after the last one (then ``block`` is that block)."""

    block: int
    place: str
    """``before`` or ``after``."""
    t0_ms: int
    t1_ms: int
    """Node's clock."""
    cores: float
    watts: float | None
    celsius: float | None
    waited_seconds: float

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True)
class Passed:
    """An opened gate: the time waited, the last look, and the baseline that it was compared with."""

    waited_seconds: float
    cores: float
    baseline_cores: float
    watts: float | None = None
    celsius: float | None = None
    waited_for: tuple[str, ...] = ()
    """Each reason that kept the gate shut at some look."""
    band_cores: float | None = None
    """The band that follows from the margin; None: the study has no margin in CPU time."""

    @property
    def beyond_margin(self) -> float | None:
        """Cores above the baseline, where that is beyond the margin's band; else None."""
        above = self.cores - self.baseline_cores
        return above if self.band_cores is not None and above > self.band_cores else None


def node_cpu(edge: Edge) -> tuple[float, float]:
    """Return (seconds since 1970 of the reading, CPU-seconds of the node).

    Raises ``WaitError`` where the exporter does not show the meter's counter.
    """
    readings = [value for series, value in edge.values.items() if series.partition("{")[0] == CPU]
    if len(readings) != 1:
        raise WaitError(f"the exporter shows {len(readings)} series {CPU}, not one", hint="invoke lab.status")
    return edge.values.get(READ_AT, edge.node_ms / 1000), readings[0]


def look(testbed: Testbed, seconds: float) -> Look:
    """Look at the node over the next ``seconds``."""
    return _between(*_edges(testbed, seconds), testbed.celsius())


def _edges(testbed: Testbed, seconds: float) -> tuple[Edge, Edge]:
    """Read the counters twice; once more where the meter's counter began again from zero in between."""
    for _ in range(TRIES):
        start = testbed.edge("gate", "start")
        testbed.clock.sleep(seconds)
        end = testbed.edge("gate", "end")
        if node_cpu(end)[1] >= node_cpu(start)[1]:
            return start, end
    raise WaitError(f"the meter's counter fell in {TRIES} looks, one after the other", hint="invoke lab.status")


def _between(start: Edge, end: Edge, celsius: float | None) -> Look:
    (begin, before), (ended, after) = node_cpu(start), node_cpu(end)
    if ended <= begin:
        raise WaitError(f"the meter did not move within {end.node_ms - start.node_ms} ms", hint="invoke lab.status")
    watts = None
    if _source(end) == "rapl":
        joules = between(start.values, end.values)
        if joules is not None:
            watts = round(joules / ((end.node_ms - start.node_ms) / 1000), 3)
    return Look((after - before) / (ended - begin), watts, celsius)


def _source(edge: Edge) -> str:
    sources = [labels_of(series).get("source", "") for series in edge.values if series.startswith(INFO + "{")]
    return sources[0] if sources else ""


def baseline(testbed: Testbed, study: Study, block: int, place: str, say: Say) -> Baseline:
    """Look at the idle node, once the cluster is at rest and the two halves of the window agree.

    Raises ``WaitError`` with the reasons where that does not happen in time.
    """
    gate, started = study.gate, testbed.clock.monotonic()
    last: tuple[Edge, Look] | None = None
    while True:
        reasons = list(testbed.unsettled(study))
        start, end = _edges(testbed, gate.baseline_seconds / 2)
        now = _between(start, end, testbed.celsius())
        waited = testbed.clock.monotonic() - started
        if not reasons and last is not None and not _apart(gate, now, last[1], both=True):
            first, before = last
            return Baseline(
                block, place, first.node_ms, end.node_ms, round((before.cores + now.cores) / 2, 4),
                _mean(before.watts, now.watts), now.celsius, round(max(0.0, waited - gate.baseline_seconds), 1),
            )  # fmt: skip
        if waited > gate.timeout_seconds:
            apart = ["two looks at the idle node differ"] if last else []
            raise _not_settled("the baseline", reasons or apart, gate.timeout_seconds)
        if reasons or last is not None:
            say(f"baseline waits: {'; '.join(reasons or ['two looks at the idle node differ'])}")
        last = None if reasons else (start, now)


def _mean(first: float | None, second: float | None) -> float | None:
    return second if first is None or second is None else round((first + second) / 2, 3)


def pass_gate(testbed: Testbed, study: Study, idle: Baseline, say: Say) -> Passed:
    """Wait until pods and queues are at rest and the node is near its baseline.

    The band of the margin is waited for with patience only: a level that stays is recorded with the run, and the
    analysis reports it in the answer's unit. To drop such runs would select by the arm before.

    Raises ``WaitError`` with the reasons when the gate does not open in time.
    """
    gate, started = study.gate, testbed.clock.monotonic()
    waited_for: list[str] = []
    target = Look(idle.cores, idle.watts, idle.celsius)
    while True:
        now = look(testbed, gate.sample_seconds)
        reasons = [*testbed.unsettled(study), *_apart(gate, now, target)]
        waited = testbed.clock.monotonic() - started
        if not reasons:
            reasons = _beyond_margin(study, now, target) if waited < gate.patience_seconds else []
        if not reasons:
            return Passed(
                round(waited, 1), round(now.cores, 4), round(idle.cores, 4), now.watts, now.celsius,
                tuple(waited_for), study.margin_cores,
            )  # fmt: skip
        waited_for += [reason for reason in reasons if reason not in waited_for]
        if waited > gate.timeout_seconds:
            raise _not_settled("the gate", reasons, gate.timeout_seconds)
        say(f"gate waits: {'; '.join(reasons)}")


def settle(testbed: Testbed, study: Study, say: Say) -> float:
    """Wait until pods and queues are at rest with the arm prepared; return how many seconds that took.

    Raises ``WaitError`` with the reasons after ``timing.ready_timeout_seconds``.
    """
    started, timeout = testbed.clock.monotonic(), study.timing.ready_timeout_seconds
    while reasons := list(testbed.unsettled(study)):
        if testbed.clock.monotonic() - started > timeout:
            raise _not_settled("the window", reasons, timeout)
        say(f"window waits: {'; '.join(reasons)}")
        testbed.clock.sleep(1.0)
    return round(testbed.clock.monotonic() - started, 1)


def _apart(gate: Gate, now: Look, target: Look, *, both: bool = False) -> list[str]:
    """Return in which ways a look is out of its band around another one.

    A node that is less busy or cooler than its baseline is at rest too, unless ``both`` sides count.
    """
    looks = (
        ("the node uses {:.2f} cores, its baseline is {:.2f}", now.cores, target.cores, gate.cpu_band_cores),
        ("the node takes {:.1f} W, its baseline is {:.1f} W", now.watts, target.watts, gate.power_band_watts),
        (
            "the processor has {:.0f} °C, at the baseline it had {:.0f} °C",
            now.celsius, target.celsius, gate.temperature_band_celsius,
        ),
    )  # fmt: skip
    return [
        says.format(value, wanted)
        for says, value, wanted, band in looks
        if value is not None and wanted is not None and band and _out(value - wanted, band, both=both)
    ]


def _beyond_margin(study: Study, now: Look, target: Look) -> list[str]:
    """Return the reason to wait a while: the node is above its baseline by more than the margin allows."""
    band = study.margin_cores
    if band is None or now.cores - target.cores <= band:
        return []
    return [
        f"the node uses {now.cores:.3f} cores, its baseline is {target.cores:.3f}, and the margin is {band:.3f} cores"
    ]


def _out(distance: float, band: float, *, both: bool) -> bool:
    return (abs(distance) if both else distance) > band


def _not_settled(what: str, reasons: Sequence[str], seconds: float) -> WaitError:
    why = "; ".join(reasons) or "no two looks at the node agree"
    return WaitError(
        f"{what} did not open within {seconds:g} s: {why}",
        hint="invoke lab.status; a busier machine needs a wider gate.cpu_band_cores in the study",
    )
