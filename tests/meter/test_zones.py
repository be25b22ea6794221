"""Energy counters found by doing, on constructed trees: what each is, whether it works, which of them add up."""

import ast
import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from hardwatt.core.errors import LabError, SettingsError, VerifyError
from hardwatt.meter import powercap_probe, show, sources
from hardwatt.meter.sources import Sources, Zone

RANGE = 262_143_328_850


@dataclass
class Planted:
    """One zone: ``watts`` at ``every`` seconds from ``start`` (uJ); ``error`` is what reading it raises."""

    entry: str
    name: str
    watts: float = 10.0
    start: int = 1_000_000
    every: float = 0.001
    wraps_at: int | None = RANGE
    error: OSError | None = None
    back_at: float = float("inf")
    readings: int = field(default=0)

    def value(self, elapsed: float) -> int:
        steps = int(elapsed / self.every + 1e-9)
        gained = int(steps * self.every * self.watts * 1e6)
        total = self.start + gained - (5_000_000 if elapsed >= self.back_at else 0)
        return total % (self.wraps_at or RANGE)


class Tree:
    """Files of zones in a folder, and a clock; counters stand where the clock says."""

    def __init__(self, root: Path, planted: Sequence[Planted]) -> None:
        self.now, self.planted = 100.0, {f"{root}/class/powercap/{one.entry}/energy_uj": one for one in planted}
        (root / "class/powercap/intel-rapl").mkdir(parents=True)
        (root / "class/powercap/intel-rapl/enabled").write_text("1\n")
        for one in planted:
            folder = root / "class/powercap" / one.entry
            folder.mkdir()
            (folder / "name").write_text(one.name + "\n")
            if one.wraps_at is not None:
                (folder / "max_energy_range_uj").write_text(f"{one.wraps_at}\n")

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def read(self, path: str) -> str:
        one = self.planted.get(path)
        if one is None:
            return Path(path).read_text()
        if one.error:
            raise one.error
        return f"{one.value(self.now - 100.0)}\n"


def watched(tmp_path: Path, *planted: Planted, vendor: str = "GenuineIntel") -> Sources:
    tree = Tree(tmp_path, planted)
    return sources.judge(powercap_probe.watch([str(tmp_path)], 2.0, tree, tree.read), vendor)


def by_entry(found: Sources) -> dict[str, Zone]:
    return {zone.entry: zone for zone in found.zones}


def test_two_sockets_with_sub_zones_and_memory_mapped_twins(tmp_path: Path) -> None:
    found = watched(
        tmp_path,
        Planted("intel-rapl:0", "package-0", 40),
        Planted("intel-rapl:0:0", "core", 25),
        Planted("intel-rapl:0:1", "dram", 6),
        Planted("intel-rapl:1", "package-1", 42),
        Planted("intel-rapl-mmio:0", "package-0", 40),
    )
    zones = by_entry(found)
    assert [entry for entry, zone in zones.items() if zone.counted] == ["intel-rapl:0", "intel-rapl:1"]
    assert zones["intel-rapl:0"].watts == pytest.approx(40, rel=1e-3)
    assert found.sentence == "source rapl: intel-rapl:0 + intel-rapl:1, 82.0 W now"
    assert zones["intel-rapl-mmio:0"].problem == "the same counter as intel-rapl:0, through memory"
    assert "inside the package" in zones["intel-rapl:0:0"].covers
    assert "beside the package" in zones["intel-rapl:0:1"].covers
    assert (zones["intel-rapl:1"].socket, zones["intel-rapl:0:1"].socket) == (1, None)


def test_a_twin_counts_where_its_register_does_not_work(tmp_path: Path) -> None:
    found = watched(
        tmp_path,
        Planted("intel-rapl:0", "package-0", error=OSError(61, "No data available")),
        Planted("intel-rapl-mmio:0", "package-0", 15),
    )
    assert found.sentence == "source rapl: intel-rapl-mmio:0, 15.0 W now"
    assert by_entry(found)["intel-rapl:0"].problem == "cannot be read: No data available"


def test_psys_and_uncore_of_a_laptop_are_never_added(tmp_path: Path) -> None:
    found = watched(
        tmp_path,
        Planted("intel-rapl:0", "package-0", 9),
        Planted("intel-rapl:0:1", "uncore", 1),
        Planted("intel-rapl:1", "psys", 14),
    )
    zones = by_entry(found)
    assert [zone.entry for zone in found.zones if zone.counted] == ["intel-rapl:0"]
    assert zones["intel-rapl:1"].kind == "psys"
    assert "packages included" in zones["intel-rapl:1"].covers


