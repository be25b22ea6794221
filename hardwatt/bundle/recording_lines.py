"""Assemble a recording from the lines of its files; ``recording_file`` documents them. ValueError names a fault."""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hardwatt.bundle.recording import KINDS, SOURCES, UNITS, Counter, Ended, Process, Recording, UnseenPod
from hardwatt.core.errors import VerifyError

FORMAT, VERSION = "hardwatt-record", 1
_SCALE = {"ns": 1e-9, "us": 1e-6, "uJ": 1e-6}
_LARGEST = 1 << 62
_LONGEST_US = 86_400_000_000
_TEXT_LIMIT = 1024
_KEYS: dict[str, tuple[dict[str, type], dict[str, type]]] = {
    "file": (
        {"format": str, "version": int, "number": int, "boot": str, "cpus": int, "clock_ticks": int,
         "tick_seconds": float, "bound_bytes": int, "at_bound": str},
        {},
    ),
    "start": ({"t": int, "m": int, "version": str, "config_sha256": str}, {}),
    "counter": (
        {"id": int, "of": str, "name": str, "unit": str, "source": str},
        {"namespace": str, "pod": str, "path": str, "zone": str, "counted": bool, "wraps_at": int, "granularity": int,
         "error": int, "misses": str, "from_zero": bool, "life": str},
    ),
    "name": ({"id": int, "namespace": str, "pod": str}, {}),
    "ended": ({"id": int, "m": int}, {}),
    "unseen": ({"uid": str, "namespace": str, "pod": str}, {}),
    "r": ({"n": int, "t": int, "m": int, "d": int, "v": list}, {"full": int, "miss": int}),
    "stop": ({"t": int, "m": int}, {}),
}  # fmt: skip
"""Kind of a line -> its keys with their types: those that it must have, those that it may have."""

Line = dict[str, Any]


@dataclass
class _Life:
    """A counter that is still being read: its definition, and four columns of readings."""

    line: Line
    from_zero: bool
    ended: Ended | None = None
    wrapped: int = 0
    """Sum that the wraps so far add to the value."""
    ticks: list[int] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    stops: list[int] = field(default_factory=list)
    values: list[int] = field(default_factory=list)

    def add(self, tick: int, start_ns: int, took_ns: int, value: int) -> None:
        """Take a reading; one that repeats the value before moves nothing and is left out."""
        if self.values and value == self.values[-1]:
            return
        if self.values and value < self.values[-1] and not self.line.get("wraps_at"):
            raise ValueError(
                f"the {self.line['of']} counter {self.line['name']} fell from {self.values[-1]} to {value}"
            )
        if self.line.get("wraps_at") and value > self.line["wraps_at"]:
            raise ValueError(f"the {self.line['of']} counter {self.line['name']} is beyond where it wraps: {value}")
        if self.values and value < self.values[-1]:
            self.wrapped += self.line["wraps_at"]
        if self.wrapped + value >= _LARGEST:
            raise ValueError(f"the {self.line['of']} counter {self.line['name']} rose by more than 64 bits hold")
        self.ticks.append(tick)
        self.starts.append(start_ns)
        self.stops.append(start_ns + took_ns)
        self.values.append(value)


