"""A simulated node for the daemon's recorder: counters are known functions of time, and readings move its clock."""

import functools
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from hardwatt.meter import meter_config
from hardwatt.meter import recorder as daemon
from hardwatt.testing.recorded_node import T0_NS

KNOT = 0.05
SECONDS = 420
"""Length of a recording, unless a node says otherwise."""
INTEL, AMD = 262_143_328_850, 65_532_610_987


class Truth:
    """A counter in seconds or joules as a function of time: uneven, and steep for moments."""

    def __init__(self, rng: np.random.Generator, mean: float, most: float, seconds: float = SECONDS) -> None:
        self.at = np.arange(0, seconds + 60, KNOT)
        pace = np.minimum(rng.gamma(0.6, mean / 0.6, self.at.size), most)
        self.held = np.concatenate([[0.0], np.cumsum(pace[:-1] * KNOT)]) + rng.uniform(0, 200)

    def __call__(self, seconds: float) -> float:
        return float(np.interp(seconds, self.at, self.held))

    def shown(self, seconds: float) -> float:
        """Return the value of the register: it is renewed each millisecond."""
        return self(np.floor(seconds * 1000) / 1000)


@dataclass
class Zone:
    entry: str
    name: str
    truth: str
    wraps_at: int = INTEL
    stops_at: float = float("inf")


@dataclass
class Node:
    """A node with a clock that readings move: a zone's by up to ``delay``, and late ticks."""

    folder: Path
    zones: list[Zone]
    delay: float = 0.02
    watts: float = 40.0
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(24))
    now: float = 3.0
    seconds: int = SECONDS
    next_tick: int = 4

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return T0_NS / 1e9 + self.now

    def recorder(self, monkeypatch: pytest.MonkeyPatch, **settings: object) -> daemon.Recorder:
        """Return the daemon's recorder, opened, with this node's counters and clock."""
        self.truths = {"node": Truth(self.rng, 0.4, 2.0, self.seconds)}
        for zone in self.zones:
            self.truths.setdefault(zone.truth, Truth(self.rng, self.watts, 20 * self.watts, self.seconds))
        declared = {"source": "machine-cgroup", "unit": "ns"}
        node = daemon.Value(lambda: round(self.truths["node"](self.now) * 1e9))
        monkeypatch.setattr(daemon, "node_counter", lambda _config: (dict(declared), node))
        missing = {key: str(self.folder / key) for key in ("proc", "cgroups", "pod_logs")}
        config = {**meter_config.DEFAULTS, **missing, "cpus": 2, "record": str(self.folder / "recording"), **settings}
        zones = [
            daemon.Zone(zone.entry, zone.name, zone.wraps_at, False, functools.partial(self.register, zone))
            for zone in self.zones
        ]
        own = daemon.Recorder(config, "boot", "t", "", zones, self)
        own.open()
        return own

    def until(self, own: daemon.Recorder, seconds: float) -> None:
        """Let the recorder tick until a moment: a little late each time, and late by a second now and then."""
        while self.next_tick < seconds:
            late = self.rng.uniform(0, 0.004) if self.next_tick % 37 else self.rng.uniform(0.2, 1.4)
            self.now = max(self.now, self.next_tick + late)
            own.tick()
            self.next_tick += 1

    def write(self, monkeypatch: pytest.MonkeyPatch) -> Path:
        """Let the recorder write, and return its file."""
        own = self.recorder(monkeypatch)
        self.until(own, self.seconds)
        own.stop()
        return self.folder / "recording"

    def register(self, zone: Zone) -> daemon.Value:
        truth = self.truths[zone.truth]

        def read() -> int:
            self.now += float(self.rng.uniform(0, self.delay))
            value = round(truth.shown(min(self.now, zone.stops_at)) * 1e6) % zone.wraps_at
            self.now += float(self.rng.uniform(0, self.delay))
            return value

        return daemon.Value(read)


