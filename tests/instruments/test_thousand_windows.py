"""A thousand windows of simulated nodes, the whole way: the daemon's recorder, its file, the part around each window,
a bundle, instruments, results and the page. The truth lies inside the bounds that the page shows, in every window."""

import re
from pathlib import Path

import numpy as np
import pytest

from hardwatt.analysis.model import Results
from hardwatt.analysis.results import analysed
from hardwatt.bundle import recording_file
from hardwatt.bundle.model import Edge, Provenance, Run
from hardwatt.bundle.reader import Bundle
from hardwatt.bundle.writer import Writer
from hardwatt.instruments.outcomes import measure
from hardwatt.instruments.recorded_window import at_ticks
from hardwatt.report.render import markdown
from hardwatt.testing.recorded_node import T0_NS
from tests.instruments.simulated import TREES, Node, Zone, truth_of

WINDOW, PAUSE = 10.0, 2.0
RUNS = 2 * -(-1000 // len(TREES) // 2)
"""Windows of each tree, in pairs; together a thousand or more."""
FEW = 16
BOUND = 96 << 10
"""Bytes of the recorder's two files: the file is turned several times in a study."""
NUMBER = r"([\d.]+)"
ROW = re.compile(rf"^\| \d+ \| (\S+) \| \S+ \| {NUMBER} \({NUMBER} to {NUMBER}\) \| (yes|no) \|", re.M)


def study(
    node: Node, monkeypatch: pytest.MonkeyPatch, source: str, count: int
) -> tuple[Bundle, dict[str, tuple[int, int]]]:
    """Run windows as the engine does, each fetched after its end; return the bundle and the planned ends (ms)."""
    own = node.recorder(monkeypatch, record_bytes=BOUND)
    outcome, unit = ("node_joules", "J") if source == "rapl" else ("node_cpu_seconds", "CPU-seconds")
    rows = [
        {"run_id": f"w{n:04}", "block": n // 2, "position": n % 2, "arm": ("push", "pull")[(n + n // 2) % 2]}
        for n in range(count)
    ]
    plan = {
        "study": "simulated", "seed": 1, "arms": ["push", "pull"], "window_seconds": WINDOW,
        "primary": {"outcome": outcome, "unit": unit, "estimator": "mean paired difference"}, "runs": rows,
    }  # fmt: skip
    writer = Writer.create(node.folder / "b", plan, Provenance(1, source, "t", "", False, host={"cpus": 2}))  # type: ignore[arg-type]
    planned, begin = {}, 8.0
    for row in rows:
        begin += float(node.rng.uniform(0.0, 2.0))
        t0 = T0_NS // 1_000_000 + round(begin * 1000)
        t1 = t0 + round(WINDOW * 1000)
        node.until(own, begin + WINDOW + 6)
        files = [path for name in ("recording.1", "recording") if (path := node.folder / name).exists()]
        part = recording_file.cut(files, t0 - 4000, t1 + 4000)
        ends = at_ticks(recording_file.parse([("part", part.splitlines(keepends=True))]), t0, t1)
        writer.add_recording(str(row["run_id"]), part)
        for edge, moment in (("start", t0), ("end", t1)):
            writer.add_edge(Edge(str(row["run_id"]), edge, moment, moment, moment, {}))  # type: ignore[arg-type]
        writer.add_run(Run(**row, repeat=0, status="done", reason="", t0_ms=ends[0], t1_ms=ends[1]))  # type: ignore[arg-type]
        planned[str(row["run_id"])] = (t0, t1)
        begin += WINDOW + PAUSE
    own.stop()
    writer.finish()
    return Bundle.open(node.folder / "b"), planned


def on_the_page(results: Results) -> dict[str, tuple[float, float, bool]]:
    """Return what the page shows of each window: its bounds, and if it counts."""
    rows = ROW.findall(markdown(results).replace("\u202f", ""))
    return {run_id: (float(low), float(high), counts == "yes") for run_id, _, low, high, counts in rows}


def simulated(folder: Path, zones: list[Zone], seed: int) -> Node:
    return Node(folder, zones, rng=np.random.default_rng(seed), seconds=round(RUNS * (WINDOW + PAUSE + 1)) + 60)


@pytest.mark.parametrize("name", TREES)
@pytest.mark.parametrize("count", [FEW, pytest.param(RUNS, marks=pytest.mark.long)])
def test_the_truth_is_inside_the_bounds_that_the_page_shows(
    count: int, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zones, packages, dram = TREES[name]
    source = "modelled" if "model" in name else "rapl"
    node = simulated(tmp_path, zones, list(TREES).index(name))
    bundle, planned = study(node, monkeypatch, source, count)
    results = analysed(bundle.path)
    page = on_the_page(results)
    assert [row.reason for row in results.exclusions] == []
    assert len(page) == len(planned) == count
    known = packages if source == "rapl" else ["node"]
    for run_id, ends in planned.items():
        low, high, counts = page[run_id]
        assert counts
        assert low <= truth_of(node, known, *ends) <= high, run_id
    others = {"node_cpu_seconds": ["node"], "node_joules": packages} | ({"node_dram_joules": dram} if dram else {})
    compared = 0
    for row in measure(bundle).outcomes:
        if row.name in others:
            right = truth_of(node, others[row.name], *planned[row.run_id])
            assert row.figure.low - 1e-6 <= right <= row.figure.high + 1e-6, (row.run_id, row.name)
            compared += 1
    assert compared == count * len(others)


def test_there_are_a_thousand_of_them() -> None:
    assert RUNS * len(TREES) >= 1000
    assert RUNS % 2 == 0


@pytest.mark.parametrize("stands_at", [120.0, 400.5])
def test_a_zone_that_stops_takes_its_windows_out_and_no_other(
    stands_at: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One socket of two: the platform's counter goes on and does not stand in for it."""
    zones = [
        Zone("intel-rapl:0", "package-0", "a"),
        Zone("intel-rapl:1", "package-1", "b", stops_at=stands_at),
        Zone("intel-rapl:2", "psys", "p"),
    ]
    node = simulated(tmp_path, zones, 5)
    bundle, planned = study(node, monkeypatch, "rapl", 60)
    page = on_the_page(results := analysed(bundle.path))
    refused = {row.run for row in results.exclusions if "stands still" in row.reason}
    for run_id, (t0, t1) in planned.items():
        until = t1 / 1000 - T0_NS / 1e9
        if until > stands_at + 1.5:
            assert run_id in refused
        elif until < stands_at - 6:
            assert run_id not in refused
            if page.get(run_id, (0, 0, False))[2]:
                assert page[run_id][0] <= truth_of(node, ["a", "b"], t0, t1) <= page[run_id][1]
    assert 0 < len(refused) < 60
