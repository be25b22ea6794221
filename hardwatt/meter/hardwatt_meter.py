#!/usr/bin/env python3
"""The node's meter: CPU-seconds always, modelled joules where the machine has no counter of its own.

Standard library only, Python 3.6 syntax: it runs on whatever the node has, with the few files beside it that
``node_config`` lists.

Ten times a second, by the monotonic clock, it reads the node's CPU-seconds. A late tick is integrated, not
lost. Every ``units_seconds`` it records all counters (``recorder``) to the append-only file ``record``. Every
``write_seconds`` it writes, each by a temporary file and a rename in the same folder:

* ``textfile``: metrics for node_exporter's textfile collector. ``hardwatt_meter_read_timestamp_seconds`` is the
  moment of the reading, so that whoever scrapes later still knows when the counters had these values.
* ``podfile``, once a second: CPU-seconds of each pod, for the same collector. Ended pods stay for five minutes.
* ``sysfs``/class/powercap/synthetic-model:0: a powercap zone, as RAPL would show it, from a power model, with
  synthetic-model:0:0 and so on where the model tells more zones. They never stand still between two ticks, never go
  back, wrap at ``max_energy_range_uj``, and go on after a restart.

Configuration (JSON, unknown keys are refused):

    source       "modelled" writes the powercap zone; "rapl" leaves energy to the machine's own counter
    force_model  model although a real counter can be read and increases (default false: refused, exit status 78)
    cpu          "procstat", or the folder of a cgroup (v1 with cpuacct.usage, v2 with cpu.stat)
    cpus         number of CPUs that the model's full load means (default: those of this machine)
    units        systemd units whose CPU-seconds are written too; one that is not there is left out until it is
    model        {"name": ..., "points": [[utilisation 0..1, watts], ...]} with two or more points, rising; may have
                 "zones": {"dram": points, "core": points, "uncore": points}, each a zone of its own
    zone         name of the powercap zone that ``points`` are for (default "package-0")
    unit         the meter's own systemd unit
    named        further cgroups to record: {"name": folder}
    record       file of the recorder; record_bytes bounds it and the one before it together
    write_seconds  how often the powercap zone and the textfile are rewritten
    max_energy_range_uj, tick_seconds, units_seconds, sysfs, textfile, podfile, state, powercap, proc, cgroups,
    pod_logs: see ``meter_config``

With "procstat", guest time is part of user time and is not added twice; steal time is not the node's work: it is
left out and written as ``hardwatt_node_steal_seconds_total``.
"""

import argparse
import functools
import glob
import hashlib
import json
import os
import signal
import socket
import sys
import time
from typing import Any, Callable, Dict, List, Optional, Set, Tuple

from hardwatt.meter import recorder, zones
from hardwatt.meter.meter_config import ConfigError, load_config, watts_at
from hardwatt.meter.node_counters import CpuFile, StatFile, open_cgroup, open_unit, read_file

VERSION = "2"
EX_CONFIG = 78
MICRO = 1000000
COUNTED_KINDS = ("package", "dram")
"""Kinds of zones whose sums are the node's energy, each for itself."""
SAVE_SECONDS = 1.0
SEARCH_SECONDS = 10.0
SKEW_SECONDS = 0.02
"""Zones are read one right after the other, and a slow register takes so long."""
LOOKS = 11
"""So often a zone of the machine is read before it is said to stand still, ten times a second."""


