"""The virtual machine by QEMU: not there yet, and says so."""

import dataclasses
from typing import NoReturn

from hardwatt.errors import LabError
from hardwatt.lab import Lab
from hardwatt.machines.base import Status


@dataclasses.dataclass(frozen=True)
class VmMachine:
    """Refuses everything but ``status``."""

    lab: Lab
    why: str = "lab.toml says so"
    kind: str = "vm"

    def _refuse(self) -> NoReturn:
        raise LabError(
            "this version makes no virtual machines yet",
            hint='set machine = "embedded" (Linux with root) or machine = "ssh" with a [host] in lab.toml',
        )

    def start(self) -> NoReturn:
        self._refuse()

    def stop(self) -> None:
        """There is nothing that could run."""

    def destroy(self) -> None:
        """There is nothing to remove."""

    def status(self) -> Status:
        return Status(self.lab.name, self.kind, "absent", detail="virtual machines come with a later version")

    def endpoint(self) -> NoReturn:
        self._refuse()

    def shell_argv(self) -> NoReturn:
        self._refuse()