SOCKETS = [Zone("intel-rapl:0", "package-0", "a"), Zone("intel-rapl:1", "package-1", "b")]
HALF = SECONDS / 2
TREES: dict[str, tuple[list[Zone], list[str], list[str]]] = {
    "two sockets": (SOCKETS, ["a", "b"], []),
    "two sockets with two dies each": (
        [Zone(f"intel-rapl:{n}", f"package-{n // 2}-die-{n % 2}", f"d{n}") for n in range(4)],
        ["d0", "d1", "d2", "d3"], [],
    ),
    "memory beside each socket": (
        [*SOCKETS, Zone("intel-rapl:0:0", "dram", "m0"), Zone("intel-rapl:1:0", "dram", "m1")],
        ["a", "b"], ["m0", "m1"],
    ),
    "a twin, its memory, core and psys": (
        [Zone("intel-rapl-mmio:0", "package-0", "a"), Zone("intel-rapl-mmio:0:0", "dram", "m0"),
         Zone("intel-rapl:0", "package-0", "a"), Zone("intel-rapl:0:0", "core", "c"),
         Zone("intel-rapl:0:2", "dram", "m0"), Zone("intel-rapl:1", "psys", "p")],
        ["a"], ["m0"],
    ),
    "the register stops half-way, its twin goes on": (
        [Zone("intel-rapl:0", "package-0", "a", stops_at=HALF), Zone("intel-rapl-mmio:0", "package-0", "a")],
        ["a"], [],
    ),
    "the register stands still, its twin counts": (
        [Zone("intel-rapl:0", "package-0", "a", stops_at=0.0), Zone("intel-rapl-mmio:0", "package-0", "a")], ["a"], [],
    ),
    "wraps each minute": ([Zone("intel-rapl:0", "package-0", "a", wraps_at=40 * 60 * 1_000_000)], ["a"], []),
    "AMD, two sockets with their own range": (
        [Zone("intel-rapl:0", "package-0", "a", AMD), Zone("intel-rapl:1", "package-1", "b", AMD),
         Zone("intel-rapl:0:0", "core", "c", AMD)],
        ["a", "b"], [],
    ),
    "two dies that show one register": (
        [Zone("intel-rapl:0", "package-0-die-0", "a"), Zone("intel-rapl:1", "package-0-die-1", "a")], ["a"], [],
    ),
    "a model beside nothing real": (
        [Zone("synthetic-model:0", "package-0", "a"), Zone("synthetic-model:0:0", "core", "c")], ["a"], [],
    ),
    "three sockets, folders in another order, the platform first": (
        [Zone("intel-rapl:0", "psys", "p"), Zone("intel-rapl:1", "package-2", "c"),
         Zone("intel-rapl:2", "package-0", "a"), Zone("intel-rapl:3", "package-1", "b")],
        ["a", "b", "c"], [],
    ),
    "two dies on each of two sockets, memory of one socket": (
        [*[Zone(f"intel-rapl:{n}", f"package-{n // 2}-die-{n % 2}", f"d{n}") for n in range(4)],
         Zone("intel-rapl:2:0", "dram", "m1")],
        ["d0", "d1", "d2", "d3"], ["m1"],
    ),
    "two twins, the first of which stands still from the start": (
        [Zone("intel-rapl-mmio:0", "package-0", "a", stops_at=0.0), Zone("intel-rapl-mmio:1", "package-0", "a"),
         Zone("intel-rapl:0", "package-0", "a", stops_at=0.0)],
        ["a"], [],
    ),
}  # fmt: skip


def truth_of(node: Node, names: list[str], t0_ms: float, t1_ms: float) -> float:
    """Return what the counters gained together between two moments of the node's clock."""
    ends = [moment / 1000 - T0_NS / 1e9 for moment in (t0_ms, t1_ms)]
    return sum(node.truths[name](ends[1]) - node.truths[name](ends[0]) for name in names)
