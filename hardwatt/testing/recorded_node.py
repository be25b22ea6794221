"""A recorder's file of a made-up node, written by the meter's own writer."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hardwatt.meter.record_file import RecordFile, encode

T0_NS = 1_790_000_000_000_000_000
"""Realtime clock when the monotonic clock stands at zero."""


class RecordedNode:
    """Writes what a recorder writes, with counters that the test moves.

    ``values`` maps (kind, name) to a raw value; ``tick`` records those that moved, the first and each sixtieth time
    all of them. A new key is declared at the tick at which it first appears.
    """

    def __init__(self, path: Path, *, boot: str = "boot-1", bound_bytes: int = 1 << 20, **facts: Any) -> None:
        header = {"boot": boot, "cpus": 2, "clock_ticks": 100, "tick_seconds": 1.0, **facts}
        self.file = RecordFile(str(path), bound_bytes, header)
        self.m_ns, self.step_ns = 5_000_000_000, 0
        self.values: dict[tuple[str, str], int] = {("node", "node"): 1_000_000_000, ("self", "self"): 0}
        self.more: dict[tuple[str, str], dict[str, Any]] = {}
        """Further keys of a counter's declaration."""
        self.start()

    @property
    def t_ns(self) -> int:
        """Realtime clock now."""
        return T0_NS + self.m_ns + self.step_ns

    def start(self) -> None:
        """Begin a process of the recorder, the first one or a later one."""
        self.file.close()
        self.file.open()
        self.started = {"k": "start", "t": self.t_ns, "m": self.m_ns, "version": "2", "config_sha256": "0" * 64}
        self.line(self.started)
        self.ids: dict[tuple[str, str], int] = {}
        self.written: dict[int, int] = {}
        self.number = 0

    def line(self, line: Mapping[str, Any]) -> None:
        """Write any line."""
        self.file.write(encode(dict(line)))

    def turn(self) -> None:
        """Begin another file, as at the bound."""
        self.file.turn()
        self.line(self.started)
        for key in self.ids:
            self._declare(key)
        self.written = {}

    def tick(self, seconds: float = 1.0, **more: int) -> None:
        """Let time pass, then write one record."""
        self.m_ns += round(seconds * 1e9)
        for key in self.values:
            if key not in self.ids:
                self.ids[key] = len(self.ids) + 1
                self._declare(key)
        full = {"full": 1} if self.number % 60 == 0 or not self.written else {}
        moved = [
            [self.ids[key], 10 * place, 5, value]
            for place, (key, value) in enumerate(self.values.items())
            if full or self.written.get(self.ids[key]) != value
        ]
        self.written.update({number: value for number, _, _, value in moved})
        self.line({"k": "r", "n": self.number, "t": self.t_ns, "m": self.m_ns, "d": 500, "v": moved, **full, **more})
        self.number += 1

    def end(self, kind: str, name: str) -> None:
        """Write that a counter is gone."""
        self.line({"k": "ended", "id": self.ids.pop((kind, name)), "m": self.m_ns})
        del self.values[kind, name]

    def _declare(self, key: tuple[str, str]) -> None:
        kind, name = key
        source = {"node": "machine-cgroup", "energy": "powercap"}.get(kind, "cgroup")
        unit = "uJ" if kind == "energy" else "ns"
        line = {"k": "counter", "id": self.ids[key], "of": kind, "name": name, "unit": unit, "source": source}
        self.line({**line, **self.more.get(key, {})})