def test_amd_counts_its_package_and_warns_of_its_core(tmp_path: Path) -> None:
    planted = Planted("intel-rapl:0", "package-0", 60), Planted("intel-rapl:0:0", "core", 2)
    found = watched(tmp_path, *planted, vendor="AuthenticAMD")
    assert found.source == "rapl"
    assert by_entry(found)["intel-rapl:0:0"].covers.startswith("one core of the socket only")


def test_dies_of_a_package_are_all_counted(tmp_path: Path) -> None:
    planted = [Planted(f"intel-rapl:{die}", f"package-0-die-{die}", 30 + die) for die in (0, 1)]
    found = watched(tmp_path, *planted)
    assert found.sentence.endswith("61.0 W now")
    assert "socket 0, die 1" in by_entry(found)["intel-rapl:1"].covers


def test_dies_that_show_one_register_count_once(tmp_path: Path) -> None:
    """As AMD's do under some kernels: the package's register, once for each die."""
    found = watched(tmp_path, *[Planted(f"intel-rapl:{die}", f"package-0-die-{die}", 200) for die in range(12)])
    assert found.sentence.startswith("source rapl: intel-rapl:0, ")
    assert by_entry(found)["intel-rapl:7"].problem.startswith("the same counter as intel-rapl:0: equal values")


def test_a_twin_counts_where_the_register_stands_still(tmp_path: Path) -> None:
    planted = Planted("intel-rapl:0", "package-0", 0), Planted("intel-rapl-mmio:0", "package-0", 15)
    found = watched(tmp_path, *planted)
    assert found.sentence == "source rapl: intel-rapl-mmio:0, 15.0 W now"
    assert by_entry(found)["intel-rapl:0"].problem == "stands still"


def test_memory_is_told_apart_by_the_package_that_it_lies_in(tmp_path: Path) -> None:
    found = watched(
        tmp_path,
        Planted("intel-rapl:0", "package-0", 40),
        Planted("intel-rapl:0:2", "dram", 6),
        Planted("intel-rapl-mmio:0", "package-0", 40),
        Planted("intel-rapl-mmio:0:0", "dram", 6.5),
        Planted("intel-rapl:1", "package-1", 41),
        Planted("intel-rapl:1:0", "dram", 7),
    )
    zones = by_entry(found)
    assert zones["intel-rapl-mmio:0:0"].problem == "the same counter as intel-rapl:0:2, through memory"
    assert zones["intel-rapl:1:0"].problem == ""


def test_a_socket_without_a_counter_leaves_no_sum(tmp_path: Path) -> None:
    planted = Planted("intel-rapl:0", "package-0", 40), Planted("intel-rapl:1", "package-1", 0)
    found = watched(tmp_path, *planted)
    assert found.source == "none"
    assert "intel-rapl:0 works, but the CPU packages have no sum" in found.sentence
    assert "intel-rapl:1 (package-1) stands still" in found.sentence


def test_psys_alone_is_no_sum_of_packages(tmp_path: Path) -> None:
    found = watched(tmp_path, Planted("intel-rapl:0", "package-0", 0), Planted("intel-rapl:1", "psys", 14))
    assert found.source == "none"
    assert found.sentence.startswith("intel-rapl:1 works, but the CPU packages have no sum")
    alone = watched(tmp_path / "alone", Planted("intel-rapl:0", "psys", 14))
    assert alone.sentence.startswith("intel-rapl:0 works, but no CPU package has a zone")


def test_a_wrap_is_counted_and_told_in_minutes(tmp_path: Path) -> None:
    found = watched(tmp_path, Planted("intel-rapl:0", "package-0", 100, start=RANGE - 90_000_000))
    zone = found.zones[0]
    assert zone.problem == ""
    assert zone.watts == pytest.approx(100, rel=1e-3)
    assert zone.wraps_in == pytest.approx(2621, rel=1e-2)
    assert "44 min" in show.zones_text(found)


@pytest.mark.parametrize(
    ("planted", "problem"),
    [
        (Planted("intel-rapl:0", "package-0", error=PermissionError(13, "Permission denied")), "only root may read it"),
        (Planted("intel-rapl:0", "package-0", watts=0), "stands still"),
        (Planted("intel-rapl:0", "package-0", wraps_at=None), "does not say where it wraps"),
        (Planted("intel-rapl:0", "package-0", start=50_000_000, back_at=1.0), "goes back without a wrap"),
        (Planted("intel-rapl:0", "package-0", watts=50_000), "rises faster than any machine"),
    ],
)
def test_a_counter_that_does_not_work_is_named_with_a_remedy(tmp_path: Path, planted: Planted, problem: str) -> None:
    found = watched(tmp_path, planted)
    assert found.zones[0].problem.startswith(problem)
    assert found.zones[0].remedy
    assert found.source == "none"
    assert "can only be modelled" in found.sentence


