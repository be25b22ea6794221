"""How long the analysis of a large bundle takes and how much memory, beside a plain scan of the same files by duckdb.

    .venv/bin/python benchmarks/analysis.py                 100 million samples (about 1 GB in the temporary folder)
    .venv/bin/python benchmarks/analysis.py --windows 6     the same samples in few long windows: each has 17 million

The bundle is synthetic: pairs of windows of a node with some thousand pods, each counter scraped every second. It has
no raw answers, so that both read the same files. Each way runs in a process of its own with two threads, first to warm
the cache of files, then --repeats times, of which the fastest counts. Prints one JSON object a line.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

THREADS = 2
PODS = 4000
MARGINS = 24
"""Seconds that are sampled around a window, both sides together."""


def scan(bundle: Path) -> int:
    """Scan every sample once with duckdb: count, sum of the values, first and last time."""
    import duckdb

    with duckdb.connect(config={"threads": THREADS}) as database:
        files = f"{bundle}/samples/**/*.parquet"
        question = "SELECT count(*), sum(value), min(ts), max(ts), max(series_id) FROM read_parquet(?)"
        row = database.execute(question, [files]).fetchone()
    if row is None:
        raise SystemExit("duckdb gave no answer")
    return int(row[0])


def report(bundle: Path) -> int:
    """Verify, analyse and report the bundle, as ``hardwatt report`` does."""
    from hardwatt.cli.console import main

    return main(["report", str(bundle)])


WAYS: dict[str, Callable[[Path], int]] = {"duckdb scan": scan, "hardwatt report": report}


def child(way: str, bundle: Path) -> None:
    """Run one way in this process; print its seconds and its peak of memory."""
    started = time.monotonic()
    answer = WAYS[way](bundle)
    told = {"seconds": round(time.monotonic() - started, 2), "answer": answer}
    used = resource.getrusage(resource.RUSAGE_SELF)
    told["cpu_seconds"] = round(used.ru_utime + used.ru_stime, 1)
    told["peak_mib"] = round(used.ru_maxrss / 1024)
    print(json.dumps(told))


def timed(way: str, bundle: Path, repeats: int) -> dict[str, float]:
    """Run one way several times, each in a process of its own, and return the fastest but the first."""
    words = [sys.executable, str(Path(__file__).resolve()), "--child", way, str(bundle)]
    environment = {**os.environ, "POLARS_MAX_THREADS": str(THREADS), "OMP_NUM_THREADS": str(THREADS)}
    found = []
    for _ in range(1 + repeats):
        done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
        if done.returncode:
            raise SystemExit(f"{way} ended with {done.returncode}: {done.stderr[-800:]}")
        found.append(json.loads(done.stdout.splitlines()[-1]))
    return min(found[1:] or found, key=lambda one: float(one["seconds"]))


def measure(samples: int, windows: int, repeats: int) -> None:
    """Make the bundle and time both ways on it."""
    from hardwatt.testing.synthetic_bundle import Spec, make_bundle

    seconds = round(samples / windows / PODS) - MARGINS
    spec = Spec(pairs=windows // 2, commits=20, window_seconds=float(seconds), pods=PODS)
    with tempfile.TemporaryDirectory(prefix="hardwatt-bench-") as place:
        started = time.monotonic()
        bundle = make_bundle(Path(place) / "bundle", spec).path
        size = sum(file.stat().st_size for file in bundle.rglob("*.parquet"))
        made = {"windows": windows, "window_seconds": seconds, "series": PODS, "megabytes": round(size / 1e6)}
        print(json.dumps({"way": "made", **made, "seconds": round(time.monotonic() - started, 1)}), flush=True)
        for way in WAYS:
            print(json.dumps({"way": way, **timed(way, bundle, repeats)}), flush=True)


def main() -> None:
    """Read the command line and measure, or run one way as a child."""
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], Path(sys.argv[3]))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=100_000_000)
    parser.add_argument("--windows", type=int, default=40, help="two a pair")
    parser.add_argument("--repeats", type=int, default=3, help="0: the first run counts")
    given = parser.parse_args()
    measure(given.samples, given.windows, given.repeats)


if __name__ == "__main__":
    main()
