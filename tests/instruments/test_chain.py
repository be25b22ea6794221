"""The whole chain with real programs: meter -> node_exporter -> Prometheus -> dump -> figure, on a known counter."""

import json
import os
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from hardwatt.bundle.exposition import parse_exposition
from hardwatt.bundle.model import Edge, Provenance, Run
from hardwatt.bundle.reader import Bundle
from hardwatt.bundle.writer import Writer
from hardwatt.core.wait import wait
from hardwatt.dump.client import Client
from hardwatt.dump.run import dump_run
from hardwatt.instruments.figure import Figure
from hardwatt.instruments.outcomes import measure
from hardwatt.testing.installed_meter import install

IDLE, BURST = 0.2, 2.2
"""CPU-seconds a second of the planted counter, outside and inside its burst of five seconds: 10 CPU-seconds more."""

PLAN = {
    "study": "chain",
    "seed": 1,
    "arms": ["push"],
    "window_seconds": 12,
    "primary": {"outcome": "node_cpu_seconds", "unit": "CPU-seconds", "estimator": "mean"},
    "runs": [{"run_id": "r", "block": 0, "position": 0, "arm": "push"}],
}
MODEL = {"name": "chain", "points": [[0.0, 5.0], [1.0, 45.0]], "cpus": 4}


def built(family: str, name: str) -> Path | None:
    """Return a program that the toolkit has built on this machine."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    found = sorted((cache / "hardwatt/built").glob(f"{family}-*/bin/{name}"))
    return found[-1] if found else None


PROMETHEUS, EXPORTER = built("prometheus", "prometheus"), built("node-exporter", "node_exporter")


@contextmanager
def running(log: Path, *command: object) -> Iterator[None]:
    """Run a program for as long as the block lasts."""
    with log.open("wb") as file:
        process = subprocess.Popen([str(part) for part in command], stdout=file, stderr=file)
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


class Planted(threading.Thread):
    """A cgroup's counter in a file: C(t) is known to the microsecond."""

    def __init__(self, folder: Path) -> None:
        super().__init__(daemon=True)
        folder.mkdir()
        self.file = os.open(folder / "cpuacct.usage", os.O_WRONLY | os.O_CREAT)
        self.ended = threading.Event()
        self.begin = time.time()
        self.burst = (float("inf"), float("inf"))
        self.put()

    def value(self, at: float) -> float:
        """Return C(at)."""
        start, stop = self.burst
        return 50 + IDLE * (at - self.begin) + (BURST - IDLE) * max(0.0, min(at, stop) - start)

    def put(self) -> None:
        """Write C(now), always as many bytes."""
        os.pwrite(self.file, f"{round(self.value(time.time()) * 1e9):020d}\n".encode(), 0)

    def run(self) -> None:
        while not self.ended.wait(0.005):
            self.put()


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def scrapes(url: str) -> int:
    """Return how often the meter has been scraped."""
    with Client(url) as client:
        result = client.query("count_over_time(hardwatt_node_cpu_seconds_total[1m])")
    return int(result[0]["value"][1]) if result else 0