class Folder:
    """A folder whose files are replaced often. It stays open: to find it anew each time would double the cost."""

    def __init__(self, path: str) -> None:
        self.path, self.handle = path, -1

    def replace(self, name: str, text: str) -> None:
        """Write by a temporary file in the folder and a rename; a reader sees the old text or the new one."""
        if self.handle < 0:
            self.handle = os.open(self.path, os.O_RDONLY)
        part = "." + name + ".part"
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644, dir_fd=self.handle)
        try:
            data = text.encode()
            # A short write means a full disk: the old file stays.
            if os.write(handle, data) != len(data):
                raise OSError("short write to " + os.path.join(self.path, part))
        finally:
            os.close(handle)
        os.rename(part, name, src_dir_fd=self.handle, dst_dir_fd=self.handle)

    def look(self) -> None:
        """Let go of the folder where its path leads to another one by now: removed, made anew, or mounted over."""
        if self.handle < 0:
            return
        try:
            same = os.path.samestat(os.stat(self.path), os.fstat(self.handle))
        except OSError:
            same = False
        if not same:
            self.close()

    def close(self) -> None:
        """Let go of the folder."""
        if self.handle >= 0:
            os.close(self.handle)
            self.handle = -1

    def __del__(self) -> None:
        """Let go of a folder that nobody writes to any more."""
        self.close()


class Unit:
    """CPU-seconds of one systemd unit, kept over its restarts and the meter's."""

    def __init__(self, name: str, opener: Callable[[], Any], total: Optional[float], last: float) -> None:
        self.name, self.opener, self.total, self.last = name, opener, total, last
        self.reader: Any = None
        self.read_at = self.searched_at = 0.0

    def update(self, now: float) -> None:
        """Add what is new; a counter that is lower than before was made anew and counts from zero."""
        try:
            if self.reader is None:
                if abs(now - self.searched_at) < SEARCH_SECONDS:
                    return
                self.searched_at = now
                self.reader = self.opener()
            if self.reader is None:
                return
            value = self.reader()
        except (OSError, ValueError):
            if self.reader is not None:
                self.reader.close()
            self.reader = None
            return
        step = value - self.last if value >= self.last else value
        self.total = value if self.total is None else self.total + step
        self.last, self.read_at = value, now


class Energy:
    """One modelled register: microjoules that only rise, from CPU-seconds between two moments."""

    def __init__(self, points: List[List[float]], cpus: float, total_uj: float = 0.0) -> None:
        self.points, self.cpus, self.total_uj = points, cpus, total_uj

    def add(self, seconds: float, cpu_seconds: float) -> None:
        """Integrate one stretch at its mean load. At least one microjoule: a reader takes no change for a reset."""
        joules = watts_at(self.points, cpu_seconds / (seconds * self.cpus)) * seconds
        self.total_uj += max(1.0, joules * MICRO)


class Zone(Energy):
    """A register with its files: the last folder name says that it is modelled, whoever reads it."""

    def __init__(self, name: str, entry: str, points: List[List[float]], config: Dict[str, Any], total_uj: float):
        super().__init__(points, config["cpus"], total_uj)
        self.name, self.path = name, "class/powercap/" + entry
        self.folder = Folder(os.path.join(config["sysfs"], self.path))
        self.limit = config["max_energy_range_uj"]

    def prepare(self) -> None:
        """Make the folder and the files that never change."""
        os.makedirs(self.folder.path, exist_ok=True)
        self.folder.replace("name", self.name + "\n")
        self.folder.replace("max_energy_range_uj", "%d\n" % self.limit)

    def write(self) -> None:
        """Show the register."""
        self.folder.replace("energy_uj", "%d\n" % self.shown())

    def shown(self) -> int:
        """Return what the register shows now."""
        return int(self.total_uj) % int(self.limit)

    def not_below_published(self, known: bool) -> None:
        """Go on above what the zone shows: the state is saved once a second, the zone is written every tick."""
        try:
            if int(read_file(os.path.join(self.folder.path, "max_energy_range_uj"))) != self.limit:
                return
            shown = int(read_file(os.path.join(self.folder.path, "energy_uj")))
        except (OSError, ValueError):
            return
        behind = (shown - int(self.total_uj)) % self.limit
        if not known or behind < self.limit / 2:
            self.total_uj += behind + 1


