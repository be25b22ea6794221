"""Joules of zones in a window, alike for an import, a dump and a live query: the inputs that once went wrong."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest

from hardwatt.bundle.model import Edge, Provenance, Run, SeriesSamples
from hardwatt.bundle.reader import Bundle
from hardwatt.bundle.writer import Writer
from hardwatt.core.errors import VerifyError
from hardwatt.dump import imports, parse
from hardwatt.dump.imports import Options, Window
from hardwatt.instruments import live, node
from hardwatt.instruments.figure import Figure
from hardwatt.instruments.outcomes import measure
from hardwatt.instruments.windows import WindowError
from hardwatt.instruments.zones import metric_of

DATA = Path(__file__).parents[1] / "data/imports"
T0 = 1_700_000_000_000
AT = np.arange(T0, T0 + 60_000, 1000, dtype=np.int64)
Series = list[SeriesSamples]
Read = Callable[[Path, Series], dict[str, Figure | str]]


def field(name: str) -> Series:
    return parse.matrix((DATA / name).read_text())


def span(series: Series) -> tuple[int, int]:
    return max(int(one.ts[0]) for one in series), min(int(one.ts[-1]) for one in series)


def of_import(folder: Path, series: Series) -> dict[str, Figure | str]:
    """The road of ``experiment.import FILE --source rapl --unit joules``."""
    file = folder / "given.json"
    rows = [
        {"metric": dict(one.labels), "values": [[t / 1000, str(v)] for t, v in zip(one.ts, one.values, strict=True)]}
        for one in series
    ]
    file.write_text(json.dumps({"status": "success", "data": {"resultType": "matrix", "result": rows}}))
    options = Options("rapl", "joules")
    try:
        found = imports.read(file, options)
    except VerifyError as error:
        return {"node_joules": error.message}
    return figures(Bundle.open(imports.bundle(file, found, [imports.whole(found)], options, folder / "b")))


def of_dump(folder: Path, series: Series) -> dict[str, Figure | str]:
    """The road of a dump: the series as Prometheus has them, in a bundle."""
    return figures(dumped(folder, series))


def dumped(folder: Path, series: Series, edges: Iterable[Edge] = ()) -> Bundle:
    begin, end = span(series)
    plan = {
        "study": "dump", "seed": 0, "arms": ["dump"], "window_seconds": (end - begin) / 1000,
        "primary": {"outcome": "node_joules", "unit": "J", "estimator": "none"},
        "runs": [{"run_id": "r", "block": 0, "position": 0, "arm": "dump"}],
    }  # fmt: skip
    writer = Writer.create(folder / "dump", plan, Provenance(0, "rapl", "t", "", False, host={"cpus": 2}))
    for metric in sorted({one.labels["__name__"] for one in series}):
        writer.add_samples("r", metric, [one for one in series if one.labels["__name__"] == metric])
    for edge in edges:
        writer.add_edge(edge)
    writer.add_run(Run("r", 0, 0, "dump", 0, "done", "", begin, end))
    writer.finish()
    return Bundle.open(folder / "dump")


def figures(bundle: Bundle) -> dict[str, Figure | str]:
    measured = measure(bundle)
    found: dict[str, Figure | str] = {one.name: one.figure for one in measured.outcomes}
    return found | {one.name: one.reason for one in measured.refusals}


def of_live(_folder: Path, series: Series) -> dict[str, Figure | str]:
    """The road of ``energy.query --last``."""
    names = {one.labels.get("node", "") for one in series}
    cpu = [SeriesSamples({"node": name}, AT, (AT - T0) / 1000.0) for name in names]
    pods = [SeriesSamples({**one.labels, "namespace": "a", "pod": "b"}, AT, one.values / 10) for one in cpu]
    begin, end = span(series)
    found: dict[str, Figure | str] = {}
    for kind, name in (("package", "node_joules"), ("dram", "node_dram_joules")):
        samples = {node.CPU: cpu, live.POD_CPU: pods, metric_of(kind): series}
        try:
            found[name] = live.energy(samples, kind, begin, min(end, int(AT[-1])))[0].joules
        except WindowError as error:
            found[name] = error.reason
    return found


ROADS = pytest.mark.parametrize("road", [of_import, of_dump, of_live], ids=["import", "dump", "live"])


@ROADS
@pytest.mark.parametrize(
    ("name", "joules"),
    [("i_mmio.json", 2950), ("i_mmio_still.json", 2950), ("i_dram.json", 1180), ("i_dies.json", 4012)],
)
def test_a_file_that_once_went_wrong_has_its_joules(road: Read, name: str, joules: float, tmp_path: Path) -> None:
    figure = road(tmp_path, field(name))["node_joules"]
    assert isinstance(figure, Figure), figure
    assert figure.value == pytest.approx(joules)


@ROADS
def test_dies_that_show_one_counter_are_named(road: Read, tmp_path: Path) -> None:
    figure = road(tmp_path, field("i_dies.json"))["node_joules"]
    assert isinstance(figure, Figure)
    assert "intel-rapl:1 left out: equal values that move together" in figure.source


@ROADS
def test_the_memory_of_a_twin_counts_once(road: Read, tmp_path: Path) -> None:
    figure = road(tmp_path, field("i_dram.json"))["node_dram_joules"]
    assert isinstance(figure, Figure), figure
    assert figure.value == pytest.approx(177)


@ROADS
def test_two_hosts_are_kept_apart(road: Read, tmp_path: Path) -> None:
    refusal = road(tmp_path, field("i_nodes.json"))["node_joules"]
    assert "2 hosts" in str(refusal)
    assert "10.0.0.0:9100, 10.0.0.1:9100" in str(refusal)


@pytest.mark.parametrize(("host", "joules"), [("10.0.0.0:9100", 2950), ("10.0.0.1:9100", 3540)])
def test_one_host_can_be_chosen(host: str, joules: float, tmp_path: Path) -> None:
    options = Options("rapl", "joules", host=host)
    found = imports.read(DATA / "i_nodes.json", options)
    made = imports.bundle(DATA / "i_nodes.json", found, [imports.whole(found)], options, tmp_path / "b")
    figure = figures(Bundle.open(made))["node_joules"]
    assert isinstance(figure, Figure)
    assert figure.value == pytest.approx(joules)


@ROADS
def test_a_counter_that_stands_still_is_refused(road: Read, tmp_path: Path) -> None:
    assert str(road(tmp_path, field("i_still.json"))["node_joules"]).endswith("stands still")


def test_zones_inside_others_never_add_up(tmp_path: Path) -> None:
    figure = of_import(tmp_path, field("i_kepler.json"))["node_joules"]
    assert isinstance(figure, Figure)
    assert figure.value == pytest.approx(2950)


def test_watts_of_zones_inside_others_never_add_up(tmp_path: Path) -> None:
    rows = [
        {
            "metric": {"__name__": "kepler_node_cpu_watts", "zone": zone},
            "values": [[1.7e9 + i, watts] for i in range(60)],
        }
        for zone, watts in (("package", "50"), ("core", "30"), ("psys", "70"))
    ]
    file = tmp_path / "watts.json"
    file.write_text(json.dumps({"status": "success", "data": {"resultType": "matrix", "result": rows}}))
    found = imports.read(file, Options("rapl", "watts"))
    made = imports.bundle(file, found, [imports.whole(found)], Options("rapl", "watts"), tmp_path / "b")
    figure = figures(Bundle.open(made))["node_joules"]
    assert isinstance(figure, Figure)
    assert figure.value == pytest.approx(50 * 59)


def test_values_that_a_range_query_repeats_are_no_readings(tmp_path: Path) -> None:
    """50 W, scraped every 15 s and asked for every second: 13 s are 650 J, as sure as the scrapes allow."""
    options = Options("rapl", "joules")
    found = imports.read(DATA / "i_step.json", options)
    windows = imports.read_windows(DATA / "i_step_runs.csv")
    bundle = Bundle.open(imports.bundle(DATA / "i_step.json", found, windows, options, tmp_path / "b"))
    assert bundle.manifest.host["scrape_seconds"] == 15
    rows = [one.figure for one in measure(bundle).outcomes if one.name == "node_joules"]
    assert [row.value for row in rows] == pytest.approx([650] * 6)
    assert all(row.low <= 0 + 1e-9 or row.low < 500 for row in rows)
    assert all(row.high > 740 for row in rows)


def test_a_dead_target_is_a_gap(tmp_path: Path) -> None:
    options = Options("rapl", "joules")
    found = imports.read(DATA / "i_dead.json", options)
    windows = [
        Window("alive", "a", 0, 0, T0 + 10_000, T0 + 80_000),
        Window("dead", "a", 1, 0, T0 + 50_000, T0 + 250_000),
    ]
    bundle = Bundle.open(imports.bundle(DATA / "i_dead.json", found, windows, options, tmp_path / "b"))
    measured = measure(bundle)
    assert [one.figure.value for one in measured.outcomes if one.name == "node_joules"] == pytest.approx([3500])
    (reason,) = [one.reason for one in measured.refusals if one.name == "node_joules"]
    assert "stands still" in reason


def test_an_infinite_moment_names_its_line() -> None:
    with pytest.raises(VerifyError, match="line 2: 'inf'"):
        imports.read(DATA / "j_inf.csv", Options("rapl"))


def zone(folder: str, name: str, values: "np.ndarray | list[float]", index: str = "0") -> SeriesSamples:
    labels = {
        "__name__": f"node_rapl_{name}_joules_total",
        "index": index,
        "path": f"/host/sys/class/powercap/{folder}",
    }
    return SeriesSamples({"node": "n", **labels}, AT, np.asarray(values, dtype=np.float64))


def ramp(watts: float, start: float = 0.0, stops: int = 60) -> "np.ndarray":
    return start + watts * np.minimum(np.arange(60), stops)


FOUR_DIES = [
    zone(f"intel-rapl:{number}", f"package_{number // 2}_die_{number % 2}", ramp(20 + number, 7.0 * number))
    for number in range(4)
]
TREES: dict[str, tuple[Series, float | str, float | str]] = {
    "two sockets with two dies each": (FOUR_DIES, 59 * 86, "no"),
    "memory of each socket": (
        [zone("intel-rapl:0", "package", ramp(40)), zone("intel-rapl:1", "package", ramp(41), "1"),
         zone("intel-rapl:0:0", "dram", ramp(5)), zone("intel-rapl:1:0", "dram", ramp(6, 9), "1")],
        59 * 81, 59 * 11,
    ),
    "memory of each socket, sockets behind psys": (
        [zone("intel-rapl:0", "psys", ramp(90)), zone("intel-rapl:1", "package", ramp(40)),
         zone("intel-rapl:2", "package", ramp(41), "1"), zone("intel-rapl:1:0", "dram", ramp(5)),
         zone("intel-rapl:2:0", "dram", ramp(6, 9), "1")],
        59 * 81, 59 * 11,
    ),
    "psys alone": ([zone("intel-rapl:0", "psys", ramp(90))], "psys|no zone 'package'|no samples", "no"),
    "psys counts, the package stands still": (
        [zone("intel-rapl:0", "package", ramp(0, 5)), zone("intel-rapl:1", "psys", ramp(90))], "stands still", "no",
    ),
    "a twin alone": ([zone("intel-rapl-mmio:0", "package", ramp(30))], 59 * 30, "no"),
    "the register stops half-way": (
        [zone("intel-rapl:0", "package", ramp(30, stops=30)), zone("intel-rapl-mmio:0", "package", ramp(30))],
        59 * 30, "no",
    ),
    "the twin stops half-way": (
        [zone("intel-rapl:0", "package", ramp(30)), zone("intel-rapl-mmio:0", "package", ramp(30, stops=30))],
        59 * 30, "no",
    ),
    "both stop half-way": (
        [zone("intel-rapl:0", "package", ramp(30, stops=30)), zone("intel-rapl-mmio:0", "package", ramp(30, stops=30))],
        "stands still", "no",
    ),
    "one socket of two stands still": (
        [zone("intel-rapl:0", "package", ramp(30)), zone("intel-rapl:1", "package", ramp(0, 8), "1")],
        "intel-rapl:1: stands still", "no",
    ),
    "one package of AMD": (
        [zone("intel-rapl:0", "package", ramp(60)), zone("intel-rapl:0:0", "core", ramp(3))], 59 * 60, "no",
    ),
    "a name with odd characters": (
        [zone("intel-rapl:0", "package", ramp(60)), zone("a\x1b[31m:0", "pack_age", ramp(99))], 59 * 60, "no",
    ),
    "a counter that goes back": (
        [zone("intel-rapl:0", "package", 3000 - ramp(50))], "goes back", "no",
    ),
}  # fmt: skip


@pytest.mark.parametrize("road", [of_dump, of_live, of_import], ids=["dump", "live", "import"])
@pytest.mark.parametrize("name", TREES)
def test_trees(road: Read, name: str, tmp_path: Path) -> None:
    series, package, dram = TREES[name]
    found = road(tmp_path, series)
    for outcome, right in (("node_joules", package), ("node_dram_joules", dram)):
        got = found.get(outcome, "no outcome")
        if isinstance(right, str):
            assert isinstance(got, str), got
            assert any(part in got for part in right.split("|")), got
            assert "\x1b" not in got
        else:
            assert isinstance(got, Figure), got
            assert got.value == pytest.approx(right)
            assert got.low <= right + 1e-6
            assert got.high >= right - 1e-6


@pytest.mark.parametrize(("socket", "limit"), [("intel", 262143.32885), ("amd", 65532.610987)])
def test_wraps_each_minute_by_each_zones_own_range(socket: str, limit: float, tmp_path: Path) -> None:
    """At 4 to 1 kW a range passes about once a minute."""
    watts = limit / 60
    at = np.arange(T0, T0 + 300_000, 1000, dtype=np.int64)
    rows = [
        SeriesSamples(one.labels, at, np.mod(limit * start + share * watts * (at - T0) / 1000, limit))
        for one, start, share in (
            (zone("intel-rapl:0", "package", ramp(1)), 0.5, 1.0),
            (zone("intel-rapl:1", "package", ramp(1), "1"), 0.9, 0.8),
        )
    ]
    ranges = [
        SeriesSamples(
            {"__name__": node.RANGE, "node": "n", "path": f"/sys/class/powercap/intel-rapl:{number}"},
            at[:1],
            np.array([limit]),
        )
        for number in (0, 1)
    ]  # fmt: skip
    bundle = dumped(tmp_path, [*rows, *(SeriesSamples(one.labels, at, np.full(at.size, limit)) for one in ranges)])
    figure = figures(bundle)["node_joules"]
    assert isinstance(figure, Figure), figure
    assert figure.value == pytest.approx(1.8 * watts * 299)
    samples = {
        node.CPU: [SeriesSamples({"node": "n"}, at, (at - T0) / 1000.0)],
        live.POD_CPU: [SeriesSamples({"node": "n", "pod": "p", "namespace": "a"}, at, (at - T0) / 2000.0)],
        metric_of("package"): rows,
        node.RANGE: ranges,
    }
    assert live.energy(samples, "package", T0, int(at[-1]))[0].joules.value == pytest.approx(1.8 * watts * 299)
