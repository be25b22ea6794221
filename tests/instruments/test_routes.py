"""Joules of every file that once went wrong, by three routes: an import, a dump, and a live query of a server."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hardwatt.bundle.model import Provenance, Run, SeriesSamples
from hardwatt.bundle.reader import Bundle
from hardwatt.bundle.writer import Writer
from hardwatt.core.errors import LabError, VerifyError
from hardwatt.dump import imports, parse
from hardwatt.dump.imports import Options, Window
from hardwatt.energy import query
from hardwatt.instruments import live, node
from hardwatt.instruments.outcomes import measure
from hardwatt.instruments.zones import metric_of

DATA = Path(__file__).parents[1] / "data/imports"
T0 = 1_700_000_000
Answer = tuple[float, float, float] | str
"""Value, low and high in joules, or the reason of a refusal."""
Ends = tuple[float, float]


@dataclass(frozen=True)
class Case:
    """Series, the window's ends in seconds from their first moment, and what is right: joules, or part of a reason."""

    series: list[SeriesSamples]
    right: float | str
    ends: Ends
    dram: float | None = None
    wide: float = 0.0
    """Least width of the bounds: what the true interval of the scrapes leaves open."""
    ranges: Mapping[str, float] = field(default_factory=dict)
    """Folder -> where it wraps, in joules."""


def stored(name: str, right: float | str, ends: Ends = (0, 59), **more: Any) -> Case:
    return Case(parse.matrix((DATA / name).read_text()), right, ends, **more)


def counter(watts: "float | np.ndarray[Any, Any]", **labels: str) -> SeriesSamples:
    """A counter that rises by so many watts, or that shows the given joules; moments are whole seconds."""
    at = np.arange(0, 60)
    values: Any = watts if isinstance(watts, np.ndarray) else 100 + watts * at
    name = labels.pop("metric", "node_rapl_package_joules_total")
    return SeriesSamples({"__name__": name, **labels}, ((T0 + at) * 1000).astype(np.int64), values)


def path(folder: str) -> dict[str, str]:
    return {"path": f"/sys/class/powercap/{folder}"}


def dram(watts: float, **labels: str) -> SeriesSamples:
    return counter(watts, metric="node_rapl_dram_joules_total", **labels)


def psys(watts: float, **labels: str) -> SeriesSamples:
    return counter(watts, metric="node_rapl_psys_joules_total", **labels)


def keplers(watts: float, zone: str, **labels: str) -> SeriesSamples:
    return counter(watts, metric="kepler_node_cpu_joules_total", zone=zone, **labels)


