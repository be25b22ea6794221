"""Base of the two kinds of machine on this host: their state file, their endpoint, and the wait for a boot."""

import abc
import dataclasses
from pathlib import Path
from typing import Any

from hardwatt.config.lab import Lab
from hardwatt.connect import boot
from hardwatt.connect.endpoint import Endpoint
from hardwatt.core.errors import LabError, RefusedError
from hardwatt.core.files import write_json
from hardwatt.core.process import Process
from hardwatt.core.wait import wait
from hardwatt.machines import identity, timeouts
from hardwatt.machines.base import MachineStatus, ssh_argv, why_not


@dataclasses.dataclass(frozen=True)
class BootWait:
    """Limit of a boot, and the hint for a person if it does not end."""

    program: str
    """What runs the machine, as an error names it."""
    program_log: Path
    what: str
    timeout: float
    delay: float
    hint: str


@dataclasses.dataclass(frozen=True)
class LocalMachine(abc.ABC):
    """A machine on this host; its state is in the lab's ``machine.json``."""

    lab: Lab
    why: str = "lab.toml says so"
    kind: str = ""

    def endpoint(self) -> Endpoint:
        state = self._state()
        if not state.get("endpoint"):
            raise LabError(f"the lab {self.lab.name} has no machine", hint="invoke lab.machine.start")
        return Endpoint.from_dict(state["endpoint"])

    def obstacle(self) -> str:
        return why_not(self.status())

    def shell_argv(self) -> list[str]:
        return ssh_argv(self.endpoint())

    def status(self) -> MachineStatus:
        state = self._state()
        if not self._exists(state):
            return MachineStatus(self.lab.name, self.kind, "absent")
        address = self._address(state)
        if not state.get("process"):
            return MachineStatus(self.lab.name, self.kind, "stopped", address)
        process = Process.from_dict(state["process"])
        if process.alive():
            return MachineStatus(self.lab.name, self.kind, "running", address, state.get("accel", ""), pid=process.pid)
        return MachineStatus(self.lab.name, self.kind, "dead", address, self._why_dead)

    @property
    @abc.abstractmethod
    def _why_dead(self) -> str:
        """Return what a machine that should run and does not may have gone through."""

    @abc.abstractmethod
    def _exists(self, state: dict[str, Any]) -> bool:
        """Return True if the state is of a machine that was made."""

    @abc.abstractmethod
    def _address(self, state: dict[str, Any]) -> str:
        """Return where the machine is reached; empty: a start that was killed had not come so far."""

    @abc.abstractmethod
    def _boot_wait(self, state: dict[str, Any]) -> BootWait:
        """Return the limits of a boot."""

    @abc.abstractmethod
    def _boot_state(self, endpoint: Endpoint) -> str:
        """Return the state of a boot, as ``boot.booted`` reads it."""

    def _booted(self) -> Endpoint:
        """Return the endpoint of a machine that has booted to its end; a killed start did not wait for that."""
        endpoint, state = self.endpoint(), self._state()
        timeouts.apply(self.lab)  # only now the record says whether the processor is emulated
        if state.pop("booting", False):
            self._await(endpoint, state)
            write_json(self._file, state)
        return endpoint

    def _await(self, endpoint: Endpoint, state: dict[str, Any]) -> None:
        """Wait until the machine answers over SSH and has booted to its end."""
        process, limits = Process.from_dict(state["process"]), self._boot_wait(state)
        ended = f"{limits.program} ended; its log: {limits.program_log}"
        wait(
            lambda: self._boot_state(endpoint) if process.alive() else "ended",
            boot.booted,
            error=lambda state: ended if state == "ended" else None,
            what=limits.what,
            timeout=limits.timeout,
            delay=limits.delay,
            hint=limits.hint,
        )

    def _forget(self) -> None:
        """Remove the machine's host keys and its state file, which goes last."""
        for name in (identity.HOST_KEY, f"{identity.HOST_KEY}.pub"):
            (self.lab.keys / name).unlink(missing_ok=True)
        self._file.unlink(missing_ok=True)

    @property
    def _file(self) -> Path:
        return self.lab.dir / timeouts.RECORD

    @property
    def _folder(self) -> Path:
        return self.lab.dir / "machine"

    def _state(self) -> dict[str, Any]:
        state = timeouts.record(self.lab)
        if state and state["kind"] != self.kind:
            raise RefusedError(f"the lab {self.lab.name} has a machine of another kind: {state['kind']}",
                               hint="invoke lab.down first, with the settings that it was made with")  # fmt: skip
        return state
