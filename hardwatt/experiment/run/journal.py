"""The journal of a lab's experiment: ``.lab/NAME/experiment.json``.

It points at the unfinished bundle, names the run that is under way, and holds what an arm switched
off (before it was switched off). Runs that ended are in the bundle itself. Every change is on disk
before the method returns.
"""

import dataclasses
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hardwatt.cluster.changes import Undo
from hardwatt.core import former_names, state_files
from hardwatt.core.files import write_json

SCHEMA = 1
JOURNAL = "experiment.json"
RUNNING, FINISHED, ABANDONED = "running", "finished", "abandoned"


@dataclasses.dataclass(frozen=True)
class ExperimentState:
    """State of an experiment, as the journal holds it."""

    study: str
    seed: int
    pairs: int
    plan_sha256: str
    bundle: str
    """Folder of the bundle."""
    versions: Mapping[str, str]
    size: str = "quick"
    """``quick`` or ``full``."""
    state: str = RUNNING
    current: str = ""
    """The run under way."""
    doing: str = ""
    """What of it, in words for ``experiment.status``."""
    since: float = 0.0
    """Since when, in seconds since 1970 by the controller's clock."""
    left_seconds: float = 0.0
    """Time that the rest took at that moment."""
    undo: tuple[Undo, ...] = ()
    session: int | None = None
    """Number of the session; None in a journal of a time before sessions."""
    protocol: str = ""
    """File of the protocol that the experiment was started from; empty: a study of the checkout."""

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "ExperimentState":
        fields = {key: value for key, value in data.items() if key != "schema"}
        fields["versions"] = former_names.translated(fields["versions"], former_names.VERSIONS)
        undo = tuple(Undo.from_dict(item) for item in fields["undo"])
        return state_files.typed(cls, {**fields, "undo": undo})


class Journal:
    """The file, and its last written state. One process writes it: the one that holds the lab's lock."""

    def __init__(self, path: Path, state: ExperimentState) -> None:
        self.path = path
        self.state = state

    @classmethod
    def load(cls, path: Path) -> "Journal | None":
        """Return the journal, or None where no experiment was ever run."""
        what = "the journal of the lab's experiment (its runs are in their bundle, which stays),"
        state = state_files.read(path, ExperimentState.from_dict, what=what, then="invoke lab.up", schema=SCHEMA)
        return None if state is None else cls(path, state)

    @classmethod
    def start(cls, path: Path, state: ExperimentState) -> "Journal":
        """Begin the journal of a new experiment, in place of an ended one's."""
        journal = cls(path, state)
        journal._write(state)
        return journal

    def begin(self, run_id: str) -> None:
        """Note that a run starts."""
        self._write(dataclasses.replace(self.state, current=run_id, doing="starts"))

    def note(self, doing: str, left_seconds: float) -> None:
        """Note what is being done, for people who look from another terminal."""
        now = round(time.time(), 1)
        self._write(dataclasses.replace(self.state, doing=doing, since=now, left_seconds=round(left_seconds)))

    def end(self) -> None:
        """Note that the run under way is recorded in the bundle."""
        self._write(dataclasses.replace(self.state, current="", doing=""))

    def close(self, state: str) -> None:
        """Note that the experiment is over: ``finished`` or ``abandoned``."""
        self._write(dataclasses.replace(self.state, state=state, current="", doing="", left_seconds=0.0))

    def push(self, undo: Undo) -> None:
        """Note what is to be put back, before it is changed."""
        self._write(dataclasses.replace(self.state, undo=(*self.state.undo, undo)))

    def pop(self, undo: Undo) -> None:
        """Note that it was put back."""
        entries = list(self.state.undo)
        for index in range(len(entries) - 1, -1, -1):
            if entries[index] == undo:
                del entries[index]
                break
        self._write(dataclasses.replace(self.state, undo=tuple(entries)))

    def _write(self, state: ExperimentState) -> None:
        write_json(self.path, {"schema": SCHEMA, **dataclasses.asdict(state)})
        self.state = state
