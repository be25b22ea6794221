"""Reads a bundle, and says which file is not what the manifest promised."""

import functools
import json
import os
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from hardwatt.bundle import recording_file, tables
from hardwatt.bundle.frames import pl
from hardwatt.bundle.manifest import READABLE, Manifest, Plan, parse
from hardwatt.bundle.model import Delivery, Edge, RawBody, Run
from hardwatt.bundle.places import file_entries, recording_name
from hardwatt.bundle.recording import Recording
from hardwatt.core.errors import VerifyError
from hardwatt.core.files import sha256
from hardwatt.core.untrusted import AGAIN, files_in, inside, mapping, read_json, show
from hardwatt.core.untrusted_packed import Packed

T = TypeVar("T")
FEW_ROWS, ROWS_PER_BYTE = 1_000_000, 100
"""Rows of a table that are always read, and per byte of a larger file; a constant counter takes one byte a row."""
ABANDONED = ".abandoned"
"""File in a bundle whose experiment was abandoned: nothing finishes it any more."""
_AGAIN = "copy the bundle again from where it was made"


class Bundle:
    """A finished bundle. Reads only files that its manifest lists, and only when they are asked for."""

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest

    @classmethod
    def open(cls, path: Path | str) -> "Bundle":
        """Open the folder ``path``; raise VerifyError where it is no finished bundle of a known schema."""
        folder = Path(path)
        file = folder / "manifest.json"
        if not folder.is_dir():
            raise VerifyError(f"there is no bundle at {folder}", hint="give the folder that holds manifest.json")
        if not os.path.lexists(file):
            unfinished = (folder / "plan.json").exists()
            text = "is not finished" if unfinished else "is not a bundle: it has no manifest.json"
            if (folder / ABANDONED).exists():
                text, unfinished = "was abandoned unfinished and is not analysed", False
            hint = "invoke experiment.resume" if unfinished else "give the folder of a finished bundle (manifest.json)"
            raise VerifyError(f"{folder} {text}", hint=hint)
        document = _json(file)
        version = document.get("schema_version") if isinstance(document, dict) else None
        if version not in READABLE:
            hint = "use the version of hardwatt that made it"
            raise VerifyError(
                f"{file} has schema version {show(version)}, this tool reads {' and '.join(map(str, READABLE))}",
                hint=hint,
            )
        return cls(folder, parse(Manifest, document, where=str(file)))

    @classmethod
    def of(cls, path: Path, manifest: Manifest, runs: list[Run]) -> "Bundle":
        """Return the bundle of a manifest that is not written yet, with these runs alone."""
        bundle = cls(path, manifest)
        bundle.__dict__["runs"] = runs
        return bundle

    def verify(self) -> tuple[str, ...]:
        """Compare every file with its checksum; return the files that no checksum covers (hidden ones and results/).

        Raise VerifyError that names each bad, missing or added file, and for links and devices.
        """
        unlisted = tuple(name for name in files_in(self.path) if not _covered(name))
        present = file_entries(self.path)
        listed = self.manifest.files
        problems = [f"{name}: missing" for name in listed if name not in present]
        problems += [f"{name}: not in the manifest" for name in present if name not in listed]
        for name, entry in listed.items():
            if name in present and present[name] != entry:
                problems.append(f"{name}: checksum {present[name].sha256[:12]}..., promised {entry.sha256[:12]}...")
        if problems:
            shown = "\n".join(f"  {line}" for line in sorted(problems)[:20])
            raise VerifyError(f"the bundle {self.path} is not as it was made:\n{shown}", hint=_AGAIN)
        if self.manifest.plan_sha256 != sha256(self.path / "plan.json"):
            raise VerifyError(f"{self.path / 'plan.json'} is not the plan that was hashed first", hint=_AGAIN)
        return unlisted

    @cached_property
    def plan(self) -> Plan:
        """The plan; keys of the study itself are in ``plan.model_extra``."""
        return parse(Plan, self.plan_as_stored, where=str(self.path / "plan.json"))

    @cached_property
    def plan_as_stored(self) -> dict[str, Any]:
        """The plan with every key that its file has, as the protocol's hash is made of it."""
        file = self._file("plan.json")
        return dict(mapping(_json(file), str(file)))

    @cached_property
    def runs(self) -> list[Run]:
        """Every run, in the order in which it was recorded."""
        return self._typed("runs.parquet", tables.runs_from)

    @cached_property
    def deliveries(self) -> list[Delivery]:
        """Every commit of every run."""
        return self._typed("deliveries.parquet", tables.deliveries_from)

    @cached_property
    def edges(self) -> list[Edge]:
        """The counters that were read directly at the edges."""
        names = [name for name in self.manifest.files if name.startswith("edges/")]
        return [_made(functools.partial(self._edge, name), name) for name in sorted(names)]

    def _edge(self, name: str) -> Edge:
        return Edge(**_json(self._file(name)))

    def recording(self, run_id: str) -> Recording | None:
        """Return what the node's recorder wrote around a run; None where the bundle has no record of it.

        Raise VerifyError where the file is damaged.
        """
        if run_id not in self.manifest.recordings:
            return None
        if run_id not in self._recordings:
            self._recordings[run_id] = recording_file.read(self._file(recording_name(run_id)))
        return self._recordings[run_id]

    @cached_property
    def _recordings(self) -> dict[str, Recording]:
        return {}

    @cached_property
    def series(self) -> dict[int, dict[str, str]]:
        """Series number -> labels, the metric name as ``__name__``."""
        return self._typed("series.parquet", lambda frame: {n: dict(json.loads(text)) for n, text in frame.iter_rows()})

    @cached_property
    def metrics(self) -> list[str]:
        """Metrics that were asked for, sorted; some may hold no samples."""
        names = {name.split("/")[1].removeprefix("metric=") for name in self._parts()}
        return sorted(names)

    def samples(self, metric: str, run_id: str | None = None) -> pl.LazyFrame:
        """Raw samples: series_id (u32), ts (int64 ms), value (f64), run_id (string).

        Sorted by (series_id, ts) within a part (a run has one, a long dump several). Empty where the metric was not
        asked for. Runs may overlap by their margins: choose ``run_id`` to integrate.
        """
        scans = [
            _scanned(self._file(name), tables.SAMPLES).with_columns(
                run_id=pl.lit(name.split("/")[2].removeprefix("run="))
            )
            for name in self._parts()
            if name.split("/")[1] == f"metric={metric}" and run_id in (None, name.split("/")[2].removeprefix("run="))
        ]
        if not scans:
            return pl.LazyFrame(schema=tables.SAMPLES | {"run_id": pl.String})
        return pl.concat(scans)

    def raw(self, run_id: str, metric: str) -> list[RawBody]:
        """The untouched answers of the API, in order; a long dump has them in parts."""
        parts = sorted(name for name in self.manifest.files if name.startswith(f"raw/{run_id}/{metric}."))
        bodies = []
        for name in parts or [f"raw/{run_id}/{metric}.json.gz"]:
            with Packed(self._file(name)) as packed:
                bodies += _made(functools.partial(_bodies, packed.stream()), name)
        return bodies

    def _parts(self) -> list[str]:
        return [name for name in self.manifest.files if name.startswith("samples/")]

    def _typed(self, name: str, make: Callable[[pl.DataFrame], T]) -> T:
        """Return what ``make`` makes of a table; raise VerifyError if the table has another shape."""
        path = self._file(name)
        return _made(lambda: make(_scanned(path).collect()), name)

    def _file(self, name: str) -> Path:
        if name not in self.manifest.files:
            raise VerifyError(f"the bundle {self.path} has no {name}", hint=_AGAIN)
        return inside(self.path, name, what=f"the bundle {self.path}")