def test_update_rates_slow_and_faster_than_the_watching(tmp_path: Path) -> None:
    planted = Planted("intel-rapl:0", "package-0", every=0.1), Planted("intel-rapl:1", "package-1", every=0.001)
    slow, fast = watched(tmp_path, *planted).zones
    assert slow.updates == pytest.approx(10, abs=0.6)
    assert (slow.at_least, fast.at_least) == (False, True)
    assert fast.updates is not None
    assert fast.updates > 400


def test_the_model_counts_alone_and_not_beside_a_real_counter(tmp_path: Path) -> None:
    model = Planted("synthetic-model:0", "package-0", 12, every=0.1)
    assert watched(tmp_path / "a", model).sentence == "source modelled: synthetic-model:0, 12.0 W now"
    both = watched(tmp_path / "b", model, Planted("intel-rapl:0", "package-0", 30))
    assert both.sentence == "source rapl: intel-rapl:0, 30.0 W now"
    assert by_entry(both)["synthetic-model:0"].problem == "a model beside a counter that works"


def test_no_zone_at_all_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="no powercap zone") as caught:
        show.zones_text(sources.here([str(tmp_path)], 0.0))
    assert "modprobe" in caught.value.hint


def _shell(command: str, *, stdin: str, check: bool) -> Any:
    return subprocess.run(["/bin/sh", "-c", command], input=stdin, capture_output=True, text=True, check=check)


def test_a_node_is_watched_by_the_same_script(tmp_path: Path) -> None:
    Tree(tmp_path, [Planted("intel-rapl:0", "package-0")])
    (tmp_path / "class/powercap/intel-rapl:0/energy_uj").write_text("5\n")

    found = sources.on_node(_shell, [str(tmp_path)], 0.05, place="the host 192.0.2.10")
    assert show.zones_text(found).startswith("energy counters of the host 192.0.2.10\n")
    assert json.loads(show.zones_json(found))["machine"] == "the host 192.0.2.10"
    assert found.zones[0].problem == "stands still"
    assert json.loads(show.zones_json(found))["zones"][0]["entry"] == "intel-rapl:0"


def test_an_answer_that_is_no_zones_is_named() -> None:
    class Answer:
        stdout, returncode = "welcome", 0

    with pytest.raises(VerifyError, match=r"the host 192\.0\.2\.10 came back as something else"):
        sources.on_node(lambda *_a, **_k: Answer(), ["/sys"], place="the host 192.0.2.10")


def test_a_host_without_python_is_named_with_a_remedy(tmp_path: Path) -> None:
    def bare(command: str, **more: Any) -> Any:
        return _shell(f"PATH={tmp_path}; {command}", **more)

    with pytest.raises(LabError, match=r"192\.0\.2\.10 were not read with its python3: .*platform-python") as caught:
        sources.on_node(bare, ["/sys"], place="the host 192.0.2.10")
    assert "install python3 on the host 192.0.2.10" in caught.value.hint


@pytest.mark.parametrize("name", ["powercap_probe.py", "hardwatt_meter.py", "zones.py"])
def test_what_runs_on_old_hosts_is_python_3_6(name: str) -> None:
    ast.parse((Path(sources.__file__).parent / name).read_text(), feature_version=(3, 6))


def test_models_are_shown_and_checked(tmp_path: Path) -> None:
    assert "(auto)" in show.models_text()
    text = show.models_text("intel-ice-lake")
    assert "ccf-coefficients" in text
    assert "package, utilisation 100%" in text
    with pytest.raises(SettingsError, match="no power model"):
        show.models_text("intel-icelake-9")
    assert "no problem" in show.check_models()
    bad = tmp_path / "m.toml"
    bad.write_text(
        '[models.a]\ntitle="a"\ncovers="c"\npoints_per_cpu=[[0,1],[1,2]]\n'
        '[models.b]\ntitle="b"\ncovers="c"\nassumption=true\npoints_per_cpu=[[0,2],[1,1]]\n'
    )
    with pytest.raises(VerifyError) as caught:
        show.check_models(str(bad))
    assert "a: needs either a known source" in caught.value.message
    assert "b: an assumption needs a reason" in caught.value.message
    assert "b: model points: watts are not above zero and rising" in caught.value.message
