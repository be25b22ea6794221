"""Where a lab's mirror is served: what nodes are told."""

import dataclasses
from pathlib import Path

from hardwatt.door import Process


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