def _scanned(path: Path, schema: Mapping[str, pl.DataType | type[pl.DataType]] | None = None) -> pl.LazyFrame:
    """Return a table that is read later; raise VerifyError if it is damaged or unpacks to far more than it takes."""
    frame = pl.scan_parquet(path)
    rows = int(_made(lambda: frame.select(pl.len()).collect().item(), path.name))
    if rows > max(FEW_ROWS, ROWS_PER_BYTE * path.stat().st_size):
        raise VerifyError(f"{path} has {path.stat().st_size} bytes and promises {rows} rows", hint=AGAIN)
    if schema and dict(frame.collect_schema()) != dict(schema):
        raise VerifyError(f"{path} does not have the columns {', '.join(schema)}", hint=AGAIN)
    return frame


def _made(make: Callable[[], T], name: str) -> T:
    """Return what ``make`` makes of a file of the bundle; raise VerifyError naming the file if it cannot."""
    try:
        return make()
    except (TypeError, ValueError, KeyError, RecursionError, pl.exceptions.PolarsError) as error:
        raise VerifyError(f"{name} of the bundle does not have the shape of its kind: {show(str(error))}",
                          hint=AGAIN) from None  # fmt: skip


def _covered(name: str) -> bool:
    """Return True if the manifest has to list a file."""
    first, *_ = parts = name.split("/")
    return name == "manifest.json" or not (first == "results" or any(part.startswith(".") for part in parts))


def _bodies(file: BinaryIO) -> list[RawBody]:
    """Return the answers in a file."""
    bodies = []
    while line := file.readline():
        bodies.append(_raw(json.loads(line), file))
    return bodies


def _raw(head: dict[str, Any], file: BinaryIO) -> RawBody:
    """Return one answer. Its body stands behind its line; in older bundles it is inside."""
    if "bytes" in head:
        count = head.pop("bytes")
        if type(count) is not int or count < 0:
            raise ValueError(f"a body has {show(count)} bytes")
        head["body"] = file.read(count).decode()
        file.readline()
    return RawBody(**head)


def _json(path: Path) -> Any:
    return read_json(path, what=str(path))
