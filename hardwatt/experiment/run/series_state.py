"""The journal of a series of sessions: ``.lab/NAME/series.json``.

It holds the numbers of all sessions from the start, and of each how far it got. The session under way has the
experiment's own journal (``hardwatt.experiment.run.journal``). Every change is on disk before a method returns.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hardwatt.config.lab import Lab
from hardwatt.core import state_files
from hardwatt.core.files import write_json

SCHEMA, FILE = 1, "series.json"
CLUSTER, REBOOT, NOTHING = KINDS = ("cluster", "reboot", "nothing")
"""Preparation of the lab between two sessions."""
WAITING, BETWEEN, RUNNING, DONE, FAILED, ABANDONED = STATES = (
    "waiting", "between", "running", "done", "failed", "abandoned",
)  # fmt: skip
"""``between``: what comes before the session was begun. ``running``: it was done, and the session may have begun."""
ENDED = (DONE, FAILED, ABANDONED)
FINISHED = "finished"


@dataclasses.dataclass(frozen=True)
class Place:
    """The place of a session in its series."""

    number: int
    """From 1."""
    of: int
    before: str
    """Change of the lab before it, in words; its manifest holds them."""
    later_seconds: float
    """Estimate for the sessions after it and what comes between them."""

    def __str__(self) -> str:
        return f"session {self.number} of {self.of}"


@dataclasses.dataclass(frozen=True)
class SessionState:
    """One session of a series."""

    number: int
    """Number of the session; its draws follow from it and the protocol."""
    state: str = WAITING
    before: str = ""
    """Change of the lab before it, in words."""
    before_seconds: float = 0.0
    bundle: str = ""
    """Its bundle, once it has ended."""
    reason: str = ""
    """Reason of its failure."""

    def __post_init__(self) -> None:
        if self.state not in STATES:
            raise ValueError(f"session {self.number} has the unknown state {self.state!r}")


@dataclasses.dataclass(frozen=True)
class SeriesState:
    """A series, as its journal holds it."""

    study: str
    asked: Mapping[str, str]
    """Options of the command, by name, as they were given; the same command resumes the series."""
    command: str
    between: str
    protocol: str
    """File of the protocol that all sessions are run from."""
    protocol_sha256: str
    session_seconds: float
    """Estimate for one session."""
    sessions: tuple[SessionState, ...]
    state: str = RUNNING
    """``running``, ``finished`` or ``abandoned``."""

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "SeriesState":
        fields = {key: value for key, value in state_files.mapping(data).items() if key != "schema"}
        sessions = tuple(state_files.typed(SessionState, item) for item in state_files.entries(fields["sessions"]))
        state = state_files.typed(cls, {**fields, "sessions": sessions})
        if len({session.number for session in sessions}) < len(sessions):
            raise ValueError("a session is listed twice")
        return state

    @property
    def folder(self) -> Path:
        """Folder of what belongs to all sessions."""
        return Path(self.protocol).parent

    def bundles(self, state: str = DONE) -> list[Path]:
        """Return the bundles of the sessions in a state."""
        return [Path(session.bundle) for session in self.sessions if session.state == state and session.bundle]

    @property
    def place(self) -> int:
        """Index of the first session that has not ended; their number where all have."""
        states = [session.state in ENDED for session in self.sessions]
        return states.index(False) if False in states else len(states)


class SeriesJournal:
    """The file, and its last written state. One process writes it: the one that holds the lab's lock."""

    def __init__(self, path: Path, state: SeriesState) -> None:
        self.path, self.state = path, state

    @classmethod
    def load(cls, lab: Lab) -> "SeriesJournal | None":
        """Return the journal of the lab's last series, or None where there was none."""
        what = "the journal of the lab's sessions (their bundles stay),"
        path = lab.dir / FILE
        state = state_files.read(
            path, SeriesState.from_dict, what=what, then="invoke experiment.status", schema=SCHEMA
        )  # fmt: skip
        return None if state is None else cls(path, state)

    @classmethod
    def start(cls, lab: Lab, state: SeriesState) -> "SeriesJournal":
        """Begin the journal of a new series, in place of an ended one's."""
        journal = cls(lab.dir / FILE, state)
        journal._write(state)
        return journal

    @property
    def unfinished(self) -> bool:
        """Return True if the series goes on with the next command."""
        return self.state.state == RUNNING

    def note(self, index: int, **changes: Any) -> None:
        """Change the entry of one session."""
        sessions = list(self.state.sessions)
        sessions[index] = dataclasses.replace(sessions[index], **changes)
        self._write(dataclasses.replace(self.state, sessions=tuple(sessions)))

    def close(self, state: str) -> None:
        """Note that the series is over: ``finished`` or ``abandoned``."""
        self._write(dataclasses.replace(self.state, state=state))

    def _write(self, state: SeriesState) -> None:
        write_json(self.path, {"schema": SCHEMA, **dataclasses.asdict(state), "asked": dict(state.asked)})
        self.state = state


def unfinished(lab: Lab) -> SeriesJournal | None:
    """Return the journal of a series that was not finished or abandoned; None: there is none."""
    journal = SeriesJournal.load(lab)
    return journal if journal is not None and journal.unfinished else None
