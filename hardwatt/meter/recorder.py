"""The recorder: writes what every counter of the node holds, once a second, to an append-only file in memory.

Standard library only, Python 3.6 syntax: it runs on the node, inside the meter's process. The format is that of
``record_file``; ``hardwatt/bundle/recording_file.py`` describes each line.
"""

import functools
import os
import time
from typing import Any, Callable, Dict, List, Tuple

from hardwatt.meter import node_counters, pod_cgroups
from hardwatt.meter.record_file import RecordFile, encode

SEARCH_SECONDS = 10.0
"""Seconds between searches for missing units and parents of pods."""
FULL_RECORDS = 60
"""Each so manyth record holds every counter: from there a part of the file can be read alone."""
KEPT_SECONDS = 300.0
"""Seconds for which the metrics show an ended pod."""
UNSEEN_RECORDS = 3
"""A pod whose logs are there for so many records without a cgroup was too short to be read."""
TICK_ERROR = "sampled at each clock tick: what is shorter is counted as a whole tick or not at all"
SCHED_MISSES = "what each running task has used since it was last switched in (miss), and interrupts of an idle CPU"
V1_MISSES = "interrupts of an idle CPU"

Line = Dict[str, Any]
Reading = Tuple[int, int, int, int]
Opener = Callable[[], Any]


class Counter:
    """One counter that is being read: its declaration, its reader and its last value."""

    def __init__(self, number: int, line: Line, reader: Any) -> None:
        self.number, self.line, self.reader = number, line, reader
        self.value = -1
        self.ended_at = 0.0

    @property
    def key(self) -> Tuple[str, str]:
        """Return kind and name."""
        return self.line["of"], self.line["name"]


class Value:
    """A reader of a number that this process holds itself."""

    def __init__(self, read: Callable[[], int]) -> None:
        self.raw = read

    def close(self) -> None:
        """Hold nothing."""


class EnergyFile:
    """A powercap zone's register, kept open."""

    def __init__(self, folder: str) -> None:
        self.handle = -1
        self.handle = os.open(os.path.join(folder, "energy_uj"), os.O_RDONLY)

    def raw(self) -> int:
        """Return microjoules."""
        return int(os.pread(self.handle, 64, 0))

    def close(self) -> None:
        """Close the file; a later call does nothing."""
        if self.handle >= 0:
            os.close(self.handle)
            self.handle = -1

    def __del__(self) -> None:
        """Close the file of a reader that nobody holds any more."""
        self.close()


class Zone:
    """An energy zone: how it is declared and opened, again after a failed reading."""

    def __init__(self, folder: str, name: str, wraps_at: int, counted: bool, opener: Opener) -> None:
        self.folder, self.opener = folder, opener
        self.line: Line = {"unit": "uJ", "source": "powercap", "zone": name, "wraps_at": wraps_at, "counted": counted}


def node_counter(config: Dict[str, Any]) -> Tuple[Line, Any]:
    """Return declaration and reader of the node's CPU time, by the best source that the machine has.

    Never the root's cpu.stat of cgroup v2: it is /proc/stat by another name.
    """
    if config["cpu"] != "procstat":
        reader = node_counters.open_cgroup(config["cpu"])
        if reader is None:
            raise OSError("%s has neither cpuacct.usage nor usage_usec in cpu.stat" % config["cpu"])
        return {"source": "machine-cgroup", "unit": reader.unit, "path": config["cpu"]}, reader
    for name in ("cpuacct", "cpu,cpuacct"):
        path = os.path.join(config["cgroups"], name, "cpuacct.usage")
        if os.path.exists(path):
            line = {"source": "cgroup-v1-root", "unit": "ns", "path": path, "misses": V1_MISSES}
            return line, node_counters.CpuFile(path, node_counters.parse_v1, "ns")
    try:
        sched = node_counters.SchedstatFile(os.path.join(config["proc"], "schedstat"))
        if sched.raw() > 0:
            return {"source": "schedstat", "unit": "ns", "path": sched.path, "misses": SCHED_MISSES}, sched
        sched.close()
    except (OSError, ValueError):
        pass
    stat = node_counters.StatFile(os.path.join(config["proc"], "stat"))
    error = config["cpus"]  # a tick of each processor is open at any moment
    return {"source": "procstat", "unit": "ticks", "path": stat.path, "error": error, "misses": TICK_ERROR}, stat