AT = np.arange(0, 60)
STILL = np.full(60, 5.0)
WRAPPED = np.mod(900 + 40.0 * AT, 1000)
REBOOTED = np.where(AT < 30, 5000 + 40.0 * AT, 40.0 * (AT - 30))
CASES = {
    "i_kepler": stored("i_kepler.json", 2950),
    "i_mmio": stored("i_mmio.json", 2950),
    "i_mmio_still": stored("i_mmio_still.json", 2950),
    "i_dram": stored("i_dram.json", 1180, dram=177),
    "i_dies: two dies whose counters are equal and move together are one meter": stored("i_dies.json", 4012),
    "i_still": stored("i_still.json", "stands still"),
    "i_nodes": stored("i_nodes.json", "2 hosts"),
    "i_step": stored("i_step.json", 650, (23, 36), wide=250),
    "i_dead: before it died": stored("i_dead.json", 2000, (10, 50)),
    "i_dead: while it was dead": stored("i_dead.json", "stands still", (50, 190)),
    "three sockets, not in their order": Case(
        [counter(30, index="2", **path("intel-rapl:0")), counter(20, index="0", **path("intel-rapl:1")),
         counter(10, index="1", **path("intel-rapl:2"))],
        59 * 60, (0, 59),
    ),
    "the memory-mapped twin comes first": Case(
        [counter(30, index="0", **path("intel-rapl-mmio:0")), counter(30.001, index="0", **path("intel-rapl:0"))],
        59 * 30.001, (0, 59),
    ),
    "two twins, one of which stands still": Case(
        [counter(STILL, index="0", **path("intel-rapl-mmio:0")), counter(STILL, index="0", **path("intel-rapl:0")),
         counter(30, index="0", **path("intel-rapl-mmio:1"))],
        59 * 30, (0, 59),
    ),
    "dies on two sockets, memory of one socket": Case(
        [*[counter(20.0 + n, metric=f"node_rapl_package_{n // 2}_die_{n % 2}_joules_total", index="0",
                   **path(f"intel-rapl:{n}")) for n in range(4)],
         dram(7, index="0", **path("intel-rapl:2:0"))],
        59 * 86, (0, 59), dram=59 * 7,
    ),
    "paths without the control type": Case(
        [counter(30, index="0", path="0"), dram(4, index="0", path="0:1")], 59 * 30, (0, 59), dram=59 * 4,
    ),
    "no paths": Case([counter(30, index="0"), counter(20, index="1")], 59 * 50, (0, 59)),
    "the package stands still, psys counts": Case(
        [counter(STILL, index="0", **path("intel-rapl:0")), psys(70, index="0", **path("intel-rapl:1"))],
        "psys is there, but it is the whole platform's energy", (0, 59),
    ),
    "one socket of two stands still": Case(
        [counter(30, index="0", **path("intel-rapl:0")), counter(STILL, index="1", **path("intel-rapl:1"))],
        "intel-rapl:1: stands still", (0, 59),
    ),
    "Kepler's names with sockets, and its psys": Case(
        [keplers(30, "package-0", **path("intel-rapl:0")), keplers(20, "package-1", **path("intel-rapl:1")),
         keplers(90, "psys", **path("intel-rapl:2")), keplers(5, "dram", **path("intel-rapl:0:0"))],
        59 * 50, (0, 59), dram=59 * 5,
    ),
    "Kepler's sum of sockets, without a path": Case(
        [keplers(50, "package", path=""), keplers(12, "core", path="")], 59 * 50, (0, 59)
    ),
    "Kepler beside node_exporter": Case(
        [keplers(50, "package", path=""), counter(30, index="0", **path("intel-rapl:0")),
         counter(20, index="1", **path("intel-rapl:1"))],
        59 * 50, (0, 59),
    ),
    "hosts by node": Case(
        [counter(30, node="a", index="0", **path("intel-rapl:0")),
         counter(20, node="b", index="0", **path("intel-rapl:0"))],
        "2 hosts", (0, 59),
    ),
    "hosts by host": Case(
        [counter(30, host="a", index="0", **path("intel-rapl:0")),
         counter(20, host="b", index="0", **path("intel-rapl:0"))],
        "2 hosts", (0, 59),
    ),
    "a wrap": Case(
        [counter(WRAPPED, index="0", **path("intel-rapl:0"))], 59 * 40, (0, 59), ranges={"intel-rapl:0": 1000},
    ),
    "a reboot": Case([counter(REBOOTED, index="0", **path("intel-rapl:0"))], 29 * 40 + 29 * 40, (0, 59), wide=30),
    "a fall that is neither a wrap nor a reboot": Case(
        [counter(np.where(AT == 30, 4000.0, 5000 + 40.0 * AT), index="0", **path("intel-rapl:0"))],
        "goes back", (0, 59),
    ),
}  # fmt: skip


def figures(bundle: Bundle) -> dict[str, Answer]:
    measured = measure(bundle)
    known: dict[str, Answer] = {
        row.name: (row.figure.value, row.figure.low, row.figure.high) for row in measured.outcomes
    }
    return known | {row.name: row.reason for row in measured.refusals}


