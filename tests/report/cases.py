"""Every kind of page that the package makes, by name: each is made in an empty folder and returns its HTML file."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from hardwatt.analysis import Columns, TableRequest
from hardwatt.bundle import draws
from hardwatt.bundle.model import Provenance, Run
from hardwatt.bundle.writer import Writer
from hardwatt.cli.console import SHIPPED
from hardwatt.report.render import comparison, report, table
from hardwatt.testing import synthetic_bundle
from hardwatt.testing.synthetic_bundle import Spec
from tests.report.realistic import STUDY, realistic


def quick(folder: Path) -> Path:
    return report(realistic(folder / "bundle", Spec(pairs=3)))


def full(folder: Path) -> Path:
    """Twenty pairs, one of which stands for a pair that failed and was repeated."""
    return report(realistic(folder / "bundle", Spec(pairs=20, effect=0.2), failed=True))


def failed(folder: Path) -> Path:
    """An experiment of which one run failed, its other arm is of no use, and the rest never ran."""
    rows = [
        {"run_id": f"p00{pair}-{place}-{arm}", "block": pair, "position": place, "arm": arm}
        for pair, order in enumerate(draws.orders("randomised", ("push", "pull"), 3, seed=3), 1)
        for place, arm in enumerate(order)
    ]
    primary = {"outcome": "node_cpu_seconds", "unit": "CPU-seconds", "estimator": "mean paired difference"}
    plan = {"study": "push-vs-pull", "seed": 3, "arms": ["push", "pull"], "window_seconds": 45, "primary": primary}
    plan |= {"definition": tomllib.loads(STUDY.read_text())}
    about = Provenance(seed=3, source="modelled", tool_version="0.1.0", git_sha="0" * 40, dirty=False)
    writer = Writer.create(folder / "bundle", plan | {"runs": rows}, about)
    reason = "the gate did not open in 60 s: node at 1.92 CPU-seconds per second, baseline 0.41"
    writer.add_run(Run("p001-1-push", 1, 1, "push", 0, "failed", reason, 5, 5))
    writer.finish()
    return report(folder / "bundle")


def shipped(folder: Path) -> Path:
    return report(SHIPPED, output=folder)


def three_arms(folder: Path) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(synthetic_bundle, "ARMS", ("push", "pull", "idle"))
        return report(realistic(folder / "bundle", Spec(pairs=7, window_seconds=30, commits=2), levels=(1, 10, 100)))


def compared(folder: Path) -> Path:
    made = [realistic(folder / name, Spec(pairs=3, seed=seed)) for seed, name in ((5, "one"), (6, "two"), (7, "three"))]
    return comparison(made, output=folder / "out")


def tabled(folder: Path) -> Path:
    """Three arms in two workloads, unpaired, with an excluded row and names of every length."""
    lines = ["version,workload,energy_J"]
    for run in range(9):
        for place, arm in enumerate(("old", "new", "a version with a rather long name: llama3.1:8b-instruct")):
            for level, workload in enumerate(("small", "large")):
                value = 100 * (level + 1) + 3 * place + (run * 7 + place * 5) % 11 / 3
                lines.append(f"{arm},{workload},{'' if run + place + level == 0 else round(value, 3)}")
    folder.mkdir(parents=True)
    (folder / "energy.csv").write_text("\n".join(lines) + "\n")
    return table(folder / "energy.csv", TableRequest(Columns(arm="version")), output=folder / "out")


def paired_table(folder: Path) -> Path:
    """Two arms in twelve pairs with a declared run order."""
    lines = ["pair,arm,value,place"]
    for pair in range(12):
        first, second = ("push", "pull") if pair % 2 else ("pull", "push")
        wobble = (pair * 7 % 5 - 2) / 10
        lines += [f"{pair},{first},{100 + wobble},{2 * pair}", f"{pair},{second},{115 - wobble},{2 * pair + 1}"]
    folder.mkdir(parents=True)
    (folder / "pairs.csv").write_text("\n".join(lines) + "\n")
    asked = TableRequest(Columns(pair="pair"), unit="J", order="place", margin=30)
    return table(folder / "pairs.csv", asked, output=folder / "out")


CASES: dict[str, Callable[[Path], Path]] = {
    "quick": quick,
    "full": full,
    "failed": failed,
    "shipped": shipped,
    "three-arms": three_arms,
    "compared": compared,
    "table": tabled,
    "paired-table": paired_table,
}
