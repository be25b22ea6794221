"""The lock of a whole lab: on this controller, and on its host where that is one over SSH."""

import contextlib
from collections.abc import Iterator

from hardwatt.config.lab import Lab
from hardwatt.connect.endpoint import Endpoint
from hardwatt.connect.remote_lock import held
from hardwatt.core.errors import LabError, LockedError
from hardwatt.core.progress import say
from hardwatt.machines.lab_context import LabContext


@contextlib.contextmanager
def locked(lab: Lab, command: str, *, lost_host: bool = False) -> Iterator[None]:
    """Hold a lab on this controller, and its host where that is one over SSH.

    With ``lost_host``, a host that does not answer is no reason to stop. Raises ``LockedError``.
    """
    with lab.lock(command), contextlib.ExitStack() as stack:
        try:
            if host := _host(lab):
                stack.enter_context(held(host, command))
        except LockedError:
            raise
        except LabError as error:
            if not lost_host:
                raise
            say(f"the host is not locked: {error.message}")
        yield


def _host(lab: Lab) -> Endpoint | None:
    """Return the endpoint of a lab whose node is somebody's host; other machines are this controller's own."""
    settings = lab.settings
    if settings.machine != "ssh" and not (settings.machine == "auto" and settings.host.address):
        return None
    context = LabContext.of(lab)
    return context.endpoint if context.machine.kind == "ssh" else None