def make_zones(config: Dict[str, Any], state: Dict[str, Any]) -> List[Zone]:
    """Return the package's zone first, then those that the model tells beside it, with their registers of before."""
    if config["source"] != "modelled":
        return []
    model, before = config["model"], state.get("zones", {})
    package = float(state.get("total_uj", 0))
    zones = [Zone(config["zone"], "synthetic-model:0", model["points"], config, package)]
    for number, name in enumerate(sorted(model.get("zones", {}))):
        total = float(before.get(name, 0))
        zones.append(Zone(name, "synthetic-model:0:%d" % number, model["zones"][name], config, total))
    return zones


class Meter:
    """Reads, integrates, writes. ``clock`` is the time module or a double of it."""

    def __init__(
        self,
        config: Dict[str, Any],
        clock: Any = time,
        config_sha256: str = "",
        watched: "Optional[Watched]" = None,
    ) -> None:
        self.config, self.clock, self.config_sha256 = config, clock, config_sha256
        self.read_cpu = self.open_cpu()
        self.modelled = config["source"] == "modelled"
        self.boot = read_file(os.path.join(config["proc"], "sys/kernel/random/boot_id")).strip()
        state = self.load_state()
        self.ticks, self.missed = int(state.get("ticks", 0)), int(state.get("missed", 0))
        self.modelled_zones = make_zones(config, state)
        self.units = [self.make_unit(name, state) for name in config["units"]]
        self.at, self.cpu = clock.monotonic(), self.read_cpu()
        self.wall = clock.time()
        self.saved_at = self.units_at = self.written_at = -1e9
        self.complained: Dict[str, str] = {}
        self.page, self.shown = "", -1
        self.cost = time.process_time()
        self.textfile, self.statefile = os.path.split(config["textfile"]), os.path.split(config["state"])
        self.podfile = os.path.split(config["podfile"])
        self.places = [Folder(self.textfile[0]), Folder(self.statefile[0]), Folder(self.podfile[0])]
        energy = recorded_zones(config, self.modelled_zones, watched)
        self.recorder = recorder.Recorder(config, self.boot, VERSION, config_sha256, energy, clock)
        self.recorded = False
        self.bridge(state)
        for zone in self.modelled_zones:
            zone.not_below_published(bool(state))

    def open_cpu(self) -> CpuFile:
        """Return the reader of the node's CPU-seconds."""
        where = self.config["cpu"]
        if where == "procstat":
            return StatFile(os.path.join(self.config["proc"], "stat"))
        reader = open_cgroup(where)
        if reader is None:
            raise ConfigError("cpu: %s has neither cpuacct.usage nor usage_usec in cpu.stat" % where)
        return reader

    def bridge(self, state: Dict[str, Any]) -> None:
        """Integrate the time in which the meter was down and the node worked on.

        After a boot, after the machine was started anew (a lower counter) and after the counter's source was
        changed, nobody knows what happened in between: nothing is added.
        """
        same = state.get("boot") == self.boot and state.get("source") == self.config["cpu"]
        if same and self.at > state["at"] and self.cpu >= state["cpu"]:
            for zone in self.modelled_zones:
                zone.add(self.at - state["at"], self.cpu - state["cpu"])

    def make_unit(self, name: str, state: Dict[str, Any]) -> Unit:
        """Return a unit with its total of before; after a boot its cgroup counts from zero."""
        total, last = state.get("units", {}).get(name, (None, 0.0))
        last = last if state.get("boot") == self.boot else 0.0
        return Unit(name, lambda: open_unit(name, self.config["proc"], self.config["cgroups"]), total, last)

    def load_state(self) -> Dict[str, Any]:
        """Return the state of the process before this one; nothing where there was none or it cannot be used."""
        try:
            state = json.loads(read_file(self.config["state"]))
            numbers = [float(state[key]) for key in ("at", "cpu", "ticks", "missed", "total_uj")]
            zones = state.get("zones", {})
            if not all(isinstance(table, dict) for table in (zones, state["units"])):
                raise ValueError("zones or units are no table")
            if min(numbers + [float(value) for value in zones.values()]) < 0 or not isinstance(state["boot"], str):
                raise ValueError("a value is missing or below zero")
            return dict(state)
        except FileNotFoundError:
            return {}
        except (ValueError, TypeError, KeyError) as error:
            print("the state in %s is of no use, starts anew: %s" % (self.config["state"], error), file=sys.stderr)
            return {}

    def prepare(self) -> None:
        """Make the folders and the files of the zone that never change."""
        for path in (self.config["textfile"], self.config["state"], self.config["podfile"]):
            os.makedirs(os.path.dirname(path), exist_ok=True)
        self.remove_zones_of_another_model()
        for zone in self.modelled_zones:
            zone.prepare()
        self.recorder.open()

    def remove_zones_of_another_model(self) -> None:
        """A zone that nobody writes any more would look like a counter that stands still."""
        own = {zone.folder.path for zone in self.modelled_zones}
        base = os.path.join(glob.escape(self.config["sysfs"]), "class/powercap/synthetic-model:*")
        for folder in set(glob.glob(base)) - own:
            for name in os.listdir(folder):
                os.unlink(os.path.join(folder, name))
            os.rmdir(folder)

    def tick(self) -> None:
        """Read once and integrate since the reading before."""
        wall, at, cpu = self.clock.time(), self.clock.monotonic(), self.read_cpu()
        if at <= self.at:
            # No time has passed: the next tick integrates what was used.
            return
        for zone in self.modelled_zones:
            zone.add(at - self.at, max(0.0, cpu - self.cpu))
        if self.due(at - self.units_at, self.config["units_seconds"]):
            for unit in self.units:
                unit.update(wall)
            self.units_at, self.cost = at, time.process_time()
            self.recorded = False
        self.wall, self.at, self.cpu = wall, at, cpu
        self.ticks += 1

    def write(self, force: bool = False) -> None:
        """Write record, zone, metrics and the state, each when it is due. A full disk costs nothing but freshness."""
        if not self.recorded:
            self.recorded = True
            self.attempt("record", self.recorder.tick)
        if force or self.due(self.at - self.written_at, self.config["write_seconds"]):
            self.attempt("write", self.write_counters)
        if force or self.at - self.saved_at >= SAVE_SECONDS:
            self.attempt("save", self.save)

    def attempt(self, what: str, act: Callable[[], None]) -> None:
        """Do what may fail for want of space, and say once that it did."""
        try:
            act()
            self.complained.pop(what, None)
        except OSError as error:
            if str(error) != self.complained.get(what):
                print("cannot %s, goes on: %s" % (what, error), file=sys.stderr)
            self.complained[what] = str(error)

    def write_counters(self) -> None:
        """Show the modelled zones and the metrics."""
        for zone in self.modelled_zones:
            zone.write()
        self.places[0].replace(self.textfile[1], self.metrics())
        self.written_at = self.at

    def save(self) -> None:
        """Write the pods' metrics and what the next process needs, and look for folders that were made anew."""
        self.places[2].replace(self.podfile[1], self.pod_metrics())
        self.places[1].replace(self.statefile[1], json.dumps(self.state()) + "\n")
        self.saved_at = self.at
        for folder in self.places + [zone.folder for zone in self.modelled_zones]:
            folder.look()

    def due(self, passed: float, interval: float) -> bool:
        """Return True if an interval has passed; a tick that comes a little early is not put off to the next."""
        step = self.config["tick_seconds"]
        return bool(interval <= step or passed >= interval - step / 2)

    def state(self) -> Dict[str, Any]:
        """Return what the next process needs."""
        return {
            "boot": self.boot,
            "source": self.config["cpu"],
            "at": self.at,
            "cpu": self.cpu,
            "ticks": self.ticks,
            "missed": self.missed,
            "total_uj": self.modelled_zones[0].total_uj if self.modelled else 0,
            "zones": {zone.name: zone.total_uj for zone in self.modelled_zones[1:]},
            "units": {unit.name: [unit.total, unit.last] for unit in self.units if unit.total is not None},
        }

    def metrics(self) -> str:
        """Return the page for node_exporter's textfile collector. Its text is made once, its numbers every time."""
        known = [unit for unit in self.units if unit.total is not None]
        if len(known) != self.shown:
            self.page, self.shown = self.make_page([unit.name for unit in known]), len(known)
        values = [self.ticks, self.missed, self.cost, self.wall, self.cpu]
        if isinstance(self.read_cpu, StatFile):
            values.append(self.read_cpu.steal)
        values += [zone.total_uj / MICRO for zone in self.modelled_zones[:1]]
        values += [unit.total for unit in known]
        values += [unit.read_at for unit in known]
        return self.page % tuple(values)

    def pod_metrics(self) -> str:
        """Return the page of the pods' CPU-seconds. A pod comes when its name is known: its series must not change."""
        name = "hardwatt_pod_cpu_seconds_total"
        lines = ["# HELP hardwatt_pod_read_timestamp_seconds When the pods were read."]
        lines += ["# TYPE hardwatt_pod_read_timestamp_seconds gauge"]
        lines += ["hardwatt_pod_read_timestamp_seconds %r" % self.recorder.t]
        lines += ["# HELP %s CPU-seconds of a pod's cgroup; an ended pod stays for five minutes." % name]
        lines += ["# TYPE %s counter" % name]
        for pod in self.recorder.pods():
            if pod.line.get("pod"):
                names = (name, pod.line["namespace"], pod.line["pod"], pod.line["name"])
                labels = '%s{namespace="%s",pod="%s",uid="%s"}' % names
                lines.append("%s %r" % (labels, pod.value / pod.reader.per_second))
        return "\n".join(lines) + "\n"

    def make_page(self, units: List[str]) -> str:
        """Return the page with a place for each number that changes, in the order of ``metrics``."""
        info = {
            "source": self.config["source"],
            "model": self.config["model"]["name"] if self.modelled else "",
            "cpu": "procstat" if self.config["cpu"] == "procstat" else "cgroup",
            "version": VERSION,
            "config_sha256": self.config_sha256,
        }
        lines = [
            line("meter_info", "gauge", "What the meter is.", 1, **info),
            line("node_cpus", "gauge", "CPUs of the node.", self.config["cpus"]),
        ]
        for name, path, limit in self.zones():
            lines.append(
                line("powercap_max_energy_range_joules", "gauge", "Where it wraps.", limit, zone=name, path=path)
            )
        lines += [
            line("meter_ticks_total", "counter", "Readings."),
            line("meter_missed_ticks_total", "counter", "Ticks that came late and were integrated."),
            line("meter_cpu_seconds_total", "counter", "What the meter itself cost, once a second."),
            line("meter_read_timestamp_seconds", "gauge", "When the counters were read."),
            line("node_cpu_seconds_total", "counter", "CPU-seconds of the node."),
        ]
        if isinstance(self.read_cpu, StatFile):
            lines.append(line("node_steal_seconds_total", "counter", "Taken by the hypervisor."))
        if self.modelled:
            lines.append(line("modelled_joules_total", "counter", "Energy by the model."))
        lines += [line("unit_cpu_seconds_total", "counter", "CPU-seconds of a unit.", unit=name) for name in units]
        lines += [line("unit_read_timestamp_seconds", "gauge", "When it was read.", unit=name) for name in units]
        return without_repeated_help(lines)

    def zones(self) -> List[Tuple[str, str, float]]:
        """Return (name, path, joules at which it wraps) of the zones that node_exporter reads."""
        if self.modelled:
            return [(zone.name, zone.path, zone.limit / MICRO) for zone in self.modelled_zones]
        return real_zones(self.config["powercap"])

    def run(self, stopped: Callable[[], bool], ready: Callable[[], None]) -> None:
        """Tick until ``stopped()``; the next deadline does not move with the time that a tick took."""
        step = self.config["tick_seconds"]
        self.prepare()
        due = self.clock.monotonic()
        self.tick()
        self.write(force=True)
        ready()
        while not stopped():
            due += step
            late = self.clock.monotonic() - due
            if late >= 0:
                skipped = int(late / step) + 1
                self.missed += skipped
                due += skipped * step
            self.clock.sleep(max(0.0, due - self.clock.monotonic()))
            self.tick()
            self.write()
        self.write(force=True)
        self.recorder.stop()


