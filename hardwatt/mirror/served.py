"""Addresses at which a lab's mirror is served to its nodes."""

import dataclasses
from pathlib import Path

from hardwatt.core.process import Process


@dataclasses.dataclass(frozen=True)
class Served:
    """The running servers of one lab's mirror."""

    apt_url: str
    """Base of the apt repository: ``deb [signed-by=KEY] APT_URL stable main``."""
    registry: str
    """``ADDRESS:PORT`` of the registry, plain HTTP."""
    key_path: Path
    """The repository's public signing key, ASCII armoured."""
    processes: tuple[Process, ...] = ()

    def mirror_of(self, host: str) -> str:
        """Return the URL for containerd's hosts.toml of an upstream registry.

        It goes with ``override_path = true``: each upstream host has a path prefix of its own.
        """
        return f"http://{self.registry}/v2/{host}"

    @property
    def ports(self) -> tuple[int, ...]:
        """Return the ports of this machine that are served at."""
        return tuple(dict.fromkeys(int(where.rpartition(":")[2]) for where in (self.apt_url, self.registry)))

    def seen_at(self, address: str) -> "Served":
        """Return the same servers as a node sees them that reaches this machine at another address."""
        host = f"[{address}]" if ":" in address else address
        apt_port, registry_port = self.apt_url.rpartition(":")[2], self.registry.rpartition(":")[2]
        return dataclasses.replace(self, apt_url=f"http://{host}:{apt_port}", registry=f"{host}:{registry_port}")
