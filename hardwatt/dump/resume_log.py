"""Which stretches of a dump are on disk, each with the checksums of its files, so that a killed dump goes on."""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hardwatt.core.errors import RefusedError
from hardwatt.core.files import sha256, sync_folder, write_atomic
from hardwatt.dump.stretches import Stretch


@dataclass(frozen=True)
class Done:
    """One stretch [begin, end] (ms) of one metric; ``files`` maps a path inside the bundle to its SHA-256."""

    metric: str
    begin: int
    end: int
    series: int
    samples: int
    files: Mapping[str, str]


class ResumeLog:
    """A file of lines: what the dump is, then one line for each stretch that is done. Used by one thread."""

    def __init__(self, path: Path, job: Mapping[str, Any]) -> None:
        """Open or start the ledger beside the files of a bundle's folder.

        A stretch counts only if its files are there with their checksums; the files of others are removed.
        Raise RefusedError where the ledger belongs to another ``job``.
        """
        self.path = path
        head, done = _read(path)
        if head is not None and head != json.loads(json.dumps(job)):
            raise RefusedError(
                f"{path.parent} holds another dump that was not finished",
                hint="give the same selectors, start and end to go on with it, or another --out",
            )
        self.done = [part for part in done if _whole(path.parent, part)]
        self.rejected = len(done) - len(self.done)
        for part in done:
            if part not in self.done:
                for name in part.files:
                    (path.parent / name).unlink(missing_ok=True)
        lines = [json.dumps(job), *(json.dumps(asdict(part)) for part in self.done)]
        write_atomic(path, "\n".join(lines) + "\n")
        sync_folder(path.parent)

    def sweep(self, run_id: str) -> None:
        """Remove parts of a run that no line tells of: they were written just before a kill.

        Their stretch is fetched again, perhaps cut in another way, and a sample must not be there twice.
        """
        folder = self.path.parent
        told = {name for part in self.done for name in part.files}
        for file in (*folder.glob(f"samples/metric=*/run={run_id}/*"), *folder.glob(f"raw/{run_id}/*")):
            if file.relative_to(folder).as_posix() not in told:
                file.unlink()

    def add(self, metric: str, stretch: Stretch, series: int, samples: int, files: Iterable[Path]) -> Done:
        """Record a stretch whose files are written; the line is on disk when this returns."""
        sums = {file.relative_to(self.path.parent).as_posix(): sha256(file) for file in files}
        part = Done(metric, *stretch, series, samples, sums)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(part)) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self.done.append(part)
        return part

    def left(self, metric: str, begin: int, end: int) -> list[Stretch]:
        """Return what of [begin, end] is not done yet, in order."""
        gaps, at = [], begin
        for part in sorted((part for part in self.done if part.metric == metric), key=lambda part: part.begin):
            if part.begin > at:
                gaps.append((at, part.begin - 1))
            at = max(at, part.end + 1)
        return [*gaps, (at, end)] if at <= end else gaps


def _read(path: Path) -> tuple[Any, list[Done]]:
    """Return the job and the stretches; a line that was cut off in the middle ends them."""
    if not path.exists():
        return None, []
    head, done = None, []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines()):
        try:
            document = json.loads(line)
        except ValueError:
            break
        if number == 0:
            head = document
        else:
            done.append(Done(**document))
    return head, done


def _whole(folder: Path, part: Done) -> bool:
    return all((folder / name).exists() and sha256(folder / name) == value for name, value in part.files.items())