def line(name: str, kind: str, text: str, value: Any = None, **labels: str) -> str:
    """Return one metric with its help, as a template: without a value there is a place for one."""
    pairs = []
    for key in sorted(labels):
        escaped = str(labels[key]).replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
        pairs.append('%s="%s"' % (key, escaped))
    full = "hardwatt_" + name
    inside = "{%s}" % ",".join(pairs) if labels else ""
    shown = "%r" if value is None else repr(value)
    return "# HELP %s %s\n# TYPE %s %s\n%s%s %s\n" % (full, text, full, kind, full, inside, shown)


def without_repeated_help(page: List[str]) -> str:
    """Join metrics; the help of a name is allowed once."""
    seen: Set[str] = set()
    out = []
    for block in page:
        comment, kind, sample = block.splitlines()
        if comment not in seen:
            out += [comment, kind]
        seen.add(comment)
        out.append(sample)
    return "\n".join(out) + "\n"


def recorded_zones(
    config: Dict[str, Any], modelled: List[Zone], watched: "Optional[Watched]" = None
) -> List[recorder.Zone]:
    """Return the energy zones that are recorded: every one of the machine, and those of the model.

    ``counted`` is what the rule says of them, by what the machine's zones did while they were watched; without that,
    by their names. What they do later is in the record.
    """
    if modelled:
        counted = {zone.path for zone in modelled if zones.place(zone.name).kind in COUNTED_KINDS}
    else:
        counted = counted_paths(config["powercap"], watched)
    recorded = []
    for name, path, limit in real_zones(config["powercap"]):
        opener = functools.partial(recorder.EnergyFile, path)
        recorded.append(recorder.Zone(os.path.basename(path), name, round(limit * MICRO), path in counted, opener))
    for zone in modelled:
        shown = functools.partial(recorder.Value, zone.shown)
        entry = os.path.basename(zone.path)
        recorded.append(recorder.Zone(entry, zone.name, int(zone.limit), zone.path in counted, shown))
    return recorded


