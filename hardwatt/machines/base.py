"""The interface of every kind of machine."""

import dataclasses
from typing import Literal, Protocol

from hardwatt.connect import ssh_routes
from hardwatt.connect.endpoint import Endpoint

State = Literal["absent", "stopped", "dead", "running"]


@dataclasses.dataclass(frozen=True)
class MachineStatus:
    """State of a machine, with the address and the next command."""

    name: str
    kind: str
    state: State
    """``dead``: it should run and does not; the next start cleans up and boots it again."""
    address: str = ""
    detail: str = ""
    hint: str = ""
    """Next command where the machine does not run; empty: lab.up."""
    pid: int | None = None


class Machine(Protocol):
    """A place where the lab's node stands."""

    @property
    def kind(self) -> str:
        """Return ``embedded``, ``vm`` or ``ssh``."""

    @property
    def why(self) -> str:
        """Return why it is this kind of machine, for the person at the terminal."""

    def destroy(self) -> None:
        """Remove the machine and everything of it."""

    def endpoint(self) -> Endpoint:
        """Return how the node is reached; ``LabError`` where there is no machine."""

    def obstacle(self) -> str:
        """Return why requests to the node do not reach it, as far as this machine knows; empty: nothing is known.

        Reads this machine's own state alone; changes nothing and sends nothing.
        """

    def shell_argv(self) -> list[str]:
        """Return the command that opens a shell on the node."""

    def start(self) -> Endpoint:
        """Make the machine where there is none, start it where it does not run, and return its endpoint."""

    def status(self) -> MachineStatus:
        """Return how the machine is; changes nothing."""

    def stop(self) -> None:
        """Stop the machine; its disk stays."""


def why_not(status: MachineStatus) -> str:
    """Return why a machine cannot be reached in this state; empty: it runs."""
    texts = {
        "absent": f"the lab {status.name} has no machine",
        "stopped": f"the machine of the lab {status.name} is stopped",
        "dead": f"the machine of the lab {status.name} does not run",
    }
    text = texts.get(status.state, "")
    return f"{text}: {status.detail}" if text and status.detail else text


def ssh_argv(endpoint: Endpoint) -> list[str]:
    """Return the ssh command to a node, with the lab's own key and known hosts and no others."""
    chosen = ssh_routes.options(endpoint.key, endpoint.known_hosts)
    login = f"{endpoint.user}@{endpoint.address}"
    return ["ssh", *chosen, *ssh_routes.proxy_options(endpoint), "-p", str(endpoint.port), login]
