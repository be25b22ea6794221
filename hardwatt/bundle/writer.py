"""Writes a bundle, run by run, so that a killed experiment goes on where it was."""

import gzip
import json
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from hardwatt.bundle import recording_file, tables
from hardwatt.bundle.frames import pl
from hardwatt.bundle.manifest import Manifest, Plan, parse, plan_sha256, plan_text
from hardwatt.bundle.model import (
    Block,
    Check,
    Delivery,
    Edge,
    Provenance,
    RawBody,
    Run,
    SeriesSamples,
    check_metric,
    check_run_id,
)
from hardwatt.bundle.places import file_entries, recording_name
from hardwatt.bundle.reader import Bundle
from hardwatt.core import state_files
from hardwatt.core.errors import RefusedError, VerifyError
from hardwatt.core.files import sha256, write_atomic, write_json

_STATE = ".unfinished.json"
INSIDE = Path(__file__).with_name("inside.md")
"""The README.md of every bundle."""


class Writer:
    """The one writer of a bundle. Every method leaves complete files behind, or the old ones.

    Made by ``Writer.create`` or, where an earlier process was killed, by ``Writer.open``.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._series = _load_series(path)
        self._seen: dict[tuple[tuple[str, str], ...], int] = {}

    @classmethod
    def create(cls, path: Path, plan: Mapping[str, Any], provenance: Provenance) -> "Writer":
        """Start a bundle in the new folder ``path``; the plan is stored before anything else.

        Raise RefusedError where the folder holds something already, VerifyError where the plan is not valid.
        """
        text = plan_text(plan)
        if path.exists() and any(path.iterdir()):
            raise RefusedError(f"{path} is not empty", hint="go on with Writer.open, or choose another folder")
        path.mkdir(parents=True, exist_ok=True)
        write_atomic(path / "plan.json", text)
        write_json(path / _STATE, _state(provenance))
        return cls(path)

    @classmethod
    def open(cls, path: Path, plan: Mapping[str, Any] | None = None) -> "Writer":
        """Open an unfinished bundle again. With ``plan``: raise RefusedError where it is another one."""
        if (path / "manifest.json").exists():
            raise RefusedError(f"the bundle {path} is finished and is not written again")
        if not (path / _STATE).exists() or not (path / "plan.json").exists():
            raise RefusedError(f"{path} is not an unfinished bundle", hint="start the experiment anew")
        if plan is not None and plan_sha256(plan) != sha256(path / "plan.json"):
            raise RefusedError(
                f"the bundle {path} belongs to another plan",
                hint="resume with the study and seed of that plan, or start a new bundle",
            )
        return cls(path)

    @property
    def runs(self) -> list[Run]:
        """The runs recorded so far."""
        file = self.path / "runs.parquet"
        return tables.runs_from(tables.read_parquet(file)) if file.exists() else []

    def add_run(self, run: Run) -> None:
        """Record a run. A run that is done is never replaced (RefusedError); a failed one may be."""
        others = [other for other in self.runs if other.run_id != run.run_id]
        if any(other.run_id == run.run_id and other.status == "done" and other != run for other in self.runs):
            raise RefusedError(f"run {run.run_id} is done and is not written again")
        tables.write_both(self.path / "runs", tables.runs_frame([*others, run]))

    def add_deliveries(self, run_id: str, deliveries: Iterable[Delivery]) -> None:
        """Record the commits of a run, in place of those that were recorded for it before."""
        rows = list(deliveries)
        if any(row.run_id != check_run_id(run_id) for row in rows):
            raise VerifyError(f"a delivery of another run was given for {run_id}")
        others = [row for row in self._deliveries() if row.run_id != run_id]
        tables.write_both(self.path / "deliveries", tables.deliveries_frame([*others, *rows]))

    def _deliveries(self) -> list[Delivery]:
        file = self.path / "deliveries.parquet"
        return tables.deliveries_from(tables.read_parquet(file)) if file.exists() else []

    def add_edge(self, edge: Edge) -> None:
        """Record the counters at one edge of a window."""
        write_json(self.path / "edges" / f"{edge.run_id}.{edge.edge}.json", asdict(edge) | {"values": {**edge.values}})

    def add_recording(self, run_id: str, lines: bytes) -> None:
        """Store what the node's recorder wrote around a run, as ``recording_file.cut`` returns it.

        Raise VerifyError where it is damaged.
        """
        name = f"{check_run_id(run_id)} of the recorder"
        recording_file.parse([(name, lines.splitlines(keepends=True))])
        write_atomic(self.path / recording_name(run_id), _small(lines))

    def add_raw(self, run_id: str, metric: str, bodies: Sequence[RawBody]) -> None:
        """Keep the untouched answers of the API, in order; see ``packed``."""
        target = self.path / "raw" / check_run_id(run_id) / f"{check_metric(metric)}.json.gz"
        write_atomic(target, packed(bodies))

    def add_samples(self, run_id: str, metric: str, samples: Sequence[SeriesSamples]) -> int:
        """Write the samples of one metric in one run; return how many there are.

        ``ts`` must be increasing within a series (VerifyError). No samples at all is a part with no rows, so
        that "asked for, and there was nothing" can be told from "never asked for".
        """
        frame = self._frame(Block.of(samples))
        target = self.path / "samples" / f"metric={check_metric(metric)}" / f"run={check_run_id(run_id)}"
        tables.write_parquet(target / "part.parquet", frame)
        return frame.height

    def add_part(
        self, run_id: str, metric: str, number: int, samples: Block, raw: bytes = b""
    ) -> tuple[int, list[Path]]:
        """Write one of several parts of a metric in one run, as long dumps do; return (samples, files).

        ``number`` orders the parts: give what grows with time. ``raw`` is ``packed`` answers. Parts must not share a
        sample. The same number again replaces.
        """
        frame = self._frame(samples)
        place = self.path / "samples" / f"metric={check_metric(metric)}" / f"run={check_run_id(run_id)}"
        files = [place / f"part-{number:015d}.parquet"]
        tables.write_parquet(files[0], frame)
        if raw:
            files.append(self.path / "raw" / run_id / f"{metric}.{number:015d}.json.gz")
            write_atomic(files[1], raw)
        return frame.height, files

    def _frame(self, block: Block) -> pl.DataFrame:
        ids = np.array(self._ids(block.labels), dtype=np.uint32)
        owner = block.owner
        # Within a series only: all of them at once, because there may be many and each short.
        bad = (np.diff(block.ts) <= 0) & (np.diff(owner) == 0)
        if bool(bad.any()):
            labels = block.labels[int(owner[:-1][bad][0])]
            raise VerifyError(f"samples of {dict(labels)} are not in increasing order of time")
        frame = pl.DataFrame({"series_id": ids[owner], "ts": block.ts, "value": block.values}, schema=tables.SAMPLES)
        return frame if bool((np.diff(ids.astype(np.int64)) > 0).all()) else frame.sort("series_id", "ts")

    def _ids(self, labels: Sequence[Mapping[str, str]]) -> list[int]:
        """Give every label set its number; the table of new ones is on disk before samples refer to it."""
        known = len(self._series)
        ids = [self._id(label_set) for label_set in labels]
        if len(self._series) > known or not (self.path / "series.parquet").exists():
            rows = {"series_id": list(self._series.values()), "labels": list(self._series)}
            tables.write_parquet(self.path / "series.parquet", pl.DataFrame(rows, schema=tables.SERIES))
        return ids

    def _id(self, labels: Mapping[str, str]) -> int:
        """Return the number of a label set. The same ones come with every part of a long dump."""
        quick = tuple(labels.items())
        number = self._seen.get(quick)
        if number is None:
            key = json.dumps(dict(labels), sort_keys=True)
            number = self._seen[quick] = self._series.setdefault(key, len(self._series))
        return number

    def discard(self, run_id: str) -> None:
        """Remove what was stored for a run that is not done: its raw answers, samples, edges, commits and row."""
        if any(run.run_id == check_run_id(run_id) and run.status == "done" for run in self.runs):
            raise RefusedError(f"run {run_id} is done and is not removed")
        shutil.rmtree(self.path / "raw" / run_id, ignore_errors=True)
        for folder in self.path.glob(f"samples/metric=*/run={run_id}"):
            shutil.rmtree(folder)
        for file in [*self.path.glob(f"edges/{run_id}.*.json"), self.path / recording_name(run_id)]:
            file.unlink(missing_ok=True)
        if any(row.run_id == run_id for row in self._deliveries()):
            self.add_deliveries(run_id, [])
        if any(run.run_id == run_id for run in self.runs):
            rest = [run for run in self.runs if run.run_id != run_id]
            tables.write_both(self.path / "runs", tables.runs_frame(rest))

    def add_checks(self, checks: Iterable[Check]) -> None:
        """Record checks of the host or of the rig; they go into the manifest."""
        state = self._unfinished()
        state["checks"] += [asdict(check) for check in checks]
        write_json(self.path / _STATE, state)

    def so_far(self, run: Run) -> Bundle:
        """Return the unfinished bundle with the failed runs and *run*, as the analysis reads it; nothing is written.

        Raise VerifyError where what is stored of the run is damaged.
        """
        document = self._unfinished() | {
            "plan_sha256": sha256(self.path / "plan.json"),
            "recordings": self._recorded(run.run_id),
            "files": {name: entry.model_dump() for name, entry in file_entries(self.path).items()},
        }
        failed = [other for other in self.runs if other.status == "failed"]
        return Bundle.of(self.path, parse(Manifest, document, where="manifest"), [*failed, run])

    def finish(self) -> Manifest:
        """Remove what killed attempts left, write manifest.json over every file, and return it.

        A bundle with no run that is done can be finished too: it holds what went wrong.
        """
        orphans = sorted(self._stored_runs() - {run.run_id for run in self.runs})
        for run_id in orphans:
            self.discard(run_id)
        for file in self.path.rglob(".*"):
            if file.is_file() and file.name != _STATE:  # half of a write that was killed
                file.unlink()
        self._ids([])
        if not (self.path / "runs.parquet").exists():
            tables.write_both(self.path / "runs", tables.runs_frame([]))
        if not (self.path / "deliveries.parquet").exists():
            tables.write_both(self.path / "deliveries", tables.deliveries_frame([]))
        recordings = self._recorded()
        write_atomic(self.path / "README.md", _inside(recorded=bool(recordings)))
        state = self._unfinished()
        document = state | {
            "plan_sha256": sha256(self.path / "plan.json"),
            "discarded": orphans,
            "recordings": recordings,
            "files": {name: entry.model_dump() for name, entry in file_entries(self.path).items()},
        }
        manifest = parse(Manifest, document, where="manifest")
        write_json(self.path / "manifest.json", manifest.model_dump())
        (self.path / _STATE).unlink()
        return manifest

    def _recorded(self, run_id: str = "*") -> dict[str, dict[str, Any]]:
        """Return run -> summary of its recording, of all runs or of one."""
        files = sorted(self.path.glob(recording_name(run_id)))
        return {file.name.removesuffix(".gz"): recording_file.read(file).summary() for file in files}

    def _unfinished(self) -> dict[str, Any]:
        """Return what the manifest will hold besides the files. Raises ``LabError`` if it is damaged."""
        file, then = self.path / _STATE, "invoke experiment.abandon"
        state = state_files.read(file, _checked, what="the start of a manifest,", then=then, keep=True)
        if state is None:
            raise VerifyError(f"{file} is missing", hint=then)
        return state

    def _stored_runs(self) -> set[str]:
        stored = {folder.name for folder in self.path.glob("raw/*")}
        stored |= {folder.name.removeprefix("run=") for folder in self.path.glob("samples/metric=*/run=*")}
        stored |= {file.name.rsplit(".", 2)[0] for file in self.path.glob("edges/*.json")}
        stored |= {file.name.removesuffix(".gz") for file in self.path.glob(recording_name("*"))}
        return stored | {row.run_id for row in self._deliveries()}


def _inside(*, recorded: bool) -> str:
    """Return what a bundle says of itself; the row of the recordings stands only where it has some."""
    text = INSIDE.read_text(encoding="utf-8")
    row = "| `recording/` | the primary record: what the node's recorder wrote around each window |\n"
    return text.replace("| `edges/` |", f"{row}| `edges/` |") if recorded else text


def packed(bodies: Iterable[RawBody], compress: Callable[[bytes], bytes] | None = None) -> bytes:
    """Return answers as they are stored, the same bytes every time.

    Each is a line of JSON (url, status, headers, bytes), then so many untouched bytes and a line end. ``compress``
    makes gzip of it; the default takes time for size.
    """
    parts = []
    for body in bodies:
        content = body.body.encode()
        head = {"url": body.url, "status": body.status, "headers": {**body.headers}, "bytes": len(content)}
        parts += [json.dumps(head, sort_keys=True).encode(), b"\n", content, b"\n"]
    return (compress or _small)(b"".join(parts))


def _small(data: bytes) -> bytes:
    return gzip.compress(data, compresslevel=6, mtime=0)


def _state(provenance: Provenance) -> dict[str, Any]:
    return {
        "tool": {"version": provenance.tool_version, "git_sha": provenance.git_sha, "dirty": provenance.dirty},
        "seed": provenance.seed,
        "source": provenance.source,
        "power_model": dict(provenance.power_model),
        "versions": dict(provenance.versions),
        "host": dict(provenance.host),
        "checks": [asdict(check) for check in provenance.checks],
        "protocol_sha256": provenance.protocol_sha256,
        "session": provenance.session,
    }


def _checked(value: Any) -> dict[str, Any]:
    state = state_files.mapping(value)
    state_files.entries(state["checks"])
    return state


def _load_series(path: Path) -> dict[str, int]:
    file = path / "series.parquet"
    if not file.exists():
        return {}
    frame = tables.read_parquet(file)
    return dict(zip(frame["labels"].to_list(), frame["series_id"].to_list(), strict=True))


def validate_plan(plan: Mapping[str, Any]) -> Plan:
    """Return the plan parsed; raise VerifyError that names every wrong key."""
    return parse(Plan, plan, where="plan")
