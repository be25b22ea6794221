"""The one rule of energy zones, on constructed trees: what adds up, what is left out and why, what lacks."""

import pytest

from hardwatt.meter import zones
from hardwatt.meter.zones import Zone

Tree = dict[str, str]
"""Folder -> name of the zone."""

SOCKETS = {"intel-rapl:0": "package-0", "intel-rapl:1": "package-1"}
DRAM = {**SOCKETS, "intel-rapl:0:2": "dram", "intel-rapl:1:0": "dram"}
DIES = {f"intel-rapl:{2 * socket + die}": f"package-{socket}-die-{die}" for socket in (0, 1) for die in (0, 1)}
TWIN = {"intel-rapl-mmio:0": "package-0", "intel-rapl:0": "package-0"}
CLIENT = {**TWIN, "intel-rapl:0:0": "core", "intel-rapl:0:1": "uncore", "intel-rapl:0:2": "dram",
          "intel-rapl-mmio:0:0": "dram", "intel-rapl:1": "psys"}  # fmt: skip
SERVER = {"intel-rapl:0": "psys", "intel-rapl:1": "package-0", "intel-rapl:1:0": "dram",
          "intel-rapl:2": "package-1", "intel-rapl:2:0": "dram"}  # fmt: skip


def chosen(tree: Tree, kind: str = "package", **faults: str) -> tuple[list[str], list[str]]:
    """Return the folders that count and those that lack. ``faults``: folder with _ for : and - -> what is wrong."""
    folders = list(tree)
    known = {folder.replace(":", "_").replace("-", "_"): folder for folder in folders}
    broken = {known[key]: text for key, text in faults.items()}
    given = [Zone(tree[folder], folder) for folder in folders]
    choice = zones.choose(given, [broken.get(folder, "") for folder in folders], kind)
    return [folders[number] for number in choice.counted], [folders[number] for number in choice.lacking]


@pytest.mark.parametrize(
    ("tree", "kind", "faults", "counted"),
    [
        (SOCKETS, "package", {}, ["intel-rapl:0", "intel-rapl:1"]),
        (DRAM, "package", {}, ["intel-rapl:0", "intel-rapl:1"]),
        (DRAM, "dram", {}, ["intel-rapl:0:2", "intel-rapl:1:0"]),
        (SERVER, "dram", {}, ["intel-rapl:1:0", "intel-rapl:2:0"]),
        (SERVER, "psys", {}, ["intel-rapl:0"]),
        (DIES, "package", {}, list(DIES)),
        (TWIN, "package", {}, ["intel-rapl:0"]),
        (TWIN, "package", {"intel_rapl_0": "stands still"}, ["intel-rapl-mmio:0"]),
        (TWIN, "package", {"intel_rapl_mmio_0": "stands still"}, ["intel-rapl:0"]),
        ({"intel-rapl-mmio:0": "package-0"}, "package", {}, ["intel-rapl-mmio:0"]),
        (CLIENT, "package", {}, ["intel-rapl:0"]),
        (CLIENT, "dram", {}, ["intel-rapl:0:2"]),
        (CLIENT, "dram", {"intel_rapl_0_2": "stands still"}, ["intel-rapl-mmio:0:0"]),
        (CLIENT, "core", {}, ["intel-rapl:0:0"]),
        ({"intel-rapl:0": "package", "intel-rapl-mmio:0": "package"}, "package", {}, ["intel-rapl:0"]),
        ({"intel-rapl:0": "psys"}, "package", {}, []),
        ({"dtpm:0": "package", "intel-rapl:0": "package-0"}, "package", {}, ["intel-rapl:0"]),
        ({"intel-rapl:0": "package-0 \n"}, "package", {}, ["intel-rapl:0"]),
        ({"intel-rapl:0": "pack\x1b[31mage-0", "intel-rapl:1": "package-٣", "intel-rapl:2": ""}, "package", {}, []),
        ({"intel-rapl:0": f"package-{'9' * 5000}"}, "package", {}, []),
        ({"intel-rapl:0": "package-0", "intel-rapl:1": "package-0-die-0"}, "package", {}, ["intel-rapl:0"]),
        ({"intel-rapl:0": "package-0", "intel-rapl:1": "package-0-die-0", "intel-rapl:2": "package-0-die-1"}, "package",
         {"intel_rapl_0": "stands still"}, ["intel-rapl:1", "intel-rapl:2"]),
        ({"synthetic-model:0": "package-0", "intel-rapl:0": "package-0"}, "package", {}, ["intel-rapl:0"]),
        ({"synthetic-model:0": "package-0", **SOCKETS}, "package", {"intel_rapl_1": "stands still"},
         ["synthetic-model:0"]),
        ({"synthetic-model:0": "package-0", "synthetic-model:0:0": "dram"}, "dram", {}, ["synthetic-model:0:0"]),
    ],
)  # fmt: skip
def test_what_adds_up(tree: Tree, kind: str, faults: dict[str, str], counted: list[str]) -> None:
    assert chosen(tree, kind, **faults) == (counted, [])