def counted_paths(powercap: str, watched: "Optional[Watched]") -> Set[str]:
    """Return the paths of the machine's zones that are the energy of its packages and of its memory."""
    if watched is not None:
        chosen = [zones.choose(watched.zones, watched.problems, kind, watched.readings) for kind in COUNTED_KINDS]
        return {watched.paths[number] for choice in chosen for number in choice.counted}
    paths = [path for _, path, _ in real_zones(powercap)]
    named = [zones.Zone(name, os.path.basename(path)) for name, path, _ in real_zones(powercap)]
    chosen = [zones.choose(named, [""] * len(named), kind) for kind in COUNTED_KINDS]
    return {paths[number] for choice in chosen for number in choice.counted}


def named_zones(powercap: str) -> List[Tuple[str, str, float]]:
    """Return (name, path, joules at which it wraps) of every zone that the machine itself has; 0: it does not say."""
    named = []
    for path in sorted(glob.glob(os.path.join(glob.escape(powercap), "*:*"))):
        try:
            name = read_file(os.path.join(path, "name")).strip()
        except (OSError, ValueError):
            continue
        try:
            limit = int(read_file(os.path.join(path, "max_energy_range_uj"))) / MICRO
        except (OSError, ValueError):
            limit = 0.0
        named.append((name, path, limit))
    return named


