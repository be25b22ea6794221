"""The recorder on simulated trees: what it writes of cgroups, pods and zones, read back by the bundle's reader."""

import os
from pathlib import Path
from typing import Any

import pytest

from hardwatt.bundle import recording_file
from hardwatt.bundle.recording import Counter, Recording
from hardwatt.meter import hardwatt_meter as daemon
from hardwatt.meter import node_counters, recorder
from tests.meter.conftest import Node

TICKS = node_counters.CLOCK_TICKS
UIDS = [f"{number:08x}-aaaa-bbbb-cccc-0123456789ab" for number in range(8)]


class Tree:
    """A node with pods, in a folder: cgroup v1 or v2, named by the driver cgroupfs or systemd."""

    def __init__(self, root: Path, *, version: int = 1, systemd: bool = False, cpu: str = "") -> None:
        self.node, self.version, self.systemd = Node(root), version, systemd
        self.cgroups = root / "cgroups"
        self.logs = root / "pods"
        self.logs.mkdir()
        self.base = self.cgroups / "cpuacct" if version == 1 else self.cgroups
        if version == 2:
            (self.cgroups / "cgroup.controllers").write_text("cpu\n")
            (root / "proc/1/cgroup").write_text("0::/init.scope\n")
        (root / "proc/stat").write_text(f"cpu  {5 * TICKS} 0 0 9 9 0 0 {2 * TICKS} 0 0\ncpu0 1 2 3\n")
        kubepods = self.base / ("kubepods.slice" if systemd else "kubepods")
        inner = {name: f"kubepods-{name}.slice" if systemd else name for name in ("burstable", "besteffort")}
        self.parents = {"kubepods": kubepods, **{name: kubepods / child for name, child in inner.items()}}
        for folder in self.parents.values():
            folder.mkdir(parents=True)
            self.set(folder, 0)
        if cpu:
            self.node.extra = {"cpu": cpu}
        self.node.extra["write_seconds"] = 1.0
        self.meter: Any = None

    def set(self, folder: Path, microseconds: int) -> None:
        """Write a cgroup's counter in place, as a real one that is kept open."""
        name, text = ("cpuacct.usage", f"{microseconds}000\n") if self.version == 1 else (
            "cpu.stat", f"usage_usec {microseconds}\nuser_usec 1\nsystem_usec 1\n")  # fmt: skip
        with (folder / name).open("r+" if (folder / name).exists() else "w") as file:
            file.write(text.ljust(60, "\n"))

    def pod(self, uid: str, microseconds: int, qos: str = "burstable") -> Path:
        """Make the cgroup of a pod, or move its counter."""
        parent = self.parents[qos]
        name = f"pod{uid}"
        if self.systemd:
            name = f"{parent.name.removesuffix('.slice')}-pod{uid.replace('-', '_')}.slice"
        (parent / name).mkdir(exist_ok=True)
        self.set(parent / name, microseconds)
        return parent / name

    def remove(self, folder: Path) -> None:
        """Remove a cgroup: a read of its open file fails from then on, as the kernel has it."""
        for file in folder.iterdir():
            with file.open("r+") as opened:
                opened.truncate()
            file.unlink()
        folder.rmdir()

    def name(self, uid: str, namespace: str, pod: str) -> None:
        (self.logs / f"{namespace}_{pod}_{uid}").mkdir()
        # The file system's clock may be too coarse to show two changes.
        os.utime(self.logs, ns=(1, self.logs.stat().st_mtime_ns + 1_000_000))

    def start(self) -> None:
        self.meter = self.node.meter()

    def tick(self, seconds: float = 1.0) -> None:
        self.node.step(self.meter, seconds, 0.1)

    def record(self) -> None:
        """Let a second pass and record, without the meter's other files."""
        self.node.clock.pass_(1.0)
        self.meter.recorder.tick()

    @property
    def recording(self) -> Recording:
        return recording_file.read(self.node.root / "record/recording")

    def counter(self, kind: str, name: str) -> Counter:
        (counter,) = [one for one in self.recording.counters if (one.kind, one.name) == (kind, name)]
        return counter


