"""A bundle in a Prometheus of its own: the same samples, the same windows, nothing left afterwards."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from hardwatt.bundle.model import Provenance, Run, SeriesSamples
from hardwatt.bundle.reader import Bundle
from hardwatt.bundle.writer import Writer
from hardwatt.config.lab import open_lab
from hardwatt.core.background import Record
from hardwatt.core.errors import LabError
from hardwatt.core.files import write_json
from hardwatt.core.ports import free_port
from hardwatt.core.process import Process, spawn
from hardwatt.core.wait import wait
from hardwatt.dump import replay as replaying
from hardwatt.dump.client import Client
from hardwatt.dump.job import DumpSpec, dump
from hardwatt.dump.openmetrics import metric_text, series_text
from hardwatt.dump.replay import Programs, replayed
from hardwatt.dump.run import dump_run
from hardwatt.dump.stream import Options
from hardwatt.instruments.outcomes import measure
from hardwatt.testing.synthetic_bundle import Spec, make_bundle

CPU = "hardwatt_node_cpu_seconds_total"
ROOT = Path(__file__).parents[2]


def test_text_is_escaped_exact_and_ordered(tmp_path: Path) -> None:
    labels = {"__name__": "a_total", "path": 'C:\\x"y\nz', "b.c": "d"}
    assert series_text(labels) == 'a_total{"b.c"="d",path="C:\\\\x\\"y\\nz"}'
    writer = Writer.create(tmp_path / "b", plan(), Provenance(1, "rapl", "t", "", False))
    values = np.array([0.1 + 0.2, np.nan, np.inf, -np.inf, 5e-324])
    ts = np.array([1_790_000_000_007, 1_790_000_001_000, 1_790_000_002_000, 1_790_000_003_000, 1_790_000_004_000])
    writer.add_samples("r1", "a_total", [SeriesSamples({"__name__": "a_total"}, ts, values)])
    writer.add_samples("r2", "a_total", [SeriesSamples({"__name__": "a_total"}, ts[:2], values[:2])])
    for run in ("r1", "r2"):
        writer.add_run(Run(run, 0, 0, "x", 0, "done", "", int(ts[0]), int(ts[-1])))
    writer.finish()
    assert metric_text(Bundle.open(tmp_path / "b"), "a_total").splitlines() == [
        "a_total{} 0.30000000000000004 1790000000.007",
        "a_total{} NaN 1790000001.000",
        "a_total{} +Inf 1790000002.000",
        "a_total{} -Inf 1790000003.000",
        "a_total{} 5e-324 1790000004.000",
    ]


def plan() -> dict[str, object]:
    return {
        "study": "s",
        "seed": 1,
        "arms": ["x"],
        "window_seconds": 4,
        "primary": {"outcome": "node_cpu_seconds", "unit": "CPU-seconds", "estimator": "mean"},
        "runs": [{"run_id": run, "block": 0, "position": 0, "arm": "x"} for run in ("r1", "r2")],
    }


def test_what_a_killed_replay_left_is_cleaned_up(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "100"]) as child:
        process = Process.of(child.pid)
        assert process is not None
        gone = {"pid": 4_000_000, "started": 1}
        write_json(tmp_path / "1-a/replay.json", {"owner": gone, "process": process.to_dict()})
        me = Process.of(os.getpid())
        assert me is not None
        write_json(tmp_path / "2-b/replay.json", {"owner": me.to_dict()})
        (tmp_path / "3-c").mkdir()
        replaying.clean(tmp_path)
        assert child.wait(10) == -signal.SIGTERM
    assert [path.name for path in tmp_path.iterdir()] == ["2-b"]


def test_without_prometheus_the_way_to_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LabError, match="prometheus is not there") as caught:
        Programs.find(open_lab())
    assert "mirror.fill" in caught.value.hint


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return Bundle.open(make_bundle(tmp_path_factory.mktemp("replay") / "b", Spec(pairs=1)).path)


@pytest.fixture(scope="module")
def url(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    place = tmp_path_factory.mktemp("place")
    with replayed(bundle, Programs.find(open_lab()), place) as address:
        yield address
    assert list(place.iterdir()) == []


@pytest.mark.mirror
def test_every_sample_comes_back_as_it_was(bundle: Bundle, url: str, tmp_path: Path) -> None:
    begin, end = bundle.runs[0].t0_ms - 60_000, bundle.runs[-1].t1_ms + 60_000
    with Client(url) as client:
        wanted = DumpSpec(tuple(bundle.metrics), begin, end)
        folder = dump(client, wanted, tmp_path / "d", source="modelled", options=Options(target=500))
    again = Bundle.open(folder)
    assert again.metrics == bundle.metrics
    for metric in bundle.metrics:
        assert rows(again, metric).equals(rows(bundle, metric)), metric


def rows(bundle: Bundle, metric: str) -> pl.DataFrame:
    frame = bundle.samples(metric).select("series_id", "ts", "value").collect().unique()
    names = [series_text(bundle.series[number]) for number in frame["series_id"]]
    return frame.select(pl.Series("name", names), "ts", "value").sort("name", "ts")


@pytest.mark.mirror
@pytest.mark.parametrize("number", [0, 1])
def test_windows_through_promql_lie_within_the_stated_bounds(bundle: Bundle, url: str, number: int) -> None:
    """PromQL knows neither the edges nor the moment of reading: it may be off by what one scrape interval holds."""
    run = bundle.runs[number]
    figures = {one.name: one.figure for one in measure(bundle).outcomes if one.run_id == run.run_id}
    figure = figures["check.node_cpu_seconds_by_samples"]
    values = bundle.samples(CPU, run.run_id).sort("ts").collect()["value"]
    step = float(values.diff().drop_nulls().to_numpy().max())
    with Client(url) as client:
        for query in (
            f"increase({CPU}[{run.t1_ms - run.t0_ms}ms])",
            f"{CPU} - {CPU} offset {run.t1_ms - run.t0_ms}ms",
        ):
            found = client.query(query, run.t1_ms)
            assert figure.low - step <= float(found[0]["value"][1]) <= figure.high + step, query


@pytest.mark.mirror
def test_windows_of_a_dump_from_the_replay_are_those_of_the_bundle(bundle: Bundle, url: str, tmp_path: Path) -> None:
    run = bundle.runs[0]
    writer = Writer.create(
        tmp_path / "b",
        bundle.plan.model_dump(),
        Provenance(1, "modelled", "t", "", False, host=bundle.manifest.host, power_model=bundle.manifest.power_model),
    )
    dump_run(url, run.run_id, run.t0_ms, run.t1_ms, writer, settle_timeout=None)
    for edge in bundle.edges:
        if edge.run_id == run.run_id:
            writer.add_edge(edge)
    writer.add_run(run)
    writer.finish()
    kept = {one.name: one.figure for one in measure(bundle).outcomes if one.run_id == run.run_id}
    again = {one.name: one.figure for one in measure(Bundle.open(tmp_path / "b")).outcomes}
    compared = [name for name in again if name.startswith(("node_", "cpu_seconds.", "git_", "closure."))]
    assert len(compared) > 8
    for name in compared:
        assert again[name].value == pytest.approx(kept[name].value, rel=1e-9), name


@pytest.mark.mirror
def test_the_command_prints_its_address_and_ctrl_c_leaves_nothing(bundle: Bundle, tmp_path: Path) -> None:
    code = (
        "import sys, dataclasses; from pathlib import Path; from hardwatt.config.lab import open_lab\n"
        "from hardwatt.dump.replay import serve\n"
        "lab = dataclasses.replace(open_lab(), dir=Path(sys.argv[2]))\n"
        "serve(lab, Path(sys.argv[1]), show=lambda text: print(text, flush=True))\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(bundle.path), str(tmp_path / "lab")],
        stdout=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip
    assert child.stdout is not None
    address = child.stdout.readline().strip()
    with Client(address) as client:
        found = client.query(f"count({CPU})", bundle.runs[0].t1_ms)
    assert found[0]["value"][1] == "1"
    (state,) = (tmp_path / "lab/replay").glob("*/replay.json")
    (prometheus,) = Record(state).processes()
    child.send_signal(signal.SIGINT)
    assert child.wait(30) == 0
    assert "nothing is left" in child.stdout.read()
    child.stdout.close()
    assert not prometheus.alive()
    assert list((tmp_path / "lab/replay").iterdir()) == []


@pytest.mark.mirror
def test_a_prometheus_that_is_killed_and_comes_back_loses_no_sample(bundle: Bundle, tmp_path: Path) -> None:
    """A real server: killed in the middle of a dump, started again at the same port."""
    programs = Programs.find(open_lab())
    folder = tmp_path / "p"
    folder.mkdir()
    replaying.make_blocks(bundle, programs.promtool, folder)
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    process = replaying.start(programs.prometheus, folder, port)
    begin, end = bundle.runs[0].t0_ms - 60_000, bundle.runs[-1].t1_ms + 60_000
    answered = 0
    try:
        with Client(address, retries=0) as client:
            ask = client.block

            def killed_once(query: str, at_ms: int) -> object:
                nonlocal answered, process
                answered += 1
                if answered == 6:
                    process.signal(signal.SIGKILL)
                    wait(process.alive, lambda alive: not alive, what="end", timeout=10, delay=0.05)
                    process = spawn(replaying.command(programs.prometheus, folder, port), log=folder / "log")
                return ask(query, at_ms)

            client.block = killed_once  # type: ignore[assignment, method-assign]
            wanted = DumpSpec(tuple(bundle.metrics), begin, end)
            out = dump(client, wanted, tmp_path / "d", source="modelled", options=Options(target=500, parallel=1))
    finally:
        process.stop()
    assert answered > 6, "the server was killed in the middle of the dump"
    again = Bundle.open(out)
    for metric in bundle.metrics:
        assert rows(again, metric).equals(rows(bundle, metric)), metric
