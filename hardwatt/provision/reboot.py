"""A reboot of the node, asked for by the deploys: a run of its own between two runs of theirs, because facts change."""

import contextlib

from hardwatt.connect import boot, ssh_routes, sudo
from hardwatt.connect.endpoint import Endpoint
from hardwatt.connect.ssh import Ssh
from hardwatt.core.errors import LabError
from hardwatt.core.progress import say
from hardwatt.core.wait import wait

REQUIRED = "/run/hardwatt/reboot-required"
"""On the node: one reason a line, written by the deploys; gone with the boot."""
TIMEOUT = 1200.0
"""Seconds until the node answers again: firmware of a server with much memory takes ten minutes."""


def reasons(endpoint: Endpoint) -> list[str]:
    """Return why the node wants a reboot; empty: it does not."""
    with Ssh(endpoint) as ssh:
        return ssh.run(f"cat {REQUIRED}", check=False).stdout.splitlines()


def reboot(endpoint: Endpoint) -> None:
    """Reboot the node, and return when it has booted to its end.

    Raises ``LabError`` where it does not come back, and ``RefusedError`` where another host key answers.
    """
    command = f"{sudo.prefix(endpoint)}systemctl reboot"
    with Ssh(endpoint) as ssh:
        before = ssh.run(f"cat {boot.BOOT_ID}").stdout.strip()
        with contextlib.suppress(LabError):  # the connection may break before the command has ended
            ssh.run(command, check=False, timeout=30)
    sudo.forget(endpoint)  # the connection that holds the right ends with the boot
    say(f"    {endpoint.name} reboots; waiting until it answers again")

    def poll() -> str:
        if not endpoint.jump and not ssh_routes.ssh_answers(endpoint, 22 if endpoint.forwards else endpoint.port):
            return "no SSH"
        return boot.state(Ssh(endpoint, timeout=20), timeout=600, before=before)

    wait(
        poll,
        boot.booted,
        what=f"reboot of {endpoint.name}",
        timeout=TIMEOUT,
        delay=1,
        hint="look at the machine's console; when it answers again: invoke lab.up",
    )