def by_import(folder: Path, case: Case) -> dict[str, Answer]:
    file = folder / "given.json"
    rows = [
        {"metric": dict(one.labels), "values": [[t / 1000, str(v)] for t, v in zip(one.ts, one.values, strict=True)]}
        for one in case.series
    ]
    file.write_text(json.dumps({"status": "success", "data": {"resultType": "matrix", "result": rows}}))
    options = Options("rapl", "joules", range_joules=next(iter(case.ranges.values()), 0.0))
    try:
        series = imports.read(file, options)
        windows = [Window("r", "a", 0, 0, *moments(case))]
        return figures(Bundle.open(imports.bundle(file, series, windows, options, folder / "b")))
    except VerifyError as error:
        return {"node_joules": error.message}


def moments(case: Case) -> tuple[int, int]:
    return round((T0 + case.ends[0]) * 1000), round((T0 + case.ends[1]) * 1000)


def wraps(case: Case, at: int) -> list[SeriesSamples]:
    return [
        SeriesSamples({"__name__": node.RANGE, **path(folder)}, np.array([at], dtype=np.int64), np.array([limit]))
        for folder, limit in case.ranges.items()
    ]


def by_dump(folder: Path, case: Case) -> dict[str, Answer]:
    begin, until = moments(case)
    plan = {
        "study": "dump", "seed": 0, "arms": ["dump"], "window_seconds": (until - begin) / 1000,
        "primary": {"outcome": "node_joules", "unit": "J", "estimator": "none"},
        "runs": [{"run_id": "r", "block": 0, "position": 0, "arm": "dump"}],
    }  # fmt: skip
    facts = {"cpus": 2, "scrape_seconds": 15 if case.wide > 100 else 1}
    writer = Writer.create(folder / "dump", plan, Provenance(0, "rapl", "t", "", False, host=facts))
    series = [*case.series, *wraps(case, begin)]
    for metric in sorted({one.labels["__name__"] for one in series}):
        writer.add_samples("r", metric, [one for one in series if one.labels["__name__"] == metric])
    writer.add_run(Run("r", 0, 0, "dump", 0, "done", "", begin, until))
    writer.finish()
    return figures(Bundle.open(folder / "dump"))


class Server:
    """A Prometheus that holds the series of a case, and CPU time of the node and of one pod for each node's name."""

    def __init__(self, case: Case) -> None:
        names = {one.labels.get("node", "") for one in case.series}
        at = np.arange(T0 - 300, T0 + 600, dtype=np.int64) * 1000
        owner = [{"node": name} if name else {} for name in sorted(names)]
        busy = (at - at[0]) / 1000.0
        self.series = [*case.series, *wraps(case, int(at[0]))]
        self.series += [SeriesSamples({"__name__": node.CPU, **own}, at, busy) for own in owner]
        pod = {"__name__": live.POD_CPU, "namespace": "a", "pod": "b"}
        self.series += [SeriesSamples({**pod, **own}, at, busy / 10) for own in owner]

    def samples(self, selector: str, at_ms: int) -> tuple[list[SeriesSamples], bytes]:
        text, _, reach = selector.rpartition("[")
        since = at_ms - int(reach.removesuffix("s]")) * 1000
        known = [one for one in self.series if self._matches(text, one.labels["__name__"])]
        cut = [(one, (one.ts > since) & (one.ts <= at_ms)) for one in known]
        if any(one.labels["__name__"] == node.RANGE for one in known):  # it is exported all the time
            return [SeriesSamples(one.labels, np.array([at_ms]), one.values) for one, _ in cut], b""
        return [SeriesSamples(one.labels, one.ts[own], one.values[own]) for one, own in cut if own.any()], b""

    @staticmethod
    def _matches(text: str, name: str) -> bool:
        if text != live.EVERY_ZONE:
            return text == name
        return name == "kepler_node_cpu_joules_total" or (
            name.startswith("node_rapl_") and name.endswith("_joules_total")
        )


