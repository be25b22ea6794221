"""Where CPU-seconds come from, and when a model is refused."""

import json
import threading
from pathlib import Path

import pytest

from hardwatt.meter import hardwatt_meter as daemon
from hardwatt.meter import meter_config, node_counters
from tests.meter.conftest import Clock, Node

TICKS = node_counters.CLOCK_TICKS


def test_guest_is_not_added_twice_and_steal_is_not_work() -> None:
    fields = [value * TICKS for value in (10, 2, 3, 100, 50, 1, 1, 7, 4, 1)]
    text = ("cpu  " + " ".join(map(str, fields)) + "\ncpu0 1 2 3\n").encode()
    assert node_counters.parse_stat(text) == (10 + 2 + 3 + 1 + 1) * TICKS
    assert node_counters.parse_steal(text) == 7 * TICKS


def test_an_old_kernel_without_guest_fields() -> None:
    assert node_counters.stat_ticks(b"cpu 100 0 0 0 0 0 0\n") == [100] + [0] * 9


def test_procstat_writes_steal_apart(node: Node) -> None:
    (node.root / "proc/stat").write_text(f"cpu {5 * TICKS} 0 0 9 9 0 0 {2 * TICKS} 0 0\n")
    node.extra = {"cpu": "procstat"}
    meter = node.meter()
    meter.tick()
    meter.write()
    assert node.metric("hardwatt_node_cpu_seconds_total") == 5
    assert node.metric("hardwatt_node_steal_seconds_total") == 2


def test_a_cgroup_of_version_2(tmp_path: Path) -> None:
    (tmp_path / "cpu.stat").write_text("usage_usec 2500000\nuser_usec 1\nsystem_usec 2\n")
    reader = node_counters.open_cgroup(str(tmp_path))
    assert reader is not None
    assert reader() == 2.5


def test_cpu_stat_of_a_v1_cpu_controller_is_no_counter(tmp_path: Path) -> None:
    (tmp_path / "cpu.stat").write_text("nr_periods 0\nnr_throttled 0\nthrottled_time 0\n")
    assert node_counters.open_cgroup(str(tmp_path)) is None


def test_a_cgroup_without_a_counter_is_named(node: Node) -> None:
    node.extra = {"cpu": str(node.root / "proc")}
    with pytest.raises(meter_config.ConfigError, match=r"neither cpuacct\.usage nor usage_usec"):
        node.meter()


def unit_folder(node: Node, hierarchy: str) -> Path:
    folder = node.root / "cgroups" / hierarchy / "machine/system.slice/hardwatt-git.service"
    folder.mkdir(parents=True)
    return folder


def test_a_unit_with_a_counter(node: Node) -> None:
    node.extra = {"units": ["hardwatt-git.service", "absent.service"]}
    folder = unit_folder(node, "cpuacct")
    (folder / "cpuacct.usage").write_text("2000000000\n")
    meter = node.meter()
    node.step(meter, 1.0, 0.1)
    assert node.metric('hardwatt_unit_cpu_seconds_total{unit="hardwatt-git.service"}') == 2
    assert "absent.service" not in (node.root / "textfile/hardwatt.prom").read_text()
    read_at = node.metric('hardwatt_unit_read_timestamp_seconds{unit="hardwatt-git.service"}')
    assert read_at == pytest.approx(node.clock.time())


def test_a_units_restart_and_the_meters_lose_nothing(node: Node) -> None:
    node.extra = {"units": ["hardwatt-git.service"]}
    usage = unit_folder(node, "cpuacct") / "cpuacct.usage"
    usage.write_text("2000000000\n")
    meter = node.meter()
    node.step(meter, 1.0, 0.1)
    usage.write_text("0500000000\n")  # made anew: counts from zero, and has already used half a second
    node.step(meter, 1.0, 0.1)
    assert meter.units[0].total == pytest.approx(2.5)
    meter.write(force=True)
    usage.write_text("0700000000\n")
    again = node.meter()
    node.step(again, 1.0, 0.1)
    assert again.units[0].total == pytest.approx(2.7)


