"""A large dump from a real Prometheus: complete against promtool's own dump of the same blocks, in bounded memory.

The large one has 10,000 series over a day (58 million samples) and takes long; the small one is the same test. In both
the server is killed and started again in the middle, and one request in twenty fails.
"""

import json
import random
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import requests

from benchmarks.dump import BEGIN, METRIC, write_series
from hardwatt.bundle.reader import Bundle
from hardwatt.config.lab import open_lab
from hardwatt.core.ports import free_port
from hardwatt.core.process import Process, spawn
from hardwatt.core.wait import wait
from hardwatt.dump import replay
from hardwatt.dump.client import Client
from hardwatt.dump.job import DumpSpec, dump
from hardwatt.dump.replay import Programs
from hardwatt.dump.stream import Options

ROOT = Path(__file__).parents[2]
GIB = 1024 * 1024  # in KiB, as getrusage counts


@pytest.mark.parametrize(
    ("series", "hours", "target"),
    [
        pytest.param(40, 4, 3000, marks=pytest.mark.mirror),
        pytest.param(10_000, 24, 400_000, marks=pytest.mark.long, id="58-million"),
    ],
)
def test_complete_in_bounded_memory_with_a_server_that_dies(
    tmp_path: Path, series: int, hours: int, target: int
) -> None:
    programs = Programs.find(open_lab())
    count = write_series(tmp_path, programs.promtool, series, hours)
    words = [
        sys.executable,
        "-c",
        f"from tests.dump.test_large import child; child({str(tmp_path)!r}, {hours}, {target})",
    ]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["failed"] > 0
    assert told["killed"] == 1
    assert told["peak_kib"] < GIB
    ours = by_series(Bundle.open(tmp_path / "d"))
    assert ours["samples"].sum() == count
    assert ours.equals(by_promtool(programs.promtool, tmp_path / "data"))


def child(place: str, hours: int, target: int) -> None:
    """Dump in a process of its own, whose peak of memory is this dump's; kill the server once, fail now and then."""
    folder, programs = Path(place), Programs.find(open_lab())
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    chance = random.Random(5)
    told = {"failed": 0, "killed": 0, "asked": 0}
    server = [replay.start(programs.prometheus, folder, port)]

    def trouble(response: requests.Response, *_args: Any, **_options: Any) -> None:
        told["asked"] += 1
        if told["asked"] == 10 and not told["killed"]:
            told["killed"] = 1
            server[0] = killed_and_started(server[0], programs.prometheus, folder, port)
        if chance.random() < 0.05:
            told["failed"] += 1
            raise requests.ConnectionError("planted")

    try:
        with Client(url) as client:
            client._plain.hooks["response"].append(trouble)
            end = (BEGIN + hours * 3600) * 1000
            dump(
                client,
                DumpSpec((METRIC,), BEGIN * 1000, end),
                folder / "d",
                source="modelled",
                options=Options(target=target),
            )
    finally:
        server[0].stop()
    print(json.dumps({**told, "peak_kib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}))


def killed_and_started(server: Process, prometheus: Path, folder: Path, port: int) -> Process:
    server.signal(signal.SIGKILL)
    wait(server.alive, lambda alive: not alive, what="end", timeout=10, delay=0.05)
    return spawn(replay.command(prometheus, folder, port), log=folder / "prometheus.log")


def by_series(bundle: Bundle) -> pl.DataFrame:
    """Return samples, sum of times (ms) and sum of values of each series: exact, because values are eighths."""
    names = pl.LazyFrame(
        [(number, labels["pod"]) for number, labels in bundle.series.items()],
        schema={"series_id": pl.UInt32, "pod": pl.String},
        orient="row",
    )
    samples = bundle.samples(METRIC).join(names, on="series_id")
    sums = [pl.len().cast(pl.Int64).alias("samples"), pl.col("ts").sum(), pl.col("value").sum()]
    return samples.group_by("pod").agg(sums).sort("pod").collect(engine="streaming")


def by_promtool(promtool: Path, data: Path) -> pl.DataFrame:
    """Return the same of the lines that ``promtool tsdb dump`` writes: {labels} value ms."""
    rows: dict[str, list[float]] = {}
    with subprocess.Popen([str(promtool), "tsdb", "dump", str(data)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            labels, value, ms = line.rsplit(" ", 2)
            row = rows.setdefault(labels, [0, 0, 0.0])
            row[0] += 1
            row[1] += int(ms)
            row[2] += float(value)
    assert process.returncode == 0
    frame = pl.DataFrame(
        [(labels.partition('pod="')[2].partition('"')[0], *row) for labels, row in rows.items()],
        schema={"pod": pl.String, "samples": pl.Int64, "ts": pl.Int64, "value": pl.Float64},
        orient="row",
    )
    return frame.sort("pod")