class Recorder:
    """Reads every counter once a second and appends what moved. ``clock`` is the time module or a double of it."""

    def __init__(
        self, config: Dict[str, Any], boot: str, version: str, config_sha256: str, zones: List[Zone], clock: Any = time
    ) -> None:
        self.config, self.zones, self.clock = config, zones, clock
        header = {
            "boot": boot,
            "cpus": int(config["cpus"]),
            "clock_ticks": node_counters.CLOCK_TICKS,
            "tick_seconds": config["units_seconds"],
        }
        self.file = RecordFile(config["record"], config["record_bytes"], header)
        self.start: Line = {"k": "start", "version": version, "config_sha256": config_sha256}
        self.counters: Dict[Tuple[str, str], Counter] = {}
        self.gone: Dict[Tuple[str, str], Counter] = {}
        """Kind and name -> the last counter that ended, pods aside: a pod's UID does not come again."""
        self.ended: Dict[str, Counter] = {}
        """UID -> counter of the pods that ended in the last minutes."""
        self.names = pod_cgroups.PodNames(config["pod_logs"])
        self.parents: List[str] = []
        self.waiting: Dict[str, int] = {}
        """UID of a pod that has logs and no cgroup -> records for which that is so."""
        self.numbers = self.records = 0
        self.t = self.m = 0.0
        self.searched_at = -1e9
        self.lines: List[Line] = []
        self.lost = False
        """True while a declaration or a record is missing from the file, because the memory was full."""

    def open(self) -> None:
        """Open the file, continue what is in it, and search for what can be read."""
        self.file.open()
        self.start.update({"t": int(self.clock.time() * 1e9), "m": int(self.clock.monotonic() * 1e9)})
        self.names.update()
        self.search()
        if ("node", "node") not in self.counters:
            raise OSError("the CPU time of the node cannot be read")
        self.lines.insert(0, self.start)

    def tick(self) -> None:
        """Find what is new, read every counter once, and write what moved. A full memory raises OSError."""
        self.search()
        self.find_pods()
        full = self.lost or self.records % FULL_RECORDS == 0
        self.write(self.read_all(full), full)

    def search(self) -> None:
        """Search for every counter that is expected and not there: at the start, every ten seconds, after an end."""
        now = self.clock.monotonic()
        if now - self.searched_at < SEARCH_SECONDS:
            return
        self.searched_at = now
        proc, cgroups = self.config["proc"], self.config["cgroups"]
        self.find("node", "node", lambda: self.declare("node", "node", *node_counter(self.config)))
        for zone in self.zones:
            self.find("energy", zone.folder, functools.partial(self.declare_zone, zone))
        if self.config["cpu"] != "procstat":
            self.find("host", "host", self.declare_host)
        self.find("steal", "steal", self.declare_steal)
        if whole_v2_tree(self.config):
            self.find("node_low", "node_low", self.declare_top_level)
        open_unit = node_counters.open_unit
        for name in self.config["units"]:
            self.find_cgroup("unit", name, functools.partial(open_unit, name, proc, cgroups))
        self.find_cgroup("self", "self", functools.partial(open_unit, self.config["unit"], proc, cgroups))
        self.find("self", "self", self.declare_own_process)
        for kind, folders in (("named", sorted(self.config["named"].items())), ("pods", pod_cgroups.parents(cgroups))):
            for name, folder in folders:
                self.find_cgroup(kind, name, functools.partial(node_counters.open_cgroup, folder), path=folder)
        self.parents = [counter.line["path"] for key, counter in self.counters.items() if key[0] == "pods"]

    def find(self, kind: str, name: str, declare: Callable[[], Any]) -> bool:
        """Declare a counter that is not there yet; return False where it cannot be read."""
        if (kind, name) in self.counters:
            return False
        try:
            declare()
        except (OSError, ValueError):
            return False
        return True

    def find_cgroup(self, kind: str, name: str, opener: Opener, **more: Any) -> bool:
        """Declare the counter of a cgroup, or of the processes of one, that is not there yet."""
        return self.find(kind, name, functools.partial(self.declare_cgroup, kind, name, opener, **more))

    def declare(self, kind: str, name: str, more: Line, reader: Any) -> None:
        """Take a counter into every record from the next one on."""
        reader.raw()
        self.numbers += 1
        line = dict({"k": "counter", "id": self.numbers, "of": kind, "name": name}, **more)
        counter = Counter(self.numbers, line, reader)
        self.counters[counter.key] = counter
        self.lines.append(line)

    def declare_cgroup(self, kind: str, name: str, opener: Opener, **more: Any) -> None:
        """Take the counter of a cgroup. One that comes while records are written counts from zero."""
        reader = opener()
        if reader is None:
            raise OSError("there is no cgroup of %s" % name)
        life = self.life(kind, name, reader.life(), reader.raw())
        source = "processes" if isinstance(reader, node_counters.Processes) else "cgroup"
        line = dict({"source": source, "unit": reader.unit, "life": life}, **more)
        if self.records:
            line["from_zero"] = True
        self.declare(kind, name, line, reader)

    def life(self, kind: str, name: str, life: str, value: int) -> str:
        """Return the life of a counter: a new folder may have the number of one that is gone."""
        before = self.ended.get(name) if kind == "pod" else self.gone.pop((kind, name), None)
        if before is None or before.line.get("life", "").split("#")[0] != life:
            return life
        if value >= before.value:  # it could not be read for a moment
            return str(before.line["life"])
        return "%s#%d" % (life, self.numbers)

    def declare_zone(self, zone: Zone) -> None:
        """Take the register of an energy zone."""
        self.declare("energy", zone.folder, zone.line, zone.opener())

    def declare_host(self) -> None:
        """Take the whole host's CPU time around a container machine: what is not the machine's is its neighbours'.

        The controller is one of them where it shares the processors.
        """
        stat = node_counters.StatFile(os.path.join(self.config["proc"], "stat"))
        line = {"source": "procstat", "unit": "ticks", "path": stat.path, "misses": TICK_ERROR}
        self.declare("host", "host", line, stat)

    def declare_steal(self) -> None:
        """Take the steal time of /proc/stat: on a container machine that of the whole host."""
        path = os.path.join(self.config["proc"], "stat")
        reader = node_counters.CpuFile(path, node_counters.parse_steal, "ticks")
        self.declare("steal", "steal", {"source": "procstat", "unit": "ticks", "path": path}, reader)

    def declare_top_level(self) -> None:
        """Take the sum of the top-level cgroups; a process of the recorder does not know what the one before summed."""
        line = {"source": "top-level-cgroups", "unit": "us", "life": str(self.start["m"])}
        self.declare("node_low", "node_low", line, node_counters.TopLevel(self.config["cgroups"]))

    def declare_own_process(self) -> None:
        """Take the recorder's own time from its process, where its unit has no counter."""
        own = Value(lambda: int(time.process_time() * 1e9))
        line = {"source": "processes", "unit": "ns", "life": str(self.start["m"]), "from_zero": True}
        self.declare("self", "self", line, own)

    def find_pods(self) -> None:
        """Declare pods whose cgroup is new, name those whose name has come, and note those that were too short."""
        for uid in self.names.update():
            if ("pod", uid) in self.counters:
                self.name(self.counters["pod", uid])
            elif self.records and uid not in self.ended:
                self.waiting[uid] = 0
        for uid, folder in pod_cgroups.pods(self.parents).items():
            if ("pod", uid) not in self.counters:
                namespace, name = self.names.names.get(uid, ("", ""))
                opener = functools.partial(node_counters.open_cgroup, folder)
                if self.find_cgroup("pod", uid, opener, path=folder, namespace=namespace, pod=name):
                    self.waiting.pop(uid, None)
        for uid in list(self.waiting):
            self.waiting[uid] += 1
            if self.waiting[uid] > UNSEEN_RECORDS:
                del self.waiting[uid]
                namespace, name = self.names.names.get(uid, ("", ""))
                self.lines.append({"k": "unseen", "uid": uid, "namespace": namespace, "pod": name})

    def name(self, counter: Counter) -> None:
        """Give a pod the name that its logs say."""
        namespace, name = self.names.names[counter.line["name"]]
        counter.line.update({"namespace": namespace, "pod": name})
        self.lines.append({"k": "name", "id": counter.number, "namespace": namespace, "pod": name})

    def read_all(self, full: bool) -> List[Reading]:
        """Read every counter, the node first; return those that moved since the record before, or all."""
        monotonic = self.clock.monotonic
        self.t, self.m = self.clock.time(), monotonic()
        began = before = self.m
        readings: List[Reading] = []
        for counter in list(self.counters.values()):
            reader = counter.reader
            try:
                value = reader.raw_at(before) if isinstance(reader, node_counters.SchedstatFile) else reader.raw()
            except (OSError, ValueError):
                self.end(counter)
                before = monotonic()
                continue
            after = monotonic()
            if value < counter.value and "wraps_at" not in counter.line:
                self.begin_again(counter)
            elif full or value != counter.value:
                start = int((before - began) * 1e6)
                readings.append((counter.number, start, int((after - began) * 1e6) + 1 - start, value))
                counter.value = value
            before = after
        self.d = int((before - began) * 1e6) + 1
        return readings

    def end(self, counter: Counter) -> None:
        """Keep the last value of a counter that is gone, and search for its successor soon."""
        counter.reader.close()
        counter.ended_at = self.m
        del self.counters[counter.key]
        self.lines.append({"k": "ended", "id": counter.number, "m": int(self.m * 1e9)})
        if counter.line["of"] != "pod":
            self.searched_at = -1e9
            self.gone[counter.key] = counter
        elif counter.value >= 0:
            self.ended[counter.line["name"]] = counter

    def begin_again(self, counter: Counter) -> None:
        """Declare anew a counter that fell: it is read from the next record on, and counts from zero."""
        kind, name = counter.key
        line = {key: value for key, value in counter.line.items() if key not in ("k", "id", "of", "name")}
        line.update({"life": "%s#%d" % (line.get("life", ""), self.numbers), "from_zero": True})
        self.lines.append({"k": "ended", "id": counter.number, "m": int(self.m * 1e9)})
        self.declare(kind, name, line, counter.reader)

    def write(self, readings: List[Reading], full: bool) -> None:
        """Append declarations and the record; begin another file where this one is full."""
        record: Line = {"k": "r", "n": self.records, "t": int(self.t * 1e9), "m": int(self.m * 1e9), "d": self.d}
        record["v"] = readings
        if full:
            record["full"] = 1
        node = self.counters.get(("node", "node"))
        if node is not None and isinstance(node.reader, node_counters.SchedstatFile):
            record["miss"] = node.reader.missed_ns
        waiting, self.lines = b"".join([encode(line) for line in self.lines]), []
        self.records += 1
        lost, self.lost = self.lost, True
        data = waiting + encode(record)
        if lost or not self.file.fits(len(data)):
            if not lost and self.file.fits(len(waiting)):
                self.file.write(waiting)
            data = self.all_anew(record)
            if not self.file.fits(len(data)):
                self.file.turn()
        self.file.write(data)
        self.lost = False

    def all_anew(self, record: Line) -> bytes:
        """Return the record with every declaration and value, for a file that lacks some of them."""
        known = [counter for counter in self.counters.values() if counter.value >= 0]
        everything = dict(record, full=1, v=[(counter.number, 0, self.d, counter.value) for counter in known])
        lines = [self.start] + [counter.line for counter in self.counters.values()] + [everything]
        return b"".join([encode(line) for line in lines])

    def stop(self) -> None:
        """Write that the process ends in an orderly way."""
        try:
            line = {"k": "stop", "t": int(self.clock.time() * 1e9), "m": int(self.clock.monotonic() * 1e9)}
            self.file.write(encode(line))
        except OSError:
            pass
        self.file.close()

    def pods(self) -> List[Counter]:
        """Return the pods that the metrics show: those that are there, and those that ended in the last minutes."""
        for uid in [uid for uid, counter in self.ended.items() if self.m - counter.ended_at > KEPT_SECONDS]:
            del self.ended[uid]
        return [counter for key, counter in self.counters.items() if key[0] == "pod" and counter.value >= 0] + [
            counter for uid, counter in self.ended.items() if ("pod", uid) not in self.counters
        ]


def whole_v2_tree(config: Dict[str, Any]) -> bool:
    """Return True where the cgroup tree in sight is that of a whole machine with v2."""
    return config["cpu"] == "procstat" and os.path.exists(os.path.join(config["cgroups"], "cgroup.controllers"))
