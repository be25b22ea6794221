"""Faults on copies of a bundle, checksums renewed: what a careful stranger, or a careless copy, could hand over."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from hardwatt.bundle import tables
from hardwatt.bundle.model import Run
from hardwatt.bundle.places import file_entries
from hardwatt.core.files import sha256
from hardwatt.instruments.node import CPU
from hardwatt.instruments.readings import READ_AT

Fault = Callable[[Path], None]


def spoilt(bundle: Path, folder: Path, fault: Fault) -> Path:
    """Return a copy of *bundle* with the fault, and with every checksum as if it had been made so."""
    copy = folder / "bundle"
    shutil.copytree(bundle, copy)
    fault(copy)
    file = copy / "manifest.json"
    manifest = json.loads(file.read_text())
    manifest["files"] = {name: entry.model_dump() for name, entry in file_entries(copy).items()}
    manifest["plan_sha256"] = sha256(copy / "plan.json")
    file.write_text(json.dumps(manifest))
    return copy


def runs(path: Path) -> list[Run]:
    return tables.runs_from(pl.read_parquet(path / "runs.parquet"))


def write_runs(path: Path, rows: list[Run]) -> None:
    tables.write_both(path / "runs", tables.runs_frame(rows))


def change_run(path: Path, number: int, **changes: Any) -> None:
    rows = runs(path)
    rows[number] = replace(rows[number], **changes)
    write_runs(path, rows)


def samples_file(path: Path, run_id: str, metric: str = CPU) -> Path:
    return next((path / "samples" / f"metric={metric}" / f"run={run_id}").glob("*.parquet"))


def change_samples(
    path: Path, number: int, change: Callable[[pl.DataFrame, Run], pl.DataFrame], metric: str = CPU
) -> None:
    run = runs(path)[number]
    file = samples_file(path, run.run_id, metric)
    frame = pl.read_parquet(file)
    change(frame, run).cast(frame.schema).sort("series_id", "ts").write_parquet(file)


def change_json(file: Path, change: Callable[[dict[str, Any]], None]) -> None:
    document = json.loads(file.read_text())
    change(document)
    file.write_text(json.dumps(document, indent=2, sort_keys=True))


def change_edge(path: Path, number: int, edge: str, change: Callable[[dict[str, Any]], None]) -> None:
    change_json(path / "edges" / f"{runs(path)[number].run_id}.{edge}.json", change)


def change_plan(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    change_json(path / "plan.json", change)


def change_manifest(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    change_json(path / "manifest.json", change)


def inside(run: Run, seconds: float) -> int:
    return run.t0_ms + round(1000 * seconds)


def later(name: str, by: float) -> Callable[[dict[str, Any]], None]:
    """Shift one reading of an edge."""

    def change(edge: dict[str, Any]) -> None:
        edge["values"][name] += by

    return change


def times(name: str, factor: float) -> Callable[[dict[str, Any]], None]:
    def change(edge: dict[str, Any]) -> None:
        edge["values"][name] *= factor

    return change


def all_of_edge_later(edge: dict[str, Any]) -> None:
    """The whole reading of an edge 0.7 s later: by the node's clock, the controller's, and the meter's."""
    for name in ("node_ms", "requested_ms", "replied_ms"):
        edge[name] += 700
    for name in edge["values"]:
        if "read_timestamp_seconds" in name:
            edge["values"][name] += 0.7


def copy_run(path: Path, source: Path, own: str, given: str) -> None:
    """Copy whatever is stored of a run under another name, or from another bundle."""
    for folder in source.glob(f"samples/metric=*/run={own}"):
        target = path / "samples" / folder.parent.name / f"run={given}"
        shutil.copytree(folder, target, dirs_exist_ok=True)
    for edge in source.glob(f"edges/{own}.*.json"):
        document = json.loads(edge.read_text()) | {"run_id": given}
        (path / "edges" / edge.name.replace(own, given)).write_text(json.dumps(document))
    if (log := source / "log" / f"{own}.json").exists():
        (path / "log" / f"{given}.json").write_text(log.read_text())


def fourth_block(path: Path, *, planned: bool, later_ms: int = 0, named: Mapping[str, Any] | None = None) -> None:
    """The first pair again as a block of its own, in all tables; with *planned* in the plan too."""
    rows = runs(path)
    pair = [row for row in rows if row.block == rows[0].block]
    block = max(row.block for row in rows) + 1
    for row in pair:
        again = f"p{block:03d}-{row.position + 1}-{row.arm}"
        copy_run(path, path, row.run_id, again)
        moved = {"t0_ms": row.t0_ms + later_ms, "t1_ms": row.t1_ms + later_ms, **(named or {})}
        rows.append(replace(row, run_id=again, block=block, **moved))
        deliveries = tables.deliveries_from(pl.read_parquet(path / "deliveries.parquet"))
        own = [
            replace(
                d, run_id=again, revision=d.revision.replace(row.run_id, again), committed_ms=d.committed_ms + later_ms
            )
            for d in deliveries
            if d.run_id == row.run_id
        ]
        tables.write_both(path / "deliveries", tables.deliveries_frame([*deliveries, *own]))
        if later_ms:
            _later(path, again, later_ms)
    write_runs(path, rows)
    if planned:
        change_plan(path, lambda plan: plan["runs"].extend(_planned(plan, pair, block)))


def _planned(plan: dict[str, Any], pair: list[Run], block: int) -> list[dict[str, Any]]:
    by_id = {row["run_id"]: row for row in plan["runs"]}
    return [
        {**by_id[row.run_id], "run_id": f"p{block:03d}-{row.position + 1}-{row.arm}", "block": block} for row in pair
    ]


def _later(path: Path, run_id: str, by_ms: int) -> None:
    for folder in path.glob(f"samples/metric=*/run={run_id}"):
        for file in folder.glob("*.parquet"):
            frame = pl.read_parquet(file).with_columns(ts=pl.col("ts") + by_ms)
            if folder.parent.name == f"metric={READ_AT}":
                frame = frame.with_columns(value=pl.col("value") + by_ms / 1000)
            frame.write_parquet(file)
    for edge in path.glob(f"edges/{run_id}.*.json"):
        document = json.loads(edge.read_text())
        for name in ("node_ms", "requested_ms", "replied_ms"):
            document[name] += by_ms
        document["values"] = {
            name: value + (by_ms / 1000 if "read_timestamp_seconds" in name else 0)
            for name, value in document["values"].items()
        }
        edge.write_text(json.dumps(document))
