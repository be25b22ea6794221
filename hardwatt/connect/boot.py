"""Whether a node has booted to its end, as systemd on it says."""

from hardwatt.connect.ssh import Ssh
from hardwatt.core.errors import LabError, RefusedError

BOOT_ID = "/proc/sys/kernel/random/boot_id"
"""On the node: another value after each boot."""


def state(ssh: Ssh, *, timeout: float, before: str = "") -> str:
    """Ask over a connection that is not open yet how far the boot is; wait up to ``timeout`` seconds for its end.

    Returns systemd's word (see ``booted``), "still going down" while the boot is the one with the
    id ``before``, or why the node does not answer. Raises ``RefusedError`` where another host key answers.
    """
    try:
        with ssh as node:
            if before and node.run(f"cat {BOOT_ID}").stdout.strip() == before:
                return "still going down"
            return node.run("systemctl is-system-running --wait", check=False, timeout=timeout).stdout.strip()
    except RefusedError:
        raise
    except LabError as error:
        return error.message


def booted(state: str) -> bool:
    """Return whether systemd's word says that the boot has ended, also where some unit failed."""
    return state in ("running", "degraded")