class Assembly:
    """Takes lines in the order of the files, and makes the recording of them."""

    def __init__(self) -> None:
        self.header: Line = {}
        self.processes: list[Process] = []
        self.lives: dict[tuple[str, ...], _Life] = {}
        self.known: dict[int, _Life] = {}
        self.unseen: list[UnseenPod] = []
        self.ticks: dict[str, list[int]] = {key: [] for key in ("n", "t", "m", "d", "miss")}
        self.expected: int | None = None

    def add(self, line: Line, *, first: bool) -> None:
        """Take the next line; ``first``: it is the first of a file."""
        kind = line.get("k")
        if kind not in _KEYS:
            raise ValueError(f"it has the unknown kind {kind!r}")
        if first and kind != "file":
            raise ValueError("the file does not begin with its header")
        _check(line)
        if kind not in ("file", "start") and not self.processes:
            raise ValueError("it stands before the start of a process")
        getattr(self, f"_{kind}")(line)

    def _file(self, line: Line) -> None:
        if (line["format"], line["version"]) != (FORMAT, VERSION):
            raise ValueError(f"its format is {line['format']} {line['version']}, this tool reads {FORMAT} {VERSION}")
        if line["clock_ticks"] <= 0 or line["tick_seconds"] <= 0:
            raise ValueError("clock_ticks or tick_seconds is not above zero")
        if self.header and line["boot"] != self.header["boot"]:
            raise ValueError("it was recorded after another boot than the file before")
        if self.header and line["number"] != self.header["number"] + 1:
            raise ValueError(f"it is file {line['number']}, and file {self.header['number']} is before it")
        self.header = line

    def _start(self, line: Line) -> None:
        process = Process(self._count, line["t"], line["m"], line["version"], line["config_sha256"])
        last = self.processes[-1] if self.processes else None
        if last is None or (last.started_t_ns, last.started_m_ns) != (line["t"], line["m"]):
            self.processes.append(process)
            self.known, self.expected = {}, None

    def _counter(self, line: Line) -> None:
        for key, allowed in (("of", KINDS), ("unit", UNITS), ("source", SOURCES)):
            if line[key] not in allowed:
                raise ValueError(f"{key} is {line[key]!r}, not one of {', '.join(allowed)}")
        same = tuple(line.get(key, "") for key in ("of", "name", "unit", "source", "path", "life"))
        life = self.lives.get(same)
        if life is None:
            born = line["source"] == "cgroup" and self._count > 0
            life = self.lives[same] = _Life(line, bool(line.get("from_zero")) or born)
        elif line.get("pod"):
            life.line = line
        life.ended = None
        self.known[line["id"]] = life

    def _name(self, line: Line) -> None:
        life = self._life(line["id"])
        life.line = {**life.line, "namespace": line["namespace"], "pod": line["pod"]}

    def _ended(self, line: Line) -> None:
        self._life(line["id"]).ended = Ended(self._count, line["m"])

    def _unseen(self, line: Line) -> None:
        self.unseen.append(UnseenPod(line["uid"], line["namespace"], line["pod"], max(0, self._count - 1)))

    def _stop(self, line: Line) -> None:
        """An orderly end needs nothing: the next start says that it was one process."""

    def _r(self, line: Line) -> None:
        number, full = line["n"], bool(line.get("full"))
        if self.expected is None and not full:
            raise ValueError("the first record of a process, or of a part of a recording, is not a full one")
        if self.expected is not None and (number < self.expected or (number > self.expected and not full)):
            raise ValueError(f"it is record {number}, and record {self.expected} was expected")
        if self.ticks["m"] and line["m"] <= self.ticks["m"][-1]:
            raise ValueError("the monotonic clock did not advance")
        if line["d"] >= _LONGEST_US:
            raise ValueError("a record took longer than a day")
        tick = self._count
        for key in self.ticks:
            self.ticks[key].append(line.get(key, 0))
        for reading in line["v"]:
            if not isinstance(reading, list) or len(reading) != 4 or not all(_whole(part) for part in reading):
                raise ValueError(f"a reading is not four whole numbers: {reading!r:.60}")
            counter, start_us, took_us, value = reading
            if max(start_us, took_us) >= _LONGEST_US:
                raise ValueError("a reading took longer than a day")
            self._life(counter).add(tick, line["m"] + start_us * 1000, took_us * 1000, value)
        self.expected = number + 1

    @property
    def _count(self) -> int:
        return len(self.ticks["n"])

    def _life(self, number: int) -> _Life:
        if number not in self.known:
            raise ValueError(f"counter {number} was not declared")
        return self.known[number]

    def recording(self, *, torn: bool) -> Recording:
        """Return the recording. Raise VerifyError where there is not one record."""
        columns = {key: np.array(values, dtype=np.int64) for key, values in self.ticks.items()}
        nodes = [life for life in self.lives.values() if life.line["of"] == "node" and life.values]
        if not nodes:
            raise VerifyError(
                "the recording holds no reading of the node", hint="wait two seconds, then fetch it again"
            )
        if len(kinds := {life.line["source"] for life in nodes}) > 1:
            raise VerifyError(f"the node's CPU time was read from {' and then from '.join(sorted(kinds))}",
                              hint="use one of the two parts")  # fmt: skip
        return Recording(
            node_kind=nodes[0].line["source"],
            **{key: self.header[key] for key in ("boot", "cpus", "tick_seconds", "bound_bytes", "at_bound")},
            processes=tuple(self.processes),
            counters=tuple(self._made(life) for life in self.lives.values() if life.values),
            unseen=tuple(self.unseen),
            numbers=columns["n"],
            t_ns=columns["t"],
            m_ns=columns["m"],
            span_ns=columns["d"] * 1000,
            missed_ns=columns["miss"],
            torn=torn,
        )

    def _made(self, life: _Life) -> Counter:
        line = life.line
        return Counter(
            kind=line["of"],
            name=line["name"],
            unit=line["unit"],
            source=line["source"],
            **{key: line.get(key, "") for key in ("namespace", "pod", "path", "zone", "misses")},
            counted=line.get("counted", False),
            **{key: line.get(key, 0) for key in ("wraps_at", "error")},
            granularity=line.get("granularity", 1),
            from_zero=life.from_zero,
            ended=life.ended,
            scale=_SCALE.get(line["unit"], 1 / self.header["clock_ticks"]),
            ticks=np.array(life.ticks, dtype=np.int64),
            earliest_ns=np.array(life.starts, dtype=np.int64),
            latest_ns=np.array(life.stops, dtype=np.int64),
            values=np.array(life.values, dtype=np.int64),
        )


def _check(line: Line) -> None:
    """Refuse a line with an unknown, missing or wrong key."""
    needed, optional = _KEYS[line["k"]]
    if missing := set(needed) - set(line):
        raise ValueError(f"{', '.join(sorted(missing))} is missing")
    if unknown := set(line) - set(needed) - set(optional) - {"k"}:
        raise ValueError(f"the key {sorted(unknown)[0]!r} is unknown")
    for key, kind in {**needed, **optional}.items():
        if key in line and not _fits(line[key], kind):
            raise ValueError(f"{key} is {line[key]!r:.60}")


def _fits(value: Any, kind: type) -> bool:
    if kind is int:
        return _whole(value)
    if kind is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if kind is str:
        return isinstance(value, str) and len(value) <= _TEXT_LIMIT and (value.isprintable() or not value)
    return isinstance(value, kind)


def _whole(value: Any) -> bool:
    """Return True for a whole number that is not negative and fits into 64 bits."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _LARGEST