def real_zones(powercap: str) -> List[Tuple[str, str, float]]:
    """Return (name, path, joules at which it wraps) of every zone of the machine whose counter can be used."""
    return [(name, path, limit) for name, path, limit in named_zones(powercap) if limit > 0]


class Watched:
    """Every zone of a powercap tree, watched for a second: its readings, and why it does not work."""

    def __init__(self, powercap: str, clock: Any = time) -> None:
        seen = named_zones(powercap)
        self.paths = [path for _, path, _ in seen]
        self.zones = [zones.Zone(name, os.path.basename(path)) for name, path, _ in seen]
        self.problems = ["" if limit > 0 else "does not say where it wraps" for _, _, limit in seen]
        self.readings: List[List[Tuple[float, float]]] = [[] for _ in seen]
        for turn in range(LOOKS if seen else 0):
            if turn:
                clock.sleep(0.1)
            for number in range(len(seen)):
                self.look(number, clock.monotonic())
        for number, readings in enumerate(self.readings):
            if len({value for _, value in readings}) < 2:
                self.problems[number] = self.problems[number] or "stands still"

    def look(self, number: int, now: float) -> None:
        """Read a zone once; one that failed is not read again."""
        if self.problems[number]:
            return
        try:
            self.readings[number].append((now, float(read_file(os.path.join(self.paths[number], "energy_uj")))))
        except OSError as error:
            self.problems[number] = "cannot be read (%s)" % (error.strerror or error)
        except ValueError:
            self.problems[number] = "is not a number"

    def packages(self) -> zones.Choice:
        """Return which zones are the CPU packages' sum."""
        return zones.choose(self.zones, self.problems, "package", self.readings, SKEW_SECONDS)

    def told(self) -> str:
        """Return every zone that matters to the packages' sum, with what is wrong with it."""
        words = []
        for zone, problem in zip(self.zones, self.problems):  # noqa: B905 - Python 3.6 has no strict
            if zones.place(zone.name).kind in ("package", "psys"):
                words.append("%s (%s) %s" % (zones.shown(zone), zone.name, problem or "counts"))
        return "; ".join(words) or "there is no zone of a CPU package"


