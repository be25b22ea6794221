"""A node's recording, typed: what its counters held at each tick of the recorder.

``recording_file.read`` makes it from the recorder's files, which it refuses where they are damaged. Values are raw,
in the counter's own unit. Two clocks: realtime (``t``), which may be stepped, and monotonic since boot (``m``), in
nanoseconds. Every reading has the moments before and after it on the monotonic clock.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from hardwatt.core.errors import VerifyError

CounterKind = Literal["node", "node_low", "host", "steal", "energy", "pods", "pod", "unit", "self", "named"]
Unit = Literal["ns", "us", "ticks", "uJ"]
Source = Literal[
    "machine-cgroup", "cgroup-v1-root", "schedstat", "top-level-cgroups", "procstat", "cgroup", "processes", "powercap"
]
KINDS: tuple[str, ...] = get_args(CounterKind)
UNITS: tuple[str, ...] = get_args(Unit)
SOURCES: tuple[str, ...] = get_args(Source)
STEP_NS = 50_000_000
"""A realtime clock that differs by more from the monotonic one's pace between two ticks was stepped."""

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Reading:
    """One raw value, read between two moments of the monotonic clock."""

    value: int
    earliest_ns: int
    latest_ns: int


@dataclass(frozen=True)
class Process:
    """One process of the recorder: a recording continues over its restarts, and nothing was read in between."""

    first_tick: int
    started_t_ns: int
    started_m_ns: int
    version: str
    config_sha256: str


@dataclass(frozen=True)
class Ended:
    """The end of a counter, whose last reading stays its value: noticed at ``m_ns``, after the tick ``tick``."""

    tick: int
    m_ns: int


@dataclass(frozen=True)
class UnseenPod:
    """A pod that left a folder of logs, but whose cgroup came and went between two ticks.

    Its CPU time is part of what the counter of all pods rose by and no pod's counter did, around the tick ``tick``.
    """

    uid: str
    namespace: str
    pod: str
    tick: int


@dataclass(frozen=True, eq=False)
class Counter:
    """One counter of the kernel over its life. ``values`` never fall, except where they wrap at ``wraps_at``.

    ``ticks`` holds the indices of the ticks at which the value differs from the one before: at any other tick of its
    life the counter was read and had not moved. ``from_zero``: its life began while the recorder ran, so what it
    held at its first reading was used since the tick before.
    """

    kind: CounterKind
    name: str
    """UID of a pod, name of a unit, folder of a zone; else what the counter is."""
    unit: Unit
    source: Source
    namespace: str
    pod: str
    path: str
    zone: str
    """Name of an energy zone (``package-0``); empty for other counters."""
    counted: bool
    """True for an energy zone that is part of the node's energy."""
    wraps_at: int
    """Value at which the counter starts from zero again; 0: never."""
    granularity: int
    """Smallest step of the value in its unit, as far as the kernel states it."""
    error: int
    """Largest distance of a reading from the truth, in the unit."""
    misses: str
    """In words, what the counter does not count."""
    from_zero: bool
    ended: Ended | None
    scale: float
    """Seconds or joules of one unit."""
    ticks: Numbers
    earliest_ns: Numbers
    latest_ns: Numbers
    values: Numbers

    @property
    def first_tick(self) -> int:
        """Index of the tick of the first reading."""
        return int(self.ticks[0])

    def rise(self, first: int, last: int) -> int:
        """Return by how much the counter rose from tick ``first`` to tick ``last``, wraps included, in its unit.

        A counter that began between the two counts from zero, an ended one keeps its last value. Raise VerifyError
        where the counter existed before its first reading and that is after ``first``.
        """
        before, until = (int(np.searchsorted(self.ticks, tick, side="right")) - 1 for tick in (first, last))
        if until < 0:
            return 0
        if before < 0:
            if not self.from_zero:
                raise VerifyError(
                    f"the {self.kind} counter {self.name} was first read at tick {self.first_tick}, after tick {first}",
                    hint="choose a window after the recorder's start",
                )
            return int(self._unwrapped[until])
        return int(self._unwrapped[until] - self._unwrapped[before])

    @cached_property
    def _unwrapped(self) -> Numbers:
        falls = np.concatenate([[False], np.diff(self.values) < 0])
        total: Numbers = self.values + np.cumsum(falls) * self.wraps_at
        return total


