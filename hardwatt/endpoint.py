"""How a node is reached, whatever kind of machine it is."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any


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

    def to_dict(self) -> dict[str, Any]:
        data = dataclasses.asdict(self)
        return {**data, "key": str(self.key), "known_hosts": str(self.known_hosts), "data": dict(self.data)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Endpoint":
        return cls(**{**data, "key": Path(data["key"]), "known_hosts": Path(data["known_hosts"])})