def edge(url: str, name: str) -> Edge:
    asked = time.time_ns() // 1_000_000
    with urllib.request.urlopen(url, timeout=5) as answer:
        values = parse_exposition(answer.read().decode(), ("hardwatt_", "node_rapl_", "node_time_seconds"))
    node = round(values["node_time_seconds"] * 1000)
    return Edge("r", name, asked, time.time_ns() // 1_000_000, node, values)  # type: ignore[arg-type]


def free_port() -> int:
    import socket

    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@pytest.mark.long
@pytest.mark.skipif(PROMETHEUS is None or EXPORTER is None, reason="not built on this machine (invoke mirror.fill)")
def test_ten_cpu_seconds_more_are_ten_cpu_seconds_more(tmp_path: Path) -> None:
    planted = Planted(tmp_path / "cgroup")
    planted.start()
    ports = free_port(), free_port()
    exporter, prometheus = (f"http://127.0.0.1:{port}" for port in ports)
    with ExitStack() as stack:
        stack.callback(planted.ended.set)
        for command in commands(tmp_path, ports):
            stack.enter_context(running(tmp_path / f"log-{Path(str(command[0])).name}", *command))
        wait(lambda: answers(exporter + "/metrics"), bool, what="node_exporter", timeout=60, delay=0.2)
        wait(lambda: answers(prometheus + "/-/ready"), bool, what="Prometheus", timeout=60, delay=0.2)
        wait(lambda: scrapes(prometheus), lambda count: count >= 3, what="scrapes", timeout=60, delay=0.2)
        t0, t1, edges = window(planted, exporter + "/metrics")
        writer = Writer.create(tmp_path / "b", PLAN, Provenance(1, "modelled", "t", "", False, {}, {"cpus": 4}, MODEL))
        for one in edges:
            writer.add_edge(one)
        dump_run(prometheus, "r", t0, t1, writer, before_ms=3000, after_ms=2000)
    writer.add_run(Run("r", 0, 0, "push", 0, "done", "", t0, t1))
    writer.finish()
    measured = measure(Bundle.open(tmp_path / "b"))
    found = {one.name: one.figure for one in measured.outcomes}
    truth = planted.value(t1 / 1000) - planted.value(t0 / 1000)
    close(found["node_cpu_seconds"], truth, 0.15)
    assert truth - IDLE * (t1 - t0) / 1000 == pytest.approx(10, abs=1e-6)
    close(found["check.node_cpu_seconds_by_samples"], truth, 1.0)
    close(found["node_joules"], 5 * (t1 - t0) / 1000 + 10 * truth, 3.0)
    assert found["check.joules_of_formula"].value == pytest.approx(1, abs=0.01)
    assert found["check.edge_error"].value < 0.5


def commands(folder: Path, ports: tuple[int, int]) -> list[list[object]]:
    """Return meter, exporter and Prometheus, ready to be started."""
    meter = {
        "cpu": str(folder / "cgroup"),
        "cpus": 4,
        "model": {"name": "chain", "points": MODEL["points"]},
        "sysfs": str(folder / "sysfs"),
        "textfile": str(folder / "textfile/hardwatt.prom"),
        "podfile": str(folder / "textfile/hardwatt_pods.prom"),
        "record": str(folder / "record/recording"),
        "state": str(folder / "state.json"),
        "powercap": str(folder / "powercap"),
    }
    (folder / "meter.json").write_text(json.dumps(meter))
    (folder / "textfile").mkdir()
    (folder / "sysfs/class/powercap").mkdir(parents=True)
    (folder / "prometheus.yml").write_text(
        "global: {scrape_interval: 1s, scrape_timeout: 1s}\n"
        f"scrape_configs: [{{job_name: meter, static_configs: [{{targets: ['127.0.0.1:{ports[0]}']}}]}}]\n"
    )
    return [
        [*install(folder / "node"), "--config", folder / "meter.json"],
        [
            *(EXPORTER, f"--path.sysfs={folder}/sysfs", "--collector.disable-defaults", "--collector.rapl"),
            *("--collector.time", "--collector.textfile", f"--collector.textfile.directory={folder}/textfile"),
            f"--web.listen-address=127.0.0.1:{ports[0]}",
        ],
        [
            *(PROMETHEUS, f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"),
            f"--web.listen-address=127.0.0.1:{ports[1]}",
        ],
    ]


def window(planted: Planted, url: str) -> tuple[int, int, list[Edge]]:
    """Let twelve seconds pass, with the burst in them; the edges are read as an experiment does."""
    passed: Callable[[float], object] = lambda until: wait(  # noqa: E731
        time.time, lambda now: now >= until, what="the window", timeout=60, delay=0.02
    )
    passed(time.time() + 1)
    first = edge(url, "start")
    begin = first.replied_ms / 1000
    planted.burst = (begin + 3, begin + 8)
    passed(begin + 12)
    last = edge(url, "end")
    return round(begin * 1000), round((begin + 12) * 1000), [first, last]


def close(figure: Figure, truth: float, away: float) -> None:
    """The truth lies within the figure's bounds (and what a write of the planted file is late), and near its value."""
    late = 0.03 * BURST
    assert figure.low - late <= truth <= figure.high + late, figure
    assert figure.value == pytest.approx(truth, abs=away)
