"""The modelled register: what it adds up to, and the rules that its readers rely on."""

import os
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardwatt.meter import hardwatt_meter as daemon
from hardwatt.meter import meter_config, node_counters
from tests.meter.conftest import Node


def joules(seconds: float, cpu_seconds: float) -> float:
    """The model of the fixture: 10 W idle, 10 W more for each of two CPUs."""
    return 10 * seconds + 10 * cpu_seconds


def test_energy_is_the_model_on_the_cpu_seconds(node: Node) -> None:
    meter = node.meter()
    start = node.energy_uj if (node.zone / "energy_uj").exists() else 0
    for _ in range(100):
        node.step(meter, 0.1, 0.15)
    assert node.energy_uj - start == pytest.approx(joules(10, 15) * 1e6, rel=1e-6)
    assert node.metric("hardwatt_modelled_joules_total") == pytest.approx(joules(10, 15), rel=1e-6)
    assert node.metric("hardwatt_node_cpu_seconds_total") == pytest.approx(115.0)


def test_a_late_tick_is_integrated(node: Node) -> None:
    meter = node.meter()
    node.clock.after_sleep = [0.0, 2.35, 0.0]
    left = [4]

    def stopped() -> bool:
        node.cpu += 0.1
        left[0] -= 1
        return left[0] < 0

    start = node.clock.now
    cpu = node.cpu
    meter.run(stopped, lambda: None)
    assert meter.missed == 23
    spent = meter.cpu - cpu
    assert meter.modelled_zones[0].total_uj == pytest.approx(joules(node.clock.now - start, spent) * 1e6, rel=1e-6)


def test_a_counter_that_was_late_and_catches_up_loses_nothing(node: Node) -> None:
    meter = node.meter()
    for used in (0.0, 0.0, 0.0, 0.8, 0.2):
        node.step(meter, 0.1, used)
    assert meter.modelled_zones[0].total_uj == pytest.approx(joules(0.5, 1.0) * 1e6, abs=5)


def test_never_a_zero_step_even_when_time_stands_still(node: Node) -> None:
    meter = node.meter()
    node.step(meter, 0.1, 0)
    before = node.energy_uj
    node.step(meter, 1e-9, 0)
    assert node.energy_uj > before


def test_work_between_two_readings_at_one_moment_is_billed_later(node: Node) -> None:
    meter = node.meter()
    start = meter.modelled_zones[0].total_uj
    node.step(meter, 0.0, 0.2)
    node.step(meter, 1.0, 0.0)
    assert meter.modelled_zones[0].total_uj - start == pytest.approx(joules(1.0, 0.2) * 1e6, abs=2)


def test_wraps_at_the_declared_range(node: Node) -> None:
    node.extra = {"max_energy_range_uj": 7_000_000}
    meter = node.meter()
    seen = []
    for _ in range(100):
        node.step(meter, 0.1, 0.1)
        seen.append(node.energy_uj)
    assert max(seen) < 7_000_000
    steps = [(after - before) % 7_000_000 for before, after in pairwise(seen)]
    assert sum(after < before for before, after in pairwise(seen)) == 28
    assert steps == pytest.approx([joules(0.1, 0.1) * 1e6] * 99, abs=2)


def test_ten_restarts_lose_no_energy_and_never_go_back(node: Node) -> None:
    start, cpu = node.clock.now, node.cpu
    node.meter().write(force=True)
    for number in range(10):
        meter = node.meter()
        for _ in range(7):
            before = node.energy_uj
            node.step(meter, 0.1, 0.05)
            assert node.energy_uj > before
        if number % 2:
            meter.write(force=True)
        # Otherwise it was killed between two savings of its state.
        node.clock.pass_(1.5)
        node.cpu += 0.3
    meter = node.meter()
    node.step(meter, 0.1, 0.0)
    true = joules(node.clock.now - start, node.cpu - cpu) * 1e6
    assert node.energy_uj == pytest.approx(true, abs=joules(0.1, 0.2) * 1e6)


def test_a_piecewise_model_killed_between_savings_does_not_go_back(node: Node) -> None:
    node.extra = {"model": {"name": "steep", "points": [[0, 1], [0.9, 2], [1, 100]]}}
    meter = node.meter()
    meter.write(force=True)
    for load in (0.2, 0.2, 0.2, 0.0, 0.0, 0.0):
        node.step(meter, 0.1, load)
    published = node.energy_uj
    again = node.meter()
    again.write()
    assert node.energy_uj > published


DRAM = {"name": "two", "points": [[0, 10], [1, 30]], "zones": {"dram": [[0, 2], [0.5, 3], [1, 8]]}}


def sub_uj(node: Node) -> int:
    return int((node.zone.with_name("synthetic-model:0:0") / "energy_uj").read_text())


def test_a_zone_beside_the_package_has_its_own_points_and_goes_on_after_a_kill(node: Node) -> None:
    node.extra = {"model": DRAM}
    meter = node.meter()
    meter.write(force=True)
    assert (node.zone.with_name("synthetic-model:0:0") / "name").read_text() == "dram\n"
    start, package = sub_uj(node), node.energy_uj
    for _ in range(10):
        node.step(meter, 0.1, 0.1)
    assert sub_uj(node) - start == pytest.approx(3e6, rel=1e-6)
    for _ in range(10):
        node.step(meter, 0.1, 0.15)
    assert sub_uj(node) - start == pytest.approx(3e6 + 5.5e6, rel=1e-6)
    assert node.energy_uj - package == pytest.approx(joules(2, 2.5) * 1e6, rel=1e-6)
    assert 'zone="dram"' in (node.root / "textfile/hardwatt.prom").read_text()
    before = sub_uj(node)
    node.meter().write()
    assert sub_uj(node) > before


