"""Time and memory of ``hardwatt table`` for a million rows, beside pandas and scipy for the same answer.

    .venv/bin/python benchmarks/tables.py                   a million rows of two arms
    .venv/bin/python benchmarks/tables.py --pairs 20000     pairs, with --pair

Each way runs in a process of its own. pandas reads the file and scipy gives Welch's interval and the Mann-Whitney test
(of pairs: the paired t interval and Wilcoxon's test); ``hardwatt table`` gives these, the shift with its interval,
effect sizes, checks and the page. Prints one JSON object a line.
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


def write(path: Path, rows: int) -> None:
    """Write a table of two arms with *rows* rows, drawn from one seed."""
    import numpy as np

    rng = np.random.default_rng(20_220_924)
    values = np.exp(rng.normal(4, 0.3, (rows // 2, 2))) * (1, 1.01)
    with path.open("w") as file:
        file.write("pair,arm,joules\n")
        for pair, (old, new) in enumerate(values.tolist()):
            file.write(f"{pair},old,{old:.6f}\n{pair},new,{new:.6f}\n")


def pandas_and_scipy(path: Path, paired: bool) -> list[float]:
    """Return the interval and the p-value of the rank test."""
    import pandas
    from scipy import stats

    frame = pandas.read_csv(path)
    if paired:
        wide = frame.pivot(index="pair", columns="arm", values="joules")
        interval = stats.ttest_rel(wide["new"], wide["old"]).confidence_interval()
        return [interval.low, interval.high, float(stats.wilcoxon(wide["new"], wide["old"]).pvalue)]
    old, new = (frame.loc[frame["arm"] == arm, "joules"] for arm in ("old", "new"))
    interval = stats.ttest_ind(new, old, equal_var=False).confidence_interval()
    return [interval.low, interval.high, float(stats.mannwhitneyu(new, old).pvalue)]


def hardwatt_table(path: Path, paired: bool) -> list[float]:
    """Return the interval and the p-value of the rank test, as the page has them."""
    from hardwatt.cli.console import main

    words = ["table", str(path), "--output", str(path.parent / "out"), *(["--pair", "pair"] if paired else [])]
    if main(words):
        raise SystemExit("hardwatt table failed")
    results = json.loads((path.parent / "out" / "results.json").read_text())
    contrast = results["contrasts"][0]
    return [contrast["estimate"]["low"], contrast["estimate"]["high"], contrast["rank"]["value"]]


WAYS: dict[str, Callable[[Path, bool], list[float]]] = {
    "pandas and scipy": pandas_and_scipy,
    "hardwatt table": hardwatt_table,
}


def child(way: str, path: Path, paired: bool) -> None:
    """Run one way in this process; print its seconds, its peak of memory and its answer."""
    started = time.monotonic()
    answer = WAYS[way](path, paired)
    used = resource.getrusage(resource.RUSAGE_SELF)
    told = {"seconds": round(time.monotonic() - started, 1), "cpu_seconds": round(used.ru_utime + used.ru_stime, 1)}
    print(json.dumps({**told, "peak_mib": round(used.ru_maxrss / 1024), "answer": answer}))


def measure(rows: int, paired: bool) -> None:
    """Write the table and time every way on it."""
    with tempfile.TemporaryDirectory(prefix="hardwatt-bench-") as folder:
        path = Path(folder) / "runs.csv"
        write(path, rows)
        for way in WAYS:
            words = [sys.executable, str(Path(__file__).resolve()), "--child", way, str(path)]
            words += ["--paired"] if paired else []
            environment = {**os.environ, "OMP_NUM_THREADS": "2"}
            done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
            if done.returncode:
                raise SystemExit(f"{way} ended with {done.returncode}: {done.stderr[-800:]}")
            print(json.dumps({"way": way, "rows": rows, **json.loads(done.stdout.splitlines()[-1])}), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of the unpaired table (default: a million)")
    parser.add_argument("--pairs", type=int, help="pairs instead")
    parser.add_argument("--child", choices=list(WAYS), help=argparse.SUPPRESS)
    parser.add_argument("--paired", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("path", type=Path, nargs="?", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        child(given.child, given.path, given.paired)
    else:
        measure(2 * given.pairs if given.pairs else given.rows, bool(given.pairs))