@pytest.fixture
def by_live(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path, Case], dict[str, Answer]]:
    """The road of ``energy.query node --last``: the query takes the window that ends so long before its present."""

    def ask(_folder: Path, case: Case) -> dict[str, Answer]:
        begin, until = moments(case)
        monkeypatch.setattr("hardwatt.energy.query.time.time", lambda: (until + query.SETTLED_MS) / 1000)
        answers: dict[str, Answer] = {}
        for outcome, kind in (("node_joules", "package"), ("node_dram_joules", "dram")):
            example = query.Example("", "", "J", kind, "node")
            try:
                rows = query.joules(Server(case), example, (until - begin) // 1000, "all")  # type: ignore[arg-type]
                several = f"{len(rows)} hosts, a row for each"
                answers[outcome] = (rows[0]["joules"], rows[0]["low"], rows[0]["high"]) if len(rows) == 1 else several
            except LabError as error:
                answers[outcome] = error.message
        return answers

    return ask


@pytest.mark.parametrize("route", ["import", "dump", "live"])
@pytest.mark.parametrize("name", CASES)
def test_every_route_gives_the_right_joules(
    name: str, route: str, tmp_path: Path, by_live: Callable[[Path, Case], dict[str, Answer]]
) -> None:
    case = CASES[name]
    answers = {"import": by_import, "dump": by_dump, "live": by_live}[route](tmp_path, case)
    answer = answers["node_joules"]
    if isinstance(case.right, str):
        assert case.right in str(answer)
        return
    assert not isinstance(answer, str), answer
    value, low, high = answer
    assert value == pytest.approx(case.right, rel=1e-3, abs=case.wide / 4)
    assert low - 1e-3 <= case.right <= high + 1e-3
    assert high - low >= case.wide
    if case.dram is not None:
        memory = answers["node_dram_joules"]
        assert not isinstance(memory, str), memory
        assert memory[0] == pytest.approx(case.dram, rel=1e-3)


def test_every_stored_file_is_among_them() -> None:
    files = {file.stem for file in DATA.iterdir() if file.suffix == ".json"}
    assert files <= {name.partition(":")[0] for name in CASES}
    assert metric_of("package") == "node_rapl_package_joules_total"


@pytest.mark.parametrize("moment", ["Infinity", "-Infinity", "NaN", "1e400", '"inf"'])
def test_a_moment_that_is_none_is_refused_in_every_format(moment: str, tmp_path: Path) -> None:
    """``j_inf.csv`` as JSON: neither an import nor a dump of a server may fall over it."""
    text = (
        '{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"__name__":'
        f'"node_rapl_package_joules_total"}},"values":[[{moment},"1"],[1700000001,"2"]]}}]}}}}'
    )
    file = tmp_path / "inf.json"
    file.write_text(text)
    with pytest.raises(VerifyError):
        imports.read(file, Options("rapl"))
    with pytest.raises(parse.OddError):
        parse.matrix(text)
    with pytest.raises(VerifyError, match="line 2: 'inf'"):
        imports.read(DATA / "j_inf.csv", Options("rapl"))


@pytest.mark.parametrize(
    ("unit", "of_joule"), [("joules", 1), ("millijoules", 1e3), ("microjoules", 1e6), ("kilowatt-hours", 1 / 3.6e6)]
)
def test_units_of_a_counter(unit: str, of_joule: float, tmp_path: Path) -> None:
    values = [[T0 + second, repr((100 + 50 * second) * of_joule)] for second in range(60)]
    file = tmp_path / "given.json"
    rows = [{"metric": {"__name__": "energy"}, "values": values}]
    file.write_text(json.dumps({"status": "success", "data": {"resultType": "matrix", "result": rows}}))
    options = Options("rapl", unit)  # type: ignore[arg-type]
    series = imports.read(file, options)
    made = imports.bundle(file, series, [imports.whole(series)], options, tmp_path / "b")
    answer = figures(Bundle.open(made))["node_joules"]
    assert not isinstance(answer, str), answer
    assert answer[0] == pytest.approx(2950)
