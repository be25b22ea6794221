"""Arms swapped through a whole bundle: in names, tables, plan, logs and samples, as far as a forger likes to go."""

import gzip
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from hardwatt.bundle import draws, tables
from hardwatt.bundle.protocol import protocol_sha256, session_seed
from tests.analysis.faults import change_manifest, change_plan, runs, write_runs

OTHER = {"push": "pull", "pull": "push"}


def relabelled(path: Path, blocks: set[int], *, plan: bool) -> None:
    """Give each run of these blocks the other arm's name in the runs table, with *plan* in the plan too."""
    write_runs(path, [replace(run, arm=OTHER[run.arm]) if run.block in blocks else run for run in runs(path)])

    def change(document: dict[str, Any]) -> None:
        for row in document["runs"]:
            row["arm"] = OTHER[row["arm"]] if row["block"] in blocks else row["arm"]

    if plan:
        change_plan(path, change)


def renamed(path: Path, blocks: set[int]) -> None:
    """Swap the arms in every name that the bundle has for the runs of these blocks, too."""
    relabelled(path, blocks, plan=True)
    names = {run.run_id: f"{run.run_id[:-4]}{OTHER[run.run_id[-4:]]}" for run in runs(path) if run.block in blocks}
    _rename_files(path, names)
    _rename_texts(path, names)
    rows = [replace(run, run_id=names.get(run.run_id, run.run_id)) for run in runs(path)]
    write_runs(path, rows)
    deliveries = tables.deliveries_from(pl.read_parquet(path / "deliveries.parquet"))
    new = [replace(row, run_id=names.get(row.run_id, row.run_id), revision=_text(row.revision, names))
           for row in deliveries]  # fmt: skip
    tables.write_both(path / "deliveries", tables.deliveries_frame(new))


def _text(text: str, names: Mapping[str, str]) -> str:
    for old, new in names.items():
        text = text.replace(old, new)
    return text


def _rename_files(path: Path, names: Mapping[str, str]) -> None:
    for file in sorted(path.rglob("*"), key=lambda file: -len(file.parts)):
        if (new := _text(file.name, names)) != file.name:
            file.rename(file.with_name(new))


def _rename_texts(path: Path, names: Mapping[str, str]) -> None:
    for file in path.rglob("*.json"):
        file.write_text(_text(file.read_text(), names))
    for file in path.glob("raw/*/*.gz"):
        file.write_bytes(gzip.compress(_text(gzip.decompress(file.read_bytes()).decode(), names).encode(), mtime=0))
    file = path / "series.parquet"
    frame = pl.read_parquet(file)
    labels = [_text(text, names) for text in frame["labels"].to_list()]
    frame.with_columns(labels=pl.Series(labels, dtype=pl.String)).write_parquet(file)


def redrawn(path: Path) -> None:
    """Swap all arms in every name, and find a seed, and a session, that draw the swapped order; draw the rest anew."""
    renamed(path, {run.block for run in runs(path)})
    plan = json.loads((path / "plan.json").read_text())
    wanted = [(row["block"], row["position"], row["arm"]) for row in plan["runs"]]
    protocol, own_seed = protocol_sha256(plan), plan.get("session") is None
    for number in range(10_000):
        seed = number if own_seed else session_seed(protocol, number)
        order = draws.orders(plan.get("order", "randomised"), plan["arms"], wanted[-1][0], seed)
        drawn = [(block, place, arm) for block, arms in enumerate(order, 1) for place, arm in enumerate(arms)]
        if drawn == wanted:
            break
    assert drawn == wanted
    changes = {"seed": seed} if own_seed else {"seed": seed, "session": number}
    change_manifest(path, lambda manifest: manifest.update(changes))
    change_plan(path, lambda document: _draw(path, document, changes))


def _draw(path: Path, document: dict[str, Any], changes: Mapping[str, Any]) -> None:
    document.update(changes)
    timing, trace = document["definition"]["timing"], document["definition"]["trace"]
    counts = trace.get("commits_by_block") or [trace["commits"]]
    shape = counts, trace["first_seconds"], trace["spacing_seconds"], trace["jitter_seconds"]
    for row in document["runs"]:
        row["phase_seconds"] = draws.phase(row["block"], row["position"], timing["phase_seconds"], document["seed"])
        row["offsets"] = draws.offsets(row["block"], *shape, document["seed"])
        file = path / "log" / f"{row['run_id']}.json"
        log = json.loads(file.read_text())
        log["phase_seconds"] = row["phase_seconds"]
        for commit, offset in zip(log["commits"], row["offsets"], strict=True):
            commit["planned_seconds"] = offset
        file.write_text(json.dumps(log))


def other_keys(path: Path) -> None:
    """Swap the keys of all fetches."""
    keys = {"runner": "flux", "flux": "runner"}
    for file in path.glob("log/p*.json"):
        log = json.loads(file.read_text())
        for fetch in log["fetches"]:
            fetch["key"] = keys.get(fetch["key"], fetch["key"])
        file.write_text(json.dumps(log))


def redrawn_with_other_keys(path: Path) -> None:
    """Do both: what is left are the pods that used CPU time, and what Flux itself counted."""
    redrawn(path)
    other_keys(path)