@pytest.mark.parametrize(
    ("tree", "faults", "lacking"),
    [
        ({"intel-rapl:0": "package-0"}, {"intel_rapl_0": "stands still"}, ["intel-rapl:0"]),
        (SOCKETS, {"intel_rapl_1": "cannot be read"}, ["intel-rapl:1"]),
        (DIES, {"intel_rapl_3": "stands still"}, ["intel-rapl:3"]),
        (TWIN, {"intel_rapl_0": "stands still", "intel_rapl_mmio_0": "stands still"}, ["intel-rapl:0"]),
        (CLIENT, {"intel_rapl_0": "stands still", "intel_rapl_mmio_0": "stands still"}, ["intel-rapl:0"]),
    ],
)
def test_a_meter_without_a_zone_that_works_is_named(tree: Tree, faults: dict[str, str], lacking: list[str]) -> None:
    assert chosen(tree, **faults)[1] == lacking


def test_the_order_of_folders_decides_nothing() -> None:
    for tree in (DRAM, CLIENT, SERVER, DIES):
        turned = dict(reversed(tree.items()))
        for kind in ("package", "dram", "psys"):
            assert sorted(chosen(tree, kind)[0]) == sorted(chosen(turned, kind)[0])


def ramp(watts: float, start: float = 0.0, late: float = 0.0, count: int = 60) -> list[tuple[float, float]]:
    return [(float(i), start + watts * (i + late)) for i in range(count)]


def counted_of(*readings: list[tuple[float, float]], names: tuple[str, ...] = ()) -> list[int]:
    own = [Zone(name) for name in names or [f"package-0-die-{number}" for number in range(len(readings))]]
    return zones.choose(own, [""] * len(own), "package", list(readings)).counted


def test_equal_counters_that_move_together_are_one_meter() -> None:
    """Processors that show the package's register once for each die: named apart, read one after the other."""
    assert counted_of(ramp(68, 100), ramp(68, 100)) == [0]
    assert counted_of(*[ramp(200, 5e4, late=0.002 * number) for number in range(12)]) == [0]
    assert counted_of(ramp(30), ramp(30), names=("package-0", "package-1")) == [0]


@pytest.mark.parametrize(
    "other", [ramp(68, 160), ramp(69, 100), ramp(68, 100)[:1], [], ramp(0, 100), [(t + 0.5, v) for t, v in ramp(70)]]
)
def test_counters_that_are_not_equal_are_two(other: list[tuple[float, float]]) -> None:
    assert counted_of(ramp(68, 100), other) == [0, 1]


def test_two_readings_have_to_be_equal_to_the_last_bit() -> None:
    assert zones.one_meter([(0, 5.0), (1, 8.0)], [(0, 5.0), (1, 8.0)])
    assert not zones.one_meter([(0, 5.0), (1, 8.0)], [(0, 5.0), (1, 8.001)])
    assert not zones.one_meter([(0, 5.0), (1, 5.0)], [(0, 5.0), (1, 5.0)])


def test_a_counter_that_wraps_between_two_reads_is_the_same_meter() -> None:
    first = [(t, v % 1000) for t, v in ramp(40)]
    second = [(t, (v + 0.9) % 1000) for t, v in ramp(40)]
    assert counted_of(first, second) == [0]


@pytest.mark.parametrize(
    ("metric", "labels", "zone"),
    [
        ("node_rapl_package_joules_total", {"index": "1", "path": "/sys/class/powercap/intel-rapl:1"},
         Zone("package-1", "intel-rapl:1")),
        ("node_rapl_package_joules_total", {"index": "1"}, Zone("package-1", "")),
        ("node_rapl_package_0_die_1_joules_total", {"index": "0", "path": "/p/intel-rapl:1"},
         Zone("package_0_die_1", "intel-rapl:1")),
        ("node_rapl_dram_joules_total", {"index": "1", "path": "/p/intel-rapl:0:2"}, Zone("dram", "intel-rapl:0:2")),
        ("node_rapl_dram_joules_total", {"index": "1"}, Zone("dram-1", "")),
        ("node_rapl_package_joules_total", {"zone": "package-3"}, Zone("package-3", "")),
        ("kepler_node_cpu_joules_total", {"zone": "package"}, Zone("package", "")),
        ("kepler_node_cpu_joules_total", {"zone": "package-1", "path": "/sys/class/powercap/intel-rapl:1"},
         Zone("package-1", "intel-rapl:1")),
        ("kepler_node_cpu_joules_total", {}, None),
        ("up", {}, None),
    ],
)  # fmt: skip
def test_the_zone_behind_a_series(metric: str, labels: dict[str, str], zone: Zone | None) -> None:
    assert zones.of_labels(metric, labels) == zone


def test_a_strangers_name_prints_no_control_characters() -> None:
    assert zones.shown(Zone("x", "a\x1b[31m" + "b" * 500)) == "a?[31m" + "b" * 54