def process(node: Node, pid: str, fields: tuple[int, int, int, int]) -> None:
    (node.root / "proc" / pid).mkdir(exist_ok=True)
    text = f"{pid} (ss hd) R) S 1 2 3 4 5 6 7 8 9 10 {' '.join(map(str, fields))} 20 0 1 0\n"
    (node.root / "proc" / pid / "stat").write_text(text)


def test_a_unit_by_its_processes_and_their_ended_children(node: Node) -> None:
    node.extra = {"units": ["hardwatt-git.service"]}
    folder = unit_folder(node, "systemd")
    (folder / "cgroup.procs").write_text("71\n72\n")
    process(node, "71", (TICKS, TICKS, 0, 0))
    process(node, "72", (3 * TICKS, 0, 0, 0))
    meter = node.meter()
    node.step(meter, 1.0, 0.1)
    assert meter.units[0].total == pytest.approx(5)
    # The child has ended but its parent has not waited for it yet: the counter must not go back.
    (folder / "cgroup.procs").write_text("71\n")
    node.step(meter, 1.0, 0.1)
    assert meter.units[0].total == pytest.approx(5)
    process(node, "71", (TICKS, TICKS, 3 * TICKS, TICKS))
    node.step(meter, 1.0, 0.1)
    assert meter.units[0].total == pytest.approx(6)
    # The unit is started anew.
    (folder / "cgroup.procs").write_text("99\n")
    process(node, "99", (TICKS, 0, 0, 0))
    node.step(meter, 1.0, 0.1)
    assert meter.units[0].total == pytest.approx(7)


def zone(root: Path, counter: str | None = "123\n", entry: str = "intel-rapl:0", name: str = "package-0") -> Path:
    folder = root / "powercap" / entry
    folder.mkdir(parents=True)
    (folder / "name").write_text(f"{name}\n")
    (folder / "max_energy_range_uj").write_text("262143328850\n")
    if counter is not None:
        (folder / "energy_uj").write_text(counter)
    return folder


class Working(Clock):
    """A clock beside which a real counter runs."""

    def __init__(self, counter: Path) -> None:
        super().__init__()
        self.counter = counter

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        self.counter.write_text(f"{int(self.counter.read_text()) + 4_000_000}\n")


def test_refuses_to_model_beside_a_counter_that_works(node: Node) -> None:
    folder = zone(node.root)
    with pytest.raises(meter_config.ConfigError, match="real energy counter that works"):
        daemon.refuse_real_meter(node.config(), Working(folder / "energy_uj"))
    node.extra = {"force_model": True}
    daemon.refuse_real_meter(node.config(), Working(folder / "energy_uj"))


def test_models_where_the_counter_stands_still_or_cannot_be_read(node: Node) -> None:
    zone(node.root)
    daemon.refuse_real_meter(node.config(), node.clock)
    (node.root / "powercap/intel-rapl:0/energy_uj").unlink()
    daemon.refuse_real_meter(node.config(), node.clock)


def test_rapl_without_a_counter_is_refused(node: Node) -> None:
    node.extra = {"source": "rapl"}
    with pytest.raises(meter_config.ConfigError, match="no counter in"):
        daemon.refuse_real_meter(node.config(), node.clock)


RAPL = {"source": "rapl"}


def test_rapl_is_refused_where_psys_alone_counts(node: Node) -> None:
    zone(node.root)
    platform = zone(node.root, entry="intel-rapl:1", name="psys")
    node.extra = RAPL
    with pytest.raises(
        meter_config.ConfigError, match=r"intel-rapl:0 \(package-0\) stands still; intel-rapl:1 \(psys\) counts"
    ):
        daemon.refuse_real_meter(node.config(), Working(platform / "energy_uj"))
    node.extra = {}
    daemon.refuse_real_meter(node.config(), Working(platform / "energy_uj"))


def test_rapl_reads_the_twin_that_counts_where_the_register_stands_still(node: Node) -> None:
    zone(node.root)
    twin = zone(node.root, entry="intel-rapl-mmio:0")
    node.extra = RAPL
    daemon.refuse_real_meter(node.config(), Working(twin / "energy_uj"))
    node.extra = {}
    with pytest.raises(meter_config.ConfigError, match="intel-rapl-mmio:0 is a real energy counter that works"):
        daemon.refuse_real_meter(node.config(), Working(twin / "energy_uj"))


