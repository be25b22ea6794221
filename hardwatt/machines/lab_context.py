"""Machine, endpoint and mirror index of a lab, each resolved once for a command."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

from hardwatt.config.lab import Lab
from hardwatt.config.settings import DEFAULT_SCRAPE_INTERVAL
from hardwatt.connect.endpoint import Endpoint
from hardwatt.core.errors import LabError
from hardwatt.machines import choice
from hardwatt.machines.base import Machine
from hardwatt.machines.timeouts import RECORD
from hardwatt.mirror import fill
from hardwatt.mirror.index import Index


@dataclasses.dataclass
class _Resolved:
    """A machine as it was resolved (or why none fits), and the lab's record of it at that time."""

    record: bytes
    machine: Machine | LabError
    endpoint: Endpoint | None = None


class LabContext:
    """Machine, endpoint and mirror that a command resolves of its lab; each ``Lab`` object has one (``LabContext.of``).

    A value is kept as long as the file behind it: the lab's record of its machine, or the mirror's index. Whoever
    starts or destroys the machine or fills the mirror rewrites that file, in this process or in another, and the value
    is resolved again. A failed choice is kept in the same way. The state of the machine and its link is never kept.
    """

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self._resolved: _Resolved | None = None
        self._indexes: dict[str, tuple[tuple[int, ...], Index]] = {}

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
        machine = self._current().machine
        if isinstance(machine, LabError):
            raise machine
        return machine

    @property
    def endpoint(self) -> Endpoint:
        """Return the endpoint of the lab's machine, with the scrape interval of lab.toml.

        Raises ``LabError`` if there is no machine.
        """
        current = self._current()
        if current.endpoint is None:
            current.endpoint = self._with_settings(self.machine.endpoint())
        return current.endpoint

    @property
    def index(self) -> Index:
        """Return the index of the lab's mirror, as its mode sees it (empty before the mirror is filled)."""
        return self._index("")

    @property
    def upstream_index(self) -> Index:
        """Return the index that the lab has with the mirror's mode ``upstream``, before anything is built."""
        return self._index("upstream")

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
        self._resolved = self._chosen(lambda: choice.resolve_machine(self.lab))
        return self.machine

    def start(self) -> Endpoint:
        """Start the lab's machine if it does not run; return its endpoint. Raises ``LabError``."""
        endpoint = self._with_settings(self.machine.start())
        self._current().endpoint = endpoint  # a start may have made the record
        return endpoint

    def _with_settings(self, endpoint: Endpoint) -> Endpoint:
        # A stored endpoint holds the interval of the day it was made: a lab that sets none has today's default.
        asked = self.lab.settings.prometheus.scrape_interval or DEFAULT_SCRAPE_INTERVAL
        return endpoint if endpoint.scrape_interval == asked else dataclasses.replace(endpoint, scrape_interval=asked)

    def _index(self, mode: str) -> Index:
        version = _version(fill.mirror_root(self.lab) / "index.json")
        kept = self._indexes.get(mode)
        if kept is None or kept[0] != version:
            kept = self._indexes[mode] = (version, fill.load(self.lab, mode=mode))
        return kept[1]

    def _current(self) -> _Resolved:
        if self._resolved is None or self._resolved.record != self._record():
            self._resolved = self._chosen(lambda: choice.machine_for(self.lab))
        return self._resolved

    def _chosen(self, choose: Callable[[], Machine]) -> _Resolved:
        record = self._record()
        try:
            return _Resolved(record, choose())
        except LabError as error:
            return _Resolved(record, error)

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
