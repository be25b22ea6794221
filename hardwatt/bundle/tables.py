"""The small tables of a bundle: dataclasses to polars frames and back, with a CSV twin for people."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from hardwatt.bundle.frames import pl
from hardwatt.bundle.model import Delivery, Run
from hardwatt.core.errors import VerifyError
from hardwatt.core.files import sync_folder, write_atomic

RUNS = {
    "run_id": pl.String,
    "block": pl.Int64,
    "position": pl.Int64,
    "arm": pl.String,
    "repeat": pl.Int64,
    "status": pl.String,
    "reason": pl.String,
    "t0_ms": pl.Int64,
    "t1_ms": pl.Int64,
    "flags": pl.String,
    "commits": pl.Int64,
    "ready": pl.Int64,
}
DELIVERIES = {
    "run_id": pl.String,
    "index": pl.Int64,
    "revision": pl.String,
    "committed_ms": pl.Int64,
    "ready_ms": pl.Int64,
    "status": pl.String,
}
SERIES = {"series_id": pl.UInt32, "labels": pl.String}
SAMPLES = {"series_id": pl.UInt32, "ts": pl.Int64, "value": pl.Float64}


def runs_frame(runs: Iterable[Run]) -> pl.DataFrame:
    """One row a run, flags joined by semicolons, in the order in which they were given."""
    rows = [vars(run) | {"flags": ";".join(run.flags)} for run in runs]
    return pl.DataFrame(rows, schema=RUNS)


def runs_from(frame: pl.DataFrame) -> list[Run]:
    """Undo ``runs_frame``."""
    return [Run(**row | {"flags": _flags(row)}) for row in frame.iter_rows(named=True)]


def _flags(row: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(row["flags"].split(";")) if row["flags"] else ()


def deliveries_frame(deliveries: Iterable[Delivery]) -> pl.DataFrame:
    """One row a commit, ready_ms null where it never became Ready."""
    return pl.DataFrame([vars(delivery) for delivery in deliveries], schema=DELIVERIES)


def deliveries_from(frame: pl.DataFrame) -> list[Delivery]:
    """Undo ``deliveries_frame``."""
    return [Delivery(**row) for row in frame.iter_rows(named=True)]


def read_parquet(path: Path) -> pl.DataFrame:
    """Return a table of an unfinished bundle. Raises ``VerifyError`` if the file is damaged."""
    try:
        return pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise VerifyError(f"{path} of an unfinished bundle is damaged: {str(error).splitlines()[0]}",
                          hint="invoke experiment.abandon; the bundle stays as it is") from None  # fmt: skip


def write_parquet(path: Path, frame: pl.DataFrame) -> None:
    """Write one row group, zstd, atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    frame.write_parquet(part, compression="zstd", row_group_size=max(1, frame.height))
    part.replace(path)
    sync_folder(path.parent)


def write_both(stem: Path, frame: pl.DataFrame) -> None:
    """Write ``stem``.parquet, which is read again, and ``stem``.csv, which people read."""
    write_parquet(stem.with_suffix(".parquet"), frame)
    write_atomic(stem.with_suffix(".csv"), frame.write_csv())