def test_zones_of_another_model_are_gone(node: Node) -> None:
    node.extra = {"model": DRAM}
    node.meter().write()
    node.extra = {}
    node.meter().write()
    assert not node.zone.with_name("synthetic-model:0:0").exists()
    assert node.energy_uj > 0


@pytest.mark.parametrize(
    ("zones", "text"),
    [
        ({"psys": [[0, 1], [1, 2]]}, "not among core, dram, uncore"),
        ({"dram": [[0, 1], [0.9, 2]]}, "points of zone dram do not rise from utilisation 0 to 1"),
        ({"core": [[0, 1], [0.5, 21], [1, 22]]}, "zone core draws more than the package"),
        ([], "not among"),
    ],
)
def test_a_model_with_impossible_zones_is_refused(node: Node, zones: object, text: str) -> None:
    node.extra = {"model": {"name": "x", "points": [[0, 10], [1, 30]], "zones": zones}}
    with pytest.raises(meter_config.ConfigError, match=text):
        node.config()


def test_a_reboot_keeps_the_register_and_adds_nothing_for_the_time_off(node: Node) -> None:
    meter = node.meter()
    node.step(meter, 1.0, 1.0)
    meter.write(force=True)
    before = node.energy_uj
    node.reboot("boot-2")
    node.cpu = 3.0
    node.clock.now = 20.0
    again = node.meter()
    again.write()
    assert 0 < node.energy_uj - before < 10


def test_a_machine_started_anew_in_the_same_boot_is_not_billed_for_the_time_off(node: Node) -> None:
    meter = node.meter()
    node.step(meter, 1.0, 1.0)
    meter.write(force=True)
    before = node.energy_uj
    node.clock.pass_(600)
    node.cpu = 0.5
    node.meter().write()
    assert 0 < node.energy_uj - before < 10


def test_another_source_of_the_counter_is_not_compared_with_the_one_before(node: Node) -> None:
    meter = node.meter()
    node.step(meter, 1.0, 1.0)
    meter.write(force=True)
    before = node.energy_uj
    node.clock.pass_(600)
    (node.root / "proc/stat").write_text(f"cpu {900 * node_counters.CLOCK_TICKS} 0 0 9 9 0 0 0 0 0\n")
    node.extra = {"cpu": "procstat"}
    node.meter().write()
    assert 0 < node.energy_uj - before < 10


def test_a_lost_state_goes_on_from_the_zone(node: Node) -> None:
    meter = node.meter()
    node.step(meter, 10.0, 1.0)
    before = node.energy_uj
    (node.root / "state.json").write_text('{"at": "nonsense"}')
    node.meter().write()
    assert 0 < node.energy_uj - before < 10


def test_a_full_disk_stops_nothing_and_loses_nothing(
    node: Node, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    meter = node.meter()
    meter.write()
    start = node.energy_uj
    real = os.write

    def full(handle: int, data: bytes) -> int:
        return real(handle, data[: len(data) // 2])

    monkeypatch.setattr(os, "write", full)
    for _ in range(20):
        node.step(meter, 0.1, 0.1)
    assert node.energy_uj == start
    assert capsys.readouterr().err.count("cannot write") == 1
    monkeypatch.setattr(os, "write", real)
    node.step(meter, 0.1, 0.1)
    assert node.energy_uj - start == pytest.approx(joules(2.1, 2.1) * 1e6, abs=2)


def test_a_folder_that_was_made_anew_is_found_again(node: Node) -> None:
    meter = node.meter()
    meter.write(force=True)
    moved = node.zone.with_name("away")
    node.zone.rename(moved)
    node.zone.mkdir()
    for _ in range(12):
        node.step(meter, 0.1, 0.1)
    assert node.energy_uj == int(meter.modelled_zones[0].total_uj)


def test_a_reader_never_sees_half_a_file(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    meter = node.meter()
    meter.write()
    old = (node.zone / "energy_uj").read_text()
    renames = []
    real = os.rename

    def rename(source: str, target: str, **folders: int) -> None:
        assert folders["src_dir_fd"] == folders["dst_dir_fd"]
        renames.append((source, target))
        if target == "energy_uj":
            assert (node.zone / target).read_text() == old
        real(source, target, **folders)

    monkeypatch.setattr(os, "rename", rename)
    node.step(meter, 1.0, 0.5)
    assert {target for _, target in renames} >= {"energy_uj", "hardwatt.prom", "state.json"}
    assert all(source == f".{target}.part" for source, target in renames)


@settings(deadline=None)  # a busy machine is no fault of the model
@given(loads=st.lists(st.floats(0, 1), min_size=1, max_size=40), step=st.floats(0.01, 5))
def test_any_load_gives_the_integral_of_the_model(loads: list[float], step: float) -> None:
    points = [[0.0, 2.0], [0.5, 3.0], [1.0, 9.0]]
    energy = daemon.Energy(points, 4)
    for load in loads:
        energy.add(step, load * step * 4)
    true = sum(2 + 2 * load if load <= 0.5 else 3 + 12 * (load - 0.5) for load in loads) * step
    assert energy.total_uj == pytest.approx(true * 1e6, rel=1e-6)
