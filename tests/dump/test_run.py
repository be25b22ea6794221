"""A run's dump into a bundle, from the stand-in and from a real Prometheus."""

import json
import os
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hardwatt.bundle.model import Provenance, Run
from hardwatt.bundle.reader import Bundle
from hardwatt.bundle.writer import Writer
from hardwatt.core.errors import WaitError
from hardwatt.core.wait import wait
from hardwatt.dump.client import Client
from hardwatt.dump.errors import IncompleteError, UnreachableError
from hardwatt.dump.run import Margins, dump_run
from hardwatt.dump.selectors import DEFAULT
from hardwatt.instruments.outcomes import outcomes
from tests.dump.conftest import T0, Server

PLAN: dict[str, Any] = {
    "study": "s",
    "seed": 1,
    "arms": ["push"],
    "window_seconds": 60,
    "primary": {"outcome": "node_cpu_seconds", "unit": "CPU-seconds", "estimator": "mean"},
    "runs": [{"run_id": "r1", "block": 0, "position": 0, "arm": "push"}],
}
CPU = "hardwatt_node_cpu_seconds_total"
T1 = T0 + 60_000


def writer(path: Path) -> Writer:
    return Writer.create(path, PLAN, Provenance(1, "modelled", "t", "", False, host={"cpus": 2}))


def scraped(server: Server) -> None:
    for metric, rate in ((CPU, 0.5), ("up", 0.0)):
        values = [str(1 + i * rate) for i in range(160)]
        server.add({"__name__": metric, "job": "meter", "instance": "n"}, T0 - 60_500, 1000, values)


def test_dies_are_dumped_where_there_are_some(prometheus: Server, tmp_path: Path) -> None:
    scraped(prometheus)
    dies = {f"node_rapl_package_{socket}_die_{die}_joules_total" for socket in (0, 1) for die in (0, 1)}
    for watts, metric in enumerate(sorted(dies), start=20):
        labels = {"__name__": metric, "index": "0", "path": f"/p/intel-rapl:{watts}", "instance": "n"}
        prometheus.add(labels, T0 - 60_500, 1000, [str(i * watts) for i in range(160)])
    out = Writer.create(tmp_path / "b", PLAN, Provenance(1, "rapl", "t", "", False, host={"cpus": 2}))
    assert dies <= set(dump_run(prometheus.url, "r1", T0, T1, out).metrics)
    out.add_run(Run("r1", 0, 0, "push", 0, "done", "", T0, T1))
    out.finish()
    found = {one.name: one.figure for one in outcomes(Bundle.open(tmp_path / "b"))}
    assert found["node_joules"].value == pytest.approx(60 * (20 + 21 + 22 + 23))


def test_a_run_is_dumped_and_measured(prometheus: Server, tmp_path: Path) -> None:
    scraped(prometheus)
    out = writer(tmp_path / "b")
    dumped = dump_run(prometheus.url, "r1", T0, T1, out)
    out.add_run(Run("r1", 0, 0, "push", 0, "done", "", T0, T1))
    out.finish()
    bundle = Bundle.open(tmp_path / "b")
    bundle.verify()
    assert bundle.metrics == sorted(DEFAULT)
    assert dumped.metrics[CPU] == (1, 95)
    assert dumped.samples == 190
    found = {one.name: one.figure for one in outcomes(bundle)}
    assert found["node_cpu_seconds"].value == pytest.approx(30)
    raw = bundle.raw("r1", CPU)
    assert json.loads(raw[0].body)["data"]["result"][0]["metric"]["job"] == "meter"
    assert raw[0].url.startswith(prometheus.url + "/api/v1/query?query=")
    assert raw[0].headers["Content-Type"] == "application/json"


def test_cgroups_of_pods_are_asked_for_and_not_their_containers(prometheus: Server, tmp_path: Path) -> None:
    scraped(prometheus)
    dump_run(prometheus.url, "r1", T0, T1, writer(tmp_path / "b"))
    asked = [query for query in prometheus.queries if query.startswith("container_cpu")]
    assert asked == ['container_cpu_usage_seconds_total{container="",image=""}[95001ms]']


def test_dumping_again_replaces(prometheus: Server, tmp_path: Path) -> None:
    scraped(prometheus)
    out = writer(tmp_path / "b")
    first = dump_run(prometheus.url, "r1", T0, T1, out)
    files = {path: path.read_bytes() for path in (tmp_path / "b").rglob("*.parquet")}
    assert dump_run(prometheus.url, "r1", T0, T1, out) == first
    assert {path: path.read_bytes() for path in (tmp_path / "b").rglob("*.parquet")} == files


def test_waits_for_the_end_of_the_window(prometheus: Server, tmp_path: Path) -> None:
    prometheus.add({"__name__": CPU}, T0, 1000, ["1"] * 30)
    with pytest.raises(WaitError, match=r"to hold the end of the window.*36\.0 s to go"):
        dump_run(prometheus.url, "r1", T0, T1, writer(tmp_path / "b"), settle_timeout=0)


def test_a_meter_that_is_not_scraped_is_said(prometheus: Server, tmp_path: Path) -> None:
    with pytest.raises(WaitError, match="the meter is not scraped"):
        dump_run(prometheus.url, "r1", T0, T1, writer(tmp_path / "b"), settle_timeout=0)


