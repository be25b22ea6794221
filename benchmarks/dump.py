"""How fast samples come out of Prometheus, and how much memory that takes.

    .venv/bin/python benchmarks/dump.py                            200 series x 2 h at 15 s: seconds
    .venv/bin/python benchmarks/dump.py --series 10000 --hours 24  58 million samples: a quarter of an hour or more

Plants series in the blocks of a Prometheus of its own on loopback, then dumps the same samples by
``hardwatt.dump``, by prometheus-api-client's own range query, by a loop of curl, and by ``promtool tsdb dump`` on the
files. Every way runs in a process of its own, so that its peak of memory is its own. Prints one JSON object a line.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

METRIC = "planted_total"
BEGIN = 1_790_006_400
"""Start of the series: on the border of a block of two hours."""
BLOCK = 7200
STEP = 15
CURL_SECONDS = 1500


def write_series(folder: Path, promtool: Path, series: int, hours: float) -> int:
    """Make blocks of ``series`` counters in ``folder``/data; return how many samples there are.

    Values are eighths, so that sums of them are exact in any order.
    """
    data = folder / "data"
    data.mkdir(parents=True)
    end, count = BEGIN + round(hours * 3600), 0
    for block in range(BEGIN, end, BLOCK):
        times = range(block, min(block + BLOCK, end), STEP)
        file = folder / "block.om"
        with file.open("w", encoding="utf-8") as stream:
            for number in range(series):
                name = f'{METRIC}{{instance="node-{number % 40}",job="planted",pod="pod-{number:06d}"}}'
                rate = 1 + number % 13
                stream.writelines(f"{name} {(t - BEGIN) * rate / 8!r} {t}.{number % 1000:03d}\n" for t in times)
            stream.write("# EOF\n")
        tool = [promtool, "tsdb", "create-blocks-from", "openmetrics", "--quiet", file, data]
        subprocess.run([str(part) for part in tool], check=True)
        file.unlink()
        count += series * len(times)
    return count


@contextmanager
def serving(folder: Path, prometheus: Path) -> Iterator[tuple[str, int]]:
    """Serve the blocks on loopback for as long as the block lasts; yield the URL and the server's pid."""
    from hardwatt.core.ports import free_port
    from hardwatt.dump import replay

    port = free_port()
    process = replay.start(prometheus, folder, port)
    try:
        yield f"http://127.0.0.1:{port}", process.pid
    finally:
        process.stop()


def ours(url: str, folder: Path, end: int, *, raw: bool = True) -> int:
    """Dump by hardwatt: raw answers and parquet, resumable."""
    from hardwatt.bundle.reader import Bundle
    from hardwatt.dump.client import Client
    from hardwatt.dump.job import DumpSpec, dump
    from hardwatt.dump.stream import Options

    wanted, options = DumpSpec((METRIC,), BEGIN * 1000, end * 1000), Options(keep_raw=raw)
    with Client(url) as client:
        out = dump(client, wanted, folder / f"ours-{raw}", source="modelled", options=options)
    return int(Bundle.open(out).samples(METRIC).select(pl.len()).collect().item())


def bare(url: str, folder: Path, end: int) -> int:
    """The same without the answers: samples only, as the client's own path leaves them."""
    return ours(url, folder, end, raw=False)


def theirs(url: str, folder: Path, end: int) -> int:
    """Dump by prometheus-api-client's own ``get_metric_range_data``, into one JSON a chunk."""
    from datetime import timedelta

    from prometheus_api_client import PrometheusConnect

    asking, count = PrometheusConnect(url=url, timeout=120), 0
    begin, last = (datetime.fromtimestamp(at, UTC).replace(tzinfo=None) for at in (BEGIN, end))
    os.environ["TZ"] = "UTC"  # the client makes local time of a date without a zone
    time.tzset()
    chunk = timedelta(seconds=CURL_SECONDS)
    found = asking.get_metric_range_data(METRIC, start_time=begin, end_time=last, chunk_size=chunk)
    with (folder / "theirs.json").open("w", encoding="utf-8") as file:
        for one in found:
            count += len(one["values"])
            file.write(json.dumps(one) + "\n")
    return count


def curl(url: str, folder: Path, end: int) -> int:
    """Fetch the same ranges with curl into files; nothing is read."""
    for at in range(BEGIN, end, CURL_SECONDS):
        stop = min(at + CURL_SECONDS, end)
        words = [
            "curl", "-sS", "--fail", "-G", f"{url}/api/v1/query", "--data-urlencode",
            f"query={METRIC}[{stop - at}s]", "--data-urlencode", f"time={stop}", "-o", str(folder / f"curl-{at}.json"),
        ]  # fmt: skip
        subprocess.run(words, check=True)
    return -1


def files(_url: str, folder: Path, _end: int) -> int:
    """``promtool tsdb dump`` on the files, into a file."""
    promtool = os.environ["HARDWATT_BENCH_PROMTOOL"]
    with (folder / "promtool.txt").open("wb") as out:
        subprocess.run([promtool, "tsdb", "dump", str(folder / "data")], stdout=out, check=True)
    return -1


WAYS: dict[str, Callable[[str, Path, int], int]] = {
    "ours": ours,
    "ours, no answers": bare,
    "client": theirs,
    "curl": curl,
    "promtool": files,
}


def child(way: str, url: str, folder: Path, end: int) -> None:
    """Run one way in this process and print its seconds, samples and peak of memory."""
    started = time.monotonic()
    count = WAYS[way](url, folder, end)
    seconds = time.monotonic() - started
    own, below = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    mib = (below if way in ("curl", "promtool") else own).ru_maxrss / 1024
    cpu = sum(one.ru_utime + one.ru_stime for one in (own, below))
    told = {"seconds": round(seconds, 2), "samples": count, "peak_mib": round(mib), "cpu_seconds": round(cpu, 2)}
    print(json.dumps(told))


def cpu_seconds_of(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def timed(way: str, url: str, folder: Path, end: int) -> dict[str, float]:
    """Run one way in a process of its own."""
    words = [sys.executable, str(Path(__file__).resolve()), "--child", way, url, str(folder), str(end)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{way} ended with {done.returncode}: {done.stderr[-800:]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def measure(series: int, hours: float, ways: list[str]) -> None:
    """Plant, serve, and time each way."""
    from hardwatt.config.lab import open_lab
    from hardwatt.dump.replay import Programs

    programs = Programs.find(open_lab())
    os.environ["HARDWATT_BENCH_PROMTOOL"] = str(programs.promtool)
    with tempfile.TemporaryDirectory(prefix="hardwatt-bench-") as place:
        folder = Path(place)
        count = write_series(folder, programs.promtool, series, hours)
        with serving(folder, programs.prometheus) as (url, pid):
            for way in ways:
                before = cpu_seconds_of(pid)
                found = timed(way, url, folder, BEGIN + round(hours * 3600))
                found["server_cpu_seconds"] = round(cpu_seconds_of(pid) - before, 2)
                if found["samples"] not in (count, -1):
                    found["missing"] = count - found["samples"]
                rate = round(count / found["seconds"])
                print(json.dumps({"way": way, "series": series, "hours": hours, **found, "a_second": rate}), flush=True)


def main() -> None:
    """Compare the ways, then our memory at one, two and four times the length."""
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], sys.argv[3], Path(sys.argv[4]), int(sys.argv[5]))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=int, default=200)
    parser.add_argument("--hours", type=float, default=2.0)
    given = parser.parse_args()
    measure(given.series, given.hours, list(WAYS))
    for factor in (2, 4):
        measure(given.series, given.hours * factor, ["ours"])


if __name__ == "__main__":
    main()