@pytest.mark.parametrize(
    ("second", "reason"),
    [("123\n", "stands still"), (None, r"cannot be read \(No such file"), ("many\n", "is not a number")],
)
def test_rapl_is_refused_where_one_socket_of_two_does_not_count(node: Node, second: str | None, reason: str) -> None:
    first = zone(node.root)
    zone(node.root, second, entry="intel-rapl:1", name="package-1")
    node.extra = RAPL
    with pytest.raises(meter_config.ConfigError, match=rf"intel-rapl:1 \(package-1\) {reason}"):
        daemon.refuse_real_meter(node.config(), Working(first / "energy_uj"))


@pytest.mark.parametrize("limit", ["0\n", "\n", "wide\n"])
def test_a_zone_that_does_not_say_where_it_wraps_is_named(node: Node, limit: str) -> None:
    folder = zone(node.root)
    (folder / "max_energy_range_uj").write_text(limit)
    node.extra = RAPL
    with pytest.raises(meter_config.ConfigError, match=r"intel-rapl:0 \(package-0\) does not say where it wraps"):
        daemon.refuse_real_meter(node.config(), Working(folder / "energy_uj"))


def test_rapl_writes_no_zone_but_the_range_of_the_real_one(node: Node) -> None:
    folder = zone(node.root)
    node.extra = {"source": "rapl"}
    daemon.refuse_real_meter(node.config(), Working(folder / "energy_uj"))
    meter = node.meter()
    node.step(meter, 1.0, 0.5)
    assert not (node.root / "sysfs").exists()
    assert node.metric("hardwatt_powercap_max_energy_range_joules") == pytest.approx(262143.32885)
    assert "modelled_joules" not in (node.root / "textfile/hardwatt.prom").read_text()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sorce": "rapl"}, "did you mean 'source'"),
        ({"source": "fake"}, "not modelled or rapl"),
        ({"tick_seconds": 0}, "tick_seconds is 0"),
        ({"cpus": "two"}, "cpus is 'two'"),
        ({"units": "ssh.service"}, "units is not a list"),
        ({"model": {}}, "exactly name and points"),
        ({"model": {"name": "m", "points": [[0, 1]]}}, "do not rise"),
        ({"model": {"name": "m", "points": [[0, 5], [1, 4]]}}, "above zero and rising"),
        ({"model": {"name": "m", "points": [[0, 0], [1, 4]]}}, "above zero and rising"),
        ({"model": {"name": "m", "points": "steep"}}, "pairs of numbers"),
    ],
)
def test_wrong_configurations_say_what_is_wrong(change: dict[str, object], message: str) -> None:
    good = {"model": {"name": "m", "points": [[0, 1], [1, 2]]}}
    with pytest.raises(meter_config.ConfigError, match=message):
        meter_config.load_config(json.dumps({**good, **change}))


def test_text_that_is_not_json() -> None:
    with pytest.raises(meter_config.ConfigError, match="not JSON"):
        meter_config.load_config("source: rapl")


def test_the_page_is_valid_exposition_text_with_one_help_a_name(node: Node) -> None:
    threads = set(threading.enumerate())  # other tests may have left some
    node.extra = {"units": ["a.service", "b.service"]}
    for name in ("a", "b"):
        folder = node.root / f"cgroups/cpuacct/machine/system.slice/{name}.service"
        folder.mkdir(parents=True)
        (folder / "cpuacct.usage").write_text("1000000000\n")
    meter = node.meter()
    node.step(meter, 1.0, 0.1)
    page = (node.root / "textfile/hardwatt.prom").read_text()
    helps = [line for line in page.splitlines() if line.startswith("# HELP")]
    assert len(helps) == len(set(helps))
    assert page.count("hardwatt_unit_cpu_seconds_total{") == 2
    assert set(threading.enumerate()) <= threads