@dataclass(frozen=True, eq=False)
class Recording:
    """All that one or two files of the recorder hold, of one boot of one node."""

    node_kind: Source
    """Source of the node's CPU time. Unequal kinds are neither compared nor pooled."""
    boot: str
    cpus: int
    tick_seconds: float
    bound_bytes: int
    at_bound: str
    processes: tuple[Process, ...]
    counters: tuple[Counter, ...]
    unseen: tuple[UnseenPod, ...]
    numbers: Numbers
    """The recorder's own number of each tick; consecutive within a process."""
    t_ns: Numbers
    m_ns: Numbers
    """Realtime and monotonic clock just before the node's counter was read."""
    span_ns: Numbers
    """Length of the tick: the last counter was read so long after ``m_ns``."""
    missed_ns: Numbers
    """Upper bound of the CPU time that the node's counter had not yet counted; 0 where its kind misses nothing."""
    torn: bool
    """True where the last line was cut off: it was dropped."""

    def of(self, *kinds: CounterKind) -> tuple[Counter, ...]:
        """Return the counters of these kinds."""
        return tuple(counter for counter in self.counters if counter.kind in kinds)

    @property
    def node(self) -> Counter:
        """The counter of the node's CPU time; raise VerifyError where it is not one counter over the recording."""
        counters = self.of("node")
        if len(counters) != 1:
            raise VerifyError(f"the recording holds {len(counters)} counters of the node's CPU time, not one",
                              hint="use a window without a restart of the node in it")  # fmt: skip
        return counters[0]

    def reading(self, counter: Counter, tick: int) -> Reading | None:
        """Return what a counter held at a tick; None before its first reading.

        Where the value did not move, the moments are those of the whole tick; after its end, of its last reading.
        """
        place = int(np.searchsorted(counter.ticks, tick, side="right")) - 1
        if place < 0:
            return None
        value, at = int(counter.values[place]), int(counter.ticks[place])
        if at == tick or (counter.ended is not None and tick >= counter.ended.tick):
            return Reading(value, int(counter.earliest_ns[place]), int(counter.latest_ns[place]))
        start = int(self.m_ns[tick])
        return Reading(value, start, start + int(self.span_ns[tick]))

    def nearest(self, t_ms: float) -> int:
        """Return the index of the tick whose realtime clock is nearest to ``t_ms`` milliseconds since 1970."""
        return int(np.argmin(np.abs(self.t_ns - round(t_ms * 1e6))))

    def seconds(self, first: int, last: int) -> float:
        """Return the length from one tick to another, by the monotonic clock."""
        return int(self.m_ns[last] - self.m_ns[first]) / 1e9

    def clock_steps(self) -> tuple[tuple[int, float], ...]:
        """Return (tick, seconds) of each tick at which the realtime clock had been stepped, forward above zero."""
        drift = np.diff(self.t_ns - self.m_ns)
        return tuple((int(i) + 1, float(drift[i]) / 1e9) for i in np.flatnonzero(np.abs(drift) > STEP_NS))

    def gaps(self, first: int, last: int) -> tuple[tuple[int, float], ...]:
        """Return (tick, seconds since the tick before) of each silence of over two ticks between two ticks."""
        lengths = np.diff(self.m_ns[first : last + 1]) / 1e9
        wide = np.flatnonzero(lengths > 2 * self.tick_seconds)
        return tuple((first + int(i) + 1, float(lengths[i])) for i in wide)

    def restarts(self, first: int, last: int) -> tuple[Process, ...]:
        """Return the processes of the recorder that began between two ticks."""
        return tuple(process for process in self.processes if first < process.first_tick <= last)

    def summary(self) -> dict[str, Any]:
        """Return what a manifest states of the recording."""
        return {
            "node_kind": self.node_kind,
            "node_misses": self.of("node")[0].misses,
            "ticks": len(self.m_ns),
            "tick_seconds": self.tick_seconds,
            "processes": len(self.processes),
            "pods": len(self.of("pod")),
            "zones": [counter.name for counter in self.of("energy") if counter.counted],
        }


def total_rise(counters: Sequence[Counter], first: int, last: int) -> float:
    """Return the rise of several counters together, in seconds or joules."""
    return sum(counter.rise(first, last) * counter.scale for counter in counters)
