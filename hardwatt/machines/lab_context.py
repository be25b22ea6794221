"""Machine, endpoint and mirror index of a lab, each resolved once for a command."""

import dataclasses
from pathlib import Path

from hardwatt.config.lab import Lab
from hardwatt.connect.endpoint import Endpoint
from hardwatt.core.errors import LabError
from hardwatt.machines import choice
from hardwatt.machines.base import Machine
from hardwatt.machines.timeouts import RECORD
from hardwatt.mirror import fill
from hardwatt.mirror.index import Index


@dataclasses.dataclass
class _Resolved:
    """A machine as it was resolved, and the lab's record of it at that time."""

    record: bytes
    machine: Machine
    endpoint: Endpoint | None = None


class LabContext:
    """Machine, endpoint and mirror that a command resolves of its lab; each ``Lab`` object has one (``LabContext.of``).

    A value is kept as long as the file behind it: the lab's record of its machine, or the mirror's index. Whoever
    starts or destroys the machine or fills the mirror rewrites that file, in this process or in another, and the value
    is resolved again. The state of the machine and its link is never kept.
    """

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self._resolved: _Resolved | None = None
        self._index: tuple[tuple[int, ...], Index] | None = None

    @classmethod
    def of(cls, lab: Lab) -> "LabContext":
        """Return the context of a lab."""
        kept = lab.companions.get(cls)
        if not isinstance(kept, cls):
            kept = lab.companions[cls] = cls(lab)
        return kept

    @property
    def machine(self) -> Machine:
        """Return the lab's machine. Raises ``LabError`` if no kind fits."""
        return self._current().machine

    @property
    def endpoint(self) -> Endpoint:
        """Return the endpoint of the lab's machine. Raises ``LabError`` if there is no machine."""
        current = self._current()
        if current.endpoint is None:
            current.endpoint = current.machine.endpoint()
        return current.endpoint

    @property
    def index(self) -> Index:
        """Return the index of the lab's mirror, as its mode sees it (empty before the mirror is filled)."""
        version = _version(fill.mirror_root(self.lab) / "index.json")
        if self._index is None or self._index[0] != version:
            self._index = (version, fill.load(self.lab))
        return self._index[1]

    def reached(self) -> Machine:
        """Return the lab's machine, if requests to its node can reach it as far as this machine knows.

        Raises ``LabError`` naming the fault of machine or link; nothing is sent to the node.
        """
        machine = self.machine
        if reason := machine.obstacle():
            raise LabError(reason, hint="invoke lab.up")
        return machine

    def reached_endpoint(self) -> Endpoint:
        """Return the endpoint of the machine that ``reached`` returns; raises ``LabError`` as ``reached`` does."""
        self.reached()
        return self.endpoint

    def decide(self) -> Machine:
        """Return the lab's machine after trying KVM, if the choice depends on it and only a boot tells."""
        record = self._record()
        machine = choice.resolve_machine(self.lab)
        self._resolved = _Resolved(record, machine)
        return machine

    def start(self) -> Endpoint:
        """Start the lab's machine if it does not run; return its endpoint. Raises ``LabError``."""
        endpoint = self.machine.start()
        self._current().endpoint = endpoint  # a start may have made the record
        return endpoint

    def _current(self) -> _Resolved:
        record = self._record()
        if self._resolved is None or self._resolved.record != record:
            self._resolved = _Resolved(record, choice.machine_for(self.lab))
        return self._resolved

    def _record(self) -> bytes:
        try:
            return (self.lab.dir / RECORD).read_bytes()
        except FileNotFoundError:
            return b""


def _version(file: Path) -> tuple[int, ...]:
    """Return numbers that change when a file is replaced."""
    try:
        status = file.stat()
    except FileNotFoundError:
        return ()
    return (status.st_ino, status.st_mtime_ns, status.st_size)