def test_a_required_metric_without_samples_is_incomplete(prometheus: Server, tmp_path: Path) -> None:
    scraped(prometheus)
    prometheus.series.pop()
    with pytest.raises(IncompleteError, match="no samples of up"):
        dump_run(prometheus.url, "r1", T0, T1, writer(tmp_path / "b"))


def test_a_server_that_dies_in_the_middle_leaves_whole_metrics_only(prometheus: Server, tmp_path: Path) -> None:
    scraped(prometheus)
    out = writer(tmp_path / "b")
    answer = prometheus.answer

    def dying(query: str, at_ms: int) -> tuple[int, dict[str, Any]]:
        if query.startswith("rest_client"):
            prometheus.shutdown()
            prometheus.socket.close()
            raise ConnectionResetError
        return answer(query, at_ms)

    prometheus.answer = dying  # type: ignore[method-assign]
    with pytest.raises(UnreachableError):
        dump_run(prometheus.url, "r1", T0, T1, out, client=Client(prometheus.url, backoff=0.0, retries=2, timeout=5))
    done = {path.parent.parent.name for path in (tmp_path / "b/samples").rglob("part.parquet")}
    assert f"metric={CPU}" in done
    assert "metric=rest_client_requests_total" not in done
    assert not list((tmp_path / "b").rglob("*.part"))


def built(name: str) -> Path | None:
    """Return a program that the toolkit has built on this machine."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    found = sorted((cache / "hardwatt/built").glob(f"prometheus-*/bin/{name}"))
    return found[-1] if found else None


@pytest.mark.skipif(
    built("prometheus") is None, reason="no prometheus has been built on this machine (invoke mirror.fill)"
)
def test_a_real_prometheus_gives_every_sample_once(tmp_path: Path) -> None:
    program, promtool = built("prometheus"), built("promtool")
    assert program is not None
    assert promtool is not None
    truth = _blocks(tmp_path, promtool)
    (tmp_path / "prometheus.yml").write_text("{}\n")
    arguments = [
        f"--config.file={tmp_path}/prometheus.yml",
        f"--storage.tsdb.path={tmp_path}/data",
        "--storage.tsdb.retention.time=100y",
        "--web.listen-address=127.0.0.1:0",
    ]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([program, *arguments], stdout=log, stderr=log)
    try:
        url = f"http://127.0.0.1:{_port(process.pid)}"
        wait(lambda: _ready(url), bool, what="Prometheus", timeout=60, delay=0.2)
        out = writer(tmp_path / "b")
        selectors = {CPU: "", "up": ""}
        dumped = dump_run(url, "r1", T0, T1, out, selectors, longest_ms=7_000, settle_timeout=None, required=(CPU,))
    finally:
        process.terminate()
        process.wait(30)
    assert dumped.requests == 2 * 14
    out.add_run(Run("r1", 0, 0, "push", 0, "done", "", T0, T1))
    out.finish()
    bundle = Bundle.open(tmp_path / "b")
    for metric, rows in truth.items():
        frame = bundle.samples(metric, "r1").collect()
        expected = [(ms, value) for ms, value in rows if T0 - 30_000 <= ms <= T1 + 5_000]
        assert list(zip(frame["ts"], frame["value"], strict=True)) == expected


def _blocks(folder: Path, promtool: Path) -> dict[str, list[tuple[int, float]]]:
    """Write samples as OpenMetrics and make blocks of them; return what they hold."""
    rng = np.random.default_rng(3)
    truth = {}
    text = ""
    for metric, kind in ((CPU, "counter"), ("up", "gauge")):
        at = T0 - 60_000 + np.cumsum(rng.integers(900, 1100, 160))
        values = np.cumsum(rng.uniform(0, 1, 160))
        truth[metric] = [(int(ms), float(value)) for ms, value in zip(at, values, strict=True)]
        text += f"# TYPE {metric.removesuffix('_total')} {kind}\n"
        text += "".join(f'{metric}{{job="meter"}} {value!r} {ms / 1000:.3f}\n' for ms, value in truth[metric])
    (folder / "samples.om").write_text(text + "# EOF\n")
    paths = [str(folder / "samples.om"), str(folder / "data")]
    subprocess.run(
        [str(promtool), "tsdb", "create-blocks-from", "openmetrics", *paths], check=True, capture_output=True
    )
    return truth


def _port(pid: int) -> int:
    """Return the port on which a process listens on loopback."""

    def listening() -> int:
        inodes = set()
        for handle in Path(f"/proc/{pid}/fd").iterdir():
            try:
                inodes.add(str(handle.readlink()).removeprefix("socket:[").removesuffix("]"))
            except OSError:
                continue
        for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                return int(fields[1].rpartition(":")[2], 16)
        return 0

    return wait(listening, bool, what="Prometheus to listen", timeout=60, delay=0.2)


def _ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(url + "/-/ready", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@pytest.mark.parametrize(("every", "before", "after"), [(0.5, 30_000, 5_000), (1, 30_000, 5_000), (15, 65_000, 20_400)])
def test_what_is_dumped_around_a_window_grows_with_the_interval(every: float, before: int, after: int) -> None:
    margins = Margins.at(every)
    assert (margins.before_ms, margins.after_ms) == (before, after)
    assert margins.after_ms >= 1000 * every, "a scrape after the window"
    assert margins.settle_timeout >= 60 + 2 * (every - 1), "a scrape later than that has been missed"