def refuse_real_meter(config: Dict[str, Any], clock: Any = time) -> Watched:
    """Return what the machine's zones did; raise ConfigError where a model would stand in for them, or they lack.

    Only what would be read is looked at: the CPU packages. The platform's zone (psys) is no stand-in for them.
    """
    watched = Watched(config["powercap"], clock)
    packages = watched.packages()
    works = bool(packages.counted) and not packages.lacking
    if config["source"] == "modelled" and works and not config["force_model"]:
        path = watched.paths[packages.counted[0]]
        raise ConfigError("%s is a real energy counter that works: use source rapl, or set force_model" % path)
    if config["source"] == "rapl" and not works:
        raise ConfigError(
            "source is rapl, but no counter in %s can be read and increases for every CPU package: %s"
            % (config["powercap"], watched.told())
        )
    return watched


def notify(text: str) -> None:
    """Tell systemd, where it asked to be told."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    address = "\0" + address[1:] if address.startswith("@") else address
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.sendto(text.encode(), address)


def main(argv: Optional[List[str]] = None) -> int:
    """Run until SIGTERM or SIGINT; return the exit status."""
    parser = argparse.ArgumentParser(description="CPU-seconds and modelled joules of this node.")
    parser.add_argument("--config", default="/etc/hardwatt/meter.json")
    parser.add_argument("--check", action="store_true", help="print one page of metrics and write nothing")
    options = parser.parse_args(argv)
    stop: List[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: stop.append(number))
    signal.signal(signal.SIGINT, lambda number, frame: stop.append(number))
    try:
        text = read_file(options.config)
        config = load_config(text)
        watched = refuse_real_meter(config)
        meter = Meter(config, config_sha256=hashlib.sha256(text.encode()).hexdigest(), watched=watched)
    except (ConfigError, OSError) as error:
        print("%s: %s" % (options.config, error), file=sys.stderr)
        return EX_CONFIG
    if options.check:
        meter.tick()
        sys.stdout.write(meter.metrics())
        return 0
    try:
        meter.run(lambda: bool(stop), lambda: notify("READY=1"))
    except OSError as error:
        print("cannot go on: %s" % error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
