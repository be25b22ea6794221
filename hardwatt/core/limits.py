"""Limits of every wait for a host or a command: none is without end."""

import dataclasses

from hardwatt.core.wait import timeout_factor


@dataclasses.dataclass(frozen=True)
class Limits:
    """Seconds that a wait may last, before ``[host] timeout_factor`` of lab.toml multiplies them."""

    connect: float = 10
    """For each part of a login: the connection, the greeting with the key exchange, the authentication."""
    first_answer: float = 60
    """Until a host accepts a command, and until the first line of a command that is held open."""
    silence: float = 60
    """Without output of a command that is not held open, and from the end of its output to its own end."""
    whole: float = 3600
    """From a command's start to its end, whatever it prints meanwhile."""

    def patient(self) -> "Limits":
        """Return the limits multiplied by the timeout factor of this process."""
        return Limits(*(value * timeout_factor() for value in dataclasses.astuple(self)))


REMOTE = Limits()
"""Commands on a host over SSH."""
LOCAL = Limits(whole=1800)
"""Commands on this machine: only ``whole`` counts, because many of them print nothing until they end."""
BUILD = Limits(whole=6 * 3600)
"""Builds and root filesystems on a slow machine."""
BEAT = 60.0
"""Seconds between the signs of life on a connection that holds a lock or a right on a host."""
RIGHT_SILENCE = 240.0
"""Seconds without a sign of life after which a host ends the right to become root."""
LOCK_SILENCE = 900.0
"""Seconds without a sign of life after which a host gives its lock free: a laptop may sleep for a while."""