@pytest.fixture(params=[(1, False), (1, True), (2, False), (2, True)], ids=["v1", "v1-systemd", "v2", "v2-systemd"])
def tree(request: pytest.FixtureRequest, tmp_path: Path) -> Tree:
    version, systemd = request.param
    tree = Tree(tmp_path, version=version, systemd=systemd)
    if version == 2:
        (tmp_path / "cgroups/machine").mkdir()
        tree.set(tmp_path / "cgroups/machine", 100_000_000)
        tree.node.extra["cpu"] = "procstat"
    return tree


@pytest.fixture
def v1(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def test_pods_are_recorded_by_uid_with_the_names_of_their_logs(tree: Tree) -> None:
    tree.name(UIDS[0], "flux-system", "source-controller-1")
    for number, qos in enumerate(("burstable", "besteffort", "kubepods")):
        tree.pod(UIDS[number], 1000 * (number + 1), qos)
    tree.start()
    tree.tick()
    tree.pod(UIDS[0], 5000)
    tree.tick()
    pods = {pod.name: pod for pod in tree.recording.of("pod")}
    assert sorted(pods) == UIDS[:3]
    assert (pods[UIDS[0]].namespace, pods[UIDS[0]].pod) == ("flux-system", "source-controller-1")
    assert pods[UIDS[0]].rise(0, 1) * pods[UIDS[0]].scale == pytest.approx(0.004)
    assert pods[UIDS[2]].rise(0, 1) == 0
    assert {one.name for one in tree.recording.of("pods")} == {"kubepods", "kubepods/burstable", "kubepods/besteffort"}


def test_a_pod_that_comes_and_goes_keeps_its_last_value(tree: Tree) -> None:
    tree.start()
    tree.tick()
    folder = tree.pod(UIDS[0], 400)
    tree.tick()
    tree.pod(UIDS[0], 900)
    tree.tick()
    tree.remove(folder)
    for _ in range(3):
        tree.tick()
    pod = tree.counter("pod", UIDS[0])
    assert pod.from_zero
    assert pod.ended is not None
    assert pod.ended.tick == 3
    assert pod.rise(0, 5) * pod.scale == pytest.approx(900e-6)


def test_the_metrics_show_an_ended_pod_for_five_minutes(v1: Tree) -> None:
    v1.name(UIDS[0], "default", "job-1")
    folder = v1.pod(UIDS[0], 2_500_000)
    v1.start()
    v1.tick()
    page = v1.node.root / "textfile/hardwatt_pods.prom"
    shown = f'hardwatt_pod_cpu_seconds_total{{namespace="default",pod="job-1",uid="{UIDS[0]}"}} 2.5\n'
    assert shown in page.read_text()
    v1.remove(folder)
    v1.tick()
    assert shown in page.read_text()
    v1.tick(290)
    assert shown in page.read_text()
    v1.tick(15)
    assert UIDS[0] not in page.read_text()


def test_a_pod_between_two_ticks_is_known_by_its_logs_and_by_the_counter_of_all_pods(v1: Tree) -> None:
    v1.start()
    v1.tick()
    v1.remove(v1.pod(UIDS[0], 100_000))
    v1.set(v1.parents["kubepods"], 100_000)
    v1.name(UIDS[0], "default", "short")
    for _ in range(5):
        v1.tick()
    recording = v1.recording
    assert [(pod.uid, pod.namespace, pod.pod) for pod in recording.unseen] == [(UIDS[0], "default", "short")]
    assert recording.of("pod") == ()
    parent = v1.counter("pods", "kubepods")
    assert parent.rise(0, 5) * parent.scale == pytest.approx(0.1)


def test_a_pod_whose_logs_come_before_its_cgroup_is_not_unseen(v1: Tree) -> None:
    v1.start()
    v1.tick()
    v1.name(UIDS[0], "default", "slow")
    v1.tick()
    v1.pod(UIDS[0], 10)
    for _ in range(5):
        v1.tick()
    assert v1.recording.unseen == ()
    assert v1.counter("pod", UIDS[0]).pod == "slow"


def test_logs_of_pods_that_ended_before_the_recorder_are_not_pods(v1: Tree) -> None:
    v1.name(UIDS[0], "default", "old")
    v1.start()
    for _ in range(6):
        v1.tick()
    assert v1.recording.unseen == ()


def test_a_name_that_arrives_late(v1: Tree) -> None:
    v1.start()
    v1.tick()
    v1.pod(UIDS[0], 10)
    v1.tick()
    assert v1.counter("pod", UIDS[0]).pod == ""
    # Its series would change when the name comes.
    assert UIDS[0] not in (v1.node.root / "textfile/hardwatt_pods.prom").read_text()
    v1.name(UIDS[0], "default", "late-1")
    v1.tick()
    assert (v1.counter("pod", UIDS[0]).namespace, v1.counter("pod", UIDS[0]).pod) == ("default", "late-1")
    assert 'pod="late-1"' in (v1.node.root / "textfile/hardwatt_pods.prom").read_text()


def test_logs_that_come_within_a_step_of_the_file_systems_clock_are_read(v1: Tree) -> None:
    """The folder has the same time of change before and after: that of now, or one ahead after a stepped clock."""
    now_ns = 1 << 62

    def name(uid: str, pod: str) -> None:
        v1.name(uid, "default", pod)
        os.utime(v1.logs, ns=(now_ns, now_ns))

    v1.start()
    for number, pod in enumerate(("first", "second")):
        name(UIDS[number], pod)
        v1.pod(UIDS[number], 10)
        v1.tick()
    assert [v1.counter("pod", uid).pod for uid in UIDS[:2]] == ["first", "second"]


def test_names_of_a_namespace_a_pod_with_dots_and_the_longest_folder(v1: Tree) -> None:
    """The same name in two namespaces is two pods; a folder's name has 255 bytes at most."""
    longest = ".".join(["a234567890"] * 30)[: 255 - 36 - 2 - len("ns-b")].rstrip(".-")
    given = {UIDS[0]: ("ns-a", "same.name"), UIDS[1]: ("ns-b", "same.name"), UIDS[2]: ("ns-b", longest)}
    v1.start()
    for uid, (namespace, pod) in given.items():
        v1.name(uid, namespace, pod)
        v1.pod(uid, 10)
    v1.tick()
    assert {pod.name: (pod.namespace, pod.pod) for pod in v1.recording.of("pod")} == given
    page = (v1.node.root / "textfile/hardwatt_pods.prom").read_text()
    assert all(f'namespace="{namespace}",pod="{pod}"' in page for namespace, pod in given.values())


@pytest.mark.parametrize("entry", ["a_b", f"a_b_{UIDS[0]}_c", f"a_b{{x}}_{UIDS[0]}", f"A_b_{UIDS[0]}", "a_b_../../x"])
def test_a_folder_of_logs_with_another_name_names_nothing(v1: Tree, entry: str) -> None:
    v1.pod(UIDS[0], 10)
    (v1.logs / entry.replace("/", ":")).mkdir()
    v1.start()
    v1.tick()
    assert v1.counter("pod", UIDS[0]).pod == ""


def test_the_machines_own_cgroup_is_the_node(v1: Tree) -> None:
    v1.start()
    v1.tick()
    v1.tick()
    recording = v1.recording
    assert recording.node_kind == "machine-cgroup"
    assert recording.node.rise(0, 1) == 100_000_000
    assert recording.node.unit == "ns"
    # What the neighbours used, the controller among them, is the host's less the node's.
    host = v1.counter("host", "host")
    assert host.scale * host.values[0] == 5
    steal = v1.counter("steal", "steal")
    assert steal.scale * steal.values[0] == 2


def test_the_root_of_cgroup_v1_is_the_node(v1: Tree) -> None:
    v1.node.extra["cpu"] = "procstat"
    v1.set(v1.cgroups / "cpuacct", 7_000_000)
    v1.start()
    v1.tick()
    assert v1.recording.node_kind == "cgroup-v1-root"
    assert v1.recording.node.values.tolist() == [7_000_000_000]
    assert v1.recording.of("node_low", "host") == ()


def schedstat(*cpus: tuple[int, int]) -> str:
    rows = [f"cpu{n} 0 0 0 0 0 0 {used} 55 {arrivals}\ndomain0 3 1 2\n" for n, (used, arrivals) in enumerate(cpus)]
    return "version 15\ntimestamp 1\n" + "".join(rows)


def in_place(file: Path, text: str) -> None:
    with file.open("r+" if file.exists() else "w") as opened:
        opened.write(text)
        opened.truncate()


def test_schedstat_is_the_node_on_v2_with_what_it_misses_and_a_lower_bound(tmp_path: Path) -> None:
    tree = Tree(tmp_path, version=2, cpu="procstat")
    (tmp_path / "cgroups/system.slice").mkdir()
    tree.set(tmp_path / "cgroups/system.slice", 300)
    # The root's own counter is /proc/stat by another name: it must not be read.
    (tmp_path / "cgroups/cpu.stat").write_text("usage_usec 999999999\n")
    file = tmp_path / "proc/schedstat"
    in_place(file, schedstat((10**9, 5), (2 * 10**9, 7)))
    tree.start()
    tree.tick()
    in_place(file, schedstat((10**9 + 500, 6), (2 * 10**9, 7)))
    tree.tick()
    tree.set(tmp_path / "cgroups/system.slice", 800)
    tree.tick()
    recording = tree.recording
    assert recording.node_kind == "schedstat"
    assert recording.node.values.tolist() == [3 * 10**9, 3 * 10**9 + 500]
    assert "running task" in recording.node.misses
    # Processor 0 had an arrival between tick 0 and 1, processor 1 had none since before tick 0.
    assert recording.missed_ns.tolist() == pytest.approx([0, 2 * 10**9, 4 * 10**9], abs=1000)
    low = tree.counter("node_low", "node_low")
    assert low.rise(0, 2) == 500


def test_a_top_level_cgroup_that_is_gone_keeps_its_share_of_the_lower_bound(tmp_path: Path) -> None:
    tree = Tree(tmp_path, version=2, cpu="procstat")
    folder = tmp_path / "cgroups/user.slice"
    folder.mkdir()
    tree.set(folder, 700)
    tree.start()
    tree.tick()
    tree.remove(folder)
    tree.tick()
    assert tree.counter("node_low", "node_low").values.tolist() == [700]


@pytest.mark.parametrize("text", ["", "version 15\n", schedstat((0, 0))])
def test_proc_stat_is_the_node_last_with_its_tick_error(tmp_path: Path, text: str) -> None:
    tree = Tree(tmp_path, version=2, cpu="procstat")
    if text:
        (tmp_path / "proc/schedstat").write_text(text)
    tree.start()
    tree.tick()
    node = tree.recording.node
    assert (node.source, node.unit, node.error) == ("procstat", "ticks", 2)
    assert node.scale == pytest.approx(1 / TICKS)
    assert "tick" in node.misses


def test_a_restart_continues_the_file_and_is_marked(tree: Tree) -> None:
    tree.pod(UIDS[0], 1000)
    tree.start()
    tree.tick()
    tree.tick()
    tree.node.clock.pass_(3.0)
    tree.pod(UIDS[0], 1500)
    tree.pod(UIDS[1], 60)
    tree.start()
    tree.tick()
    recording = tree.recording
    assert [process.first_tick for process in recording.processes] == [0, 2]
    # The pod that came meanwhile counts from zero; the one before goes on.
    assert {pod.name: pod.rise(1, 2) * pod.scale * 1e6 for pod in recording.of("pod")} == pytest.approx(
        {UIDS[0]: 500, UIDS[1]: 60}
    )
    own = recording.of("self")
    assert len(own) == 2
    assert sum(counter.rise(0, 2) for counter in own) > 0


def test_a_kill_in_the_middle_of_a_write_leaves_a_file_that_continues(v1: Tree) -> None:
    v1.start()
    for _ in range(3):
        v1.tick()
    file = v1.node.root / "record/recording"
    file.write_bytes(file.read_bytes()[:-7])
    v1.start()
    v1.tick()
    assert v1.recording.numbers.tolist() == [0, 1, 0]


def test_at_its_bound_the_file_turns_and_memory_stays_bounded(v1: Tree) -> None:
    v1.node.extra["record_bytes"] = 40_000
    v1.pod(UIDS[0], 1)
    v1.start()
    used = []
    for number in range(400):
        v1.pod(UIDS[0], number + 2)
        v1.record()
        used.append(sum(file.stat().st_size for file in (v1.node.root / "record").iterdir()))
    assert max(used) <= 40_000
    earlier = v1.node.root / "record/recording.1"
    recording = recording_file.read(earlier, v1.node.root / "record/recording")
    assert recording.bound_bytes == 40_000
    assert recording.numbers[-1] == 399
    assert recording.numbers.tolist() == list(range(400 - len(recording.numbers), 400))
    assert len(recording.processes) == 1
    first, last = int(recording.numbers[0]), 399
    assert recording.of("pod")[0].rise(0, len(recording.numbers) - 1) == (last - first) * 1000
    assert v1.recording.of("pod")[0].values[-1] == 401_000


def test_a_full_memory_loses_records_but_no_cpu_time(v1: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    v1.pod(UIDS[0], 10)
    v1.start()
    v1.tick()
    real = os.write

    def full(handle: int, data: bytes) -> int:
        return real(handle, data[: len(data) // 2])

    monkeypatch.setattr(os, "write", full)
    v1.pod(UIDS[0], 20)
    v1.pod(UIDS[1], 7)
    v1.tick()
    v1.tick()
    monkeypatch.setattr(os, "write", real)
    v1.tick()
    recording = v1.recording
    assert recording.numbers.tolist() == [0, 3]
    assert recording.gaps(0, 1) == ((1, 3.0),)
    assert {pod.name: pod.rise(0, 1) for pod in recording.of("pod")} == {UIDS[0]: 10_000, UIDS[1]: 7_000}


def test_a_stepped_clock_is_in_the_record(v1: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    v1.start()
    v1.tick()
    v1.tick()
    before = v1.node.clock.time
    monkeypatch.setattr(v1.node.clock, "time", lambda: before() - 3600)
    v1.tick()
    v1.tick()
    ((tick, seconds),) = v1.recording.clock_steps()
    assert (tick, round(seconds, 3)) == (2, -3600)
    assert v1.recording.seconds(0, 3) == pytest.approx(3)


def test_units_and_the_recorder_itself_are_recorded(v1: Tree) -> None:
    v1.node.extra["units"] = ["kubelet.service"]
    for name in ("kubelet.service", "hardwatt-meter.service"):
        folder = v1.base / "machine/system.slice" / name
        folder.mkdir(parents=True)
        v1.set(folder, 4000)
    v1.start()
    v1.tick()
    v1.set(v1.base / "machine/system.slice/hardwatt-meter.service", 4003)
    v1.tick()
    assert v1.counter("self", "self").rise(0, 1) == 3000
    assert v1.counter("self", "self").source == "cgroup"
    assert v1.counter("unit", "kubelet.service").values.tolist() == [4_000_000]


def test_without_a_cgroup_of_its_own_the_recorder_reads_its_process(v1: Tree) -> None:
    v1.start()
    v1.tick()
    assert v1.counter("self", "self").source == "processes"


def test_a_unit_that_was_started_anew_is_another_counter(v1: Tree) -> None:
    v1.node.extra["units"] = ["kubelet.service"]
    folder = v1.base / "machine/system.slice/kubelet.service"
    folder.mkdir(parents=True)
    v1.set(folder, 4000)
    v1.start()
    v1.tick()
    v1.remove(folder)
    v1.tick()
    folder.mkdir()
    v1.set(folder, 30)
    v1.tick()
    v1.tick()
    units = v1.recording.of("unit")
    assert sum(unit.rise(0, 3) for unit in units) == 30_000


@pytest.mark.parametrize(("value", "counters"), [(30, [[4_000_000], [30_000]]), (4010, [[4_000_000, 4_010_000]])])
def test_a_folder_with_the_number_of_one_that_is_gone(
    v1: Tree, monkeypatch: pytest.MonkeyPatch, value: int, counters: list[list[int]]
) -> None:
    """A file system may use a folder's number again; a value below the last one tells the two apart."""
    real = os.stat
    number = os.stat_result((0o40755, 7, *[0] * 8))
    monkeypatch.setattr(
        "hardwatt.meter.node_counters.os.stat",
        lambda path, **more: number if str(path).endswith("kubelet.service") else real(path, **more),
    )
    v1.node.extra["units"] = ["kubelet.service"]
    folder = v1.base / "machine/system.slice/kubelet.service"
    folder.mkdir(parents=True)
    v1.set(folder, 4000)
    v1.start()
    v1.tick()
    v1.remove(folder)
    v1.tick()
    folder.mkdir()
    v1.set(folder, value)
    v1.tick()
    v1.tick()
    assert [counter.values.tolist() for counter in v1.recording.of("unit")] == counters


def test_a_counter_that_fell_is_a_new_one(v1: Tree) -> None:
    v1.node.extra["named"] = {"controller": str(v1.base / "controller")}
    (v1.base / "controller").mkdir()
    v1.set(v1.base / "controller", 500)
    v1.start()
    v1.tick()
    v1.set(v1.base / "controller", 20)
    v1.tick()
    v1.tick()
    named = v1.recording.of("named")
    assert [counter.values.tolist() for counter in named] == [[500_000], [20_000]]
    assert sum(counter.rise(0, 2) for counter in named) == 20_000


def test_the_modelled_zones_are_recorded_and_wrap(v1: Tree) -> None:
    v1.node.extra["max_energy_range_uj"] = 30_000_000
    v1.start()
    for _ in range(10):
        v1.tick()
    (zone,) = v1.recording.of("energy")
    assert (zone.name, zone.zone, zone.counted, zone.wraps_at) == ("synthetic-model:0", "package-0", True, 30_000_000)
    assert zone.rise(0, 9) == pytest.approx(9 * (10 + 1) * 1e6, abs=10)


def real_zone(tree: Tree, entry: str, name: str, value: int, limit: int = 1_000_000) -> Path:
    folder = tree.node.root / "powercap" / entry
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "name").write_text(name + "\n")
    (folder / "max_energy_range_uj").write_text(f"{limit}\n")
    in_place(folder / "energy_uj", f"{value}\n")
    return folder


def test_real_zones_are_recorded_raw_and_a_failed_reading_is_tried_again(v1: Tree) -> None:
    v1.node.extra["source"] = "rapl"
    folder = real_zone(v1, "intel-rapl:0", "package-0", 900_000)
    v1.start()
    v1.tick()
    in_place(folder / "energy_uj", "")
    v1.tick()
    in_place(folder / "energy_uj", "100000\n")
    v1.tick()
    v1.tick()
    zone = v1.counter("energy", "intel-rapl:0")
    assert zone.counted
    assert zone.ended is None
    assert zone.values.tolist() == [900_000, 100_000]
    assert zone.rise(0, 3) == 200_000


def test_the_rule_decides_which_zones_are_counted(v1: Tree) -> None:
    """The memory-mapped twin, psys, core and a zone that stands still are recorded, and are not the node's energy."""
    v1.node.extra["source"] = "rapl"
    names = {"intel-rapl:0": "package-0", "intel-rapl:0:0": "core", "intel-rapl:0:1": "dram", "intel-rapl:1": "psys",
             "intel-rapl-mmio:0": "package-0", "intel-rapl-mmio:0:0": "dram"}  # fmt: skip
    folders = {entry: real_zone(v1, entry, name, 10) for entry, name in names.items()}
    sleep = v1.node.clock.sleep
    value = [10]

    def work(seconds: float) -> None:
        sleep(seconds)
        value[0] += 1000
        for entry, folder in folders.items():
            if entry not in ("intel-rapl:0:1", "intel-rapl:1"):
                in_place(folder / "energy_uj", f"{value[0] * (1 + list(folders).index(entry))}\n")

    v1.node.clock.sleep = work  # type: ignore[method-assign]
    watched = daemon.refuse_real_meter(v1.node.config(), v1.node.clock)
    v1.meter = daemon.Meter(v1.node.config(), v1.node.clock, watched=watched)
    v1.meter.prepare()
    v1.tick()
    zones = {zone.name: zone.counted for zone in v1.recording.of("energy")}
    assert set(zones) == set(names)
    # The register of memory stands still: its twin counts.
    assert [entry for entry, counted in zones.items() if counted] == ["intel-rapl-mmio:0:0", "intel-rapl:0"]


def test_a_slow_register_has_its_moments(v1: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    v1.node.extra["source"] = "rapl"
    real_zone(v1, "intel-rapl:0", "package-0", 5)
    v1.start()
    read = recorder.EnergyFile.raw

    def slow(self: recorder.EnergyFile) -> int:
        v1.node.clock.pass_(0.02)
        return read(self)

    monkeypatch.setattr(recorder.EnergyFile, "raw", slow)
    v1.tick()
    recording = v1.recording
    zone = v1.counter("energy", "intel-rapl:0")
    assert zone.latest_ns[0] - zone.earliest_ns[0] == pytest.approx(20e6, abs=2000)
    assert recording.span_ns[0] >= 20e6


def test_the_configuration_that_runs_is_named_in_the_record(v1: Tree) -> None:
    meter = daemon.Meter(v1.node.config(), v1.node.clock, config_sha256="ab" * 32)
    meter.prepare()
    v1.node.step(meter, 1.0, 0.1)
    assert v1.recording.processes[0].config_sha256 == "ab" * 32
    assert v1.recording.processes[0].version == daemon.VERSION


def test_a_thousand_windows_close_node_parent_and_pods(v1: Tree) -> None:
    """Three pods of uneven pace, one of which ends: what each window holds is what they used, to the microsecond."""
    totals = dict.fromkeys(UIDS[:3], 0)
    history = []
    v1.start()
    for second in range(1010):
        for number, uid in enumerate(UIDS[:3]):
            if number == 2 and second > 500:
                continue
            totals[uid] += (7919 * second * (number + 1)) % 10_007
            v1.pod(uid, totals[uid])
        v1.set(v1.parents["kubepods"], sum(totals.values()))
        if second == 501:
            v1.remove(v1.parents["burstable"] / f"pod{UIDS[2]}")
        v1.record()
        history.append(dict(totals))
    recording, parent = v1.recording, v1.counter("pods", "kubepods")
    pods = {pod.name: pod for pod in recording.of("pod")}
    for first in range(1000):
        last = min(first + 1 + first % 30, 1009)
        for uid in UIDS[:3]:
            assert pods[uid].rise(first, last) == 1000 * (history[last][uid] - history[first][uid])
        assert parent.rise(first, last) == sum(pod.rise(first, last) for pod in pods.values())
