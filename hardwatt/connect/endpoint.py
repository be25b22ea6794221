"""The endpoint of a node, whatever kind of machine it is."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hardwatt.core import former_names


@dataclasses.dataclass(frozen=True)
class Endpoint:
    """One node: its SSH address, and what its kind of machine knows about it."""

    name: str
    kind: str
    """``embedded``, ``vm`` or ``ssh``."""
    address: str
    port: int
    user: str
    key: Path
    known_hosts: Path
    controller_address: str
    """This machine's address as the node sees it; empty where the node cannot reach it."""
    node_address: str
    """The address that the API server advertises."""
    data: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Host data for the deploys that only this kind of machine knows."""
    listen_address: str = ""
    """This machine's own address behind ``controller_address``; empty: the same."""
    forwards: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """Ports of the node that are reached at ``address`` under another number (the node's, as text, to ours)."""
    jump: str = ""
    """``USER@HOST:PORT`` of the host that connections go through; empty: directly."""

    scrape_interval: str = "15s"
    """Scrape interval of the lab's Prometheus: ``prometheus.scrape_interval`` of lab.toml. ``LabContext`` fills it in,
    whatever a stored endpoint holds."""
    reverse: bool = False
    """``controller_address`` is the node's own loopback, to which SSH brings what is served here."""

    @property
    def serve_at(self) -> str:
        """Return the address of this machine that servers for the node listen at; empty: the node cannot reach it."""
        return self.listen_address or self.controller_address

    def port_here(self, port: int) -> int:
        """Return the number under which a port of the node is reached at ``address``."""
        return self.forwards.get(str(port), port)

    def to_dict(self) -> dict[str, Any]:
        data = dataclasses.asdict(self)
        return {**data, "key": str(self.key), "known_hosts": str(self.known_hosts)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Endpoint":
        """Return a stored endpoint. Raises ``TypeError`` or ``ValueError`` if it is not one."""
        from hardwatt.core import state_files  # only here: a connection needs no stored endpoint

        fields = former_names.translated(data, former_names.ENDPOINT)
        return state_files.typed(cls, fields)
