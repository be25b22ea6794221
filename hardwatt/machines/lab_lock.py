"""The lock of a whole lab: on this controller, and on its host where that is one over SSH."""

import contextlib
import dataclasses
from collections.abc import Iterator

from hardwatt.config.lab import Lab
from hardwatt.connect.endpoint import Endpoint
from hardwatt.connect.remote_lock import held
from hardwatt.core.errors import LabError, LockedError
from hardwatt.core.progress import say
from hardwatt.machines.lab_context import LabContext


@dataclasses.dataclass
class _Hold:
    """The locks that this process holds of one lab; a companion of the lab."""

    command: str
    on_host: contextlib.ExitStack


@contextlib.contextmanager
def locked(lab: Lab, command: str, *, lost_host: bool = False) -> Iterator[None]:
    """Hold a lab on this controller, and its host where that is one over SSH.

    A command that is a part of another one, which holds the lab already, goes on under that lock: nobody can slip in
    between two parts. With ``lost_host``, a host that does not answer is no reason to stop. Raises ``LockedError``.
    """
    if _Hold in lab.companions:
        yield
        return
    with lab.lock(command), contextlib.ExitStack() as on_host:
        hold = _Hold(command, on_host)
        try:
            _lock_host(lab, hold)
        except LockedError:
            raise
        except LabError as error:
            if not lost_host:
                raise
            say(f"the host is not locked: {error.message}")
        lab.companions[_Hold] = hold
        try:
            yield
        finally:
            del lab.companions[_Hold]


def renew(lab: Lab) -> None:
    """Lock the lab's host again after its reboot, which ended the lock there; other labs need nothing.

    Raises ``LockedError`` if another controller has locked the host in the meantime.
    """
    hold = lab.companions.get(_Hold)
    if isinstance(hold, _Hold):
        hold.on_host.close()
        _lock_host(lab, hold)


def _lock_host(lab: Lab, hold: _Hold) -> None:
    if host := _host(lab):
        hold.on_host.enter_context(held(host, hold.command))


def _host(lab: Lab) -> Endpoint | None:
    """Return the endpoint of a lab whose node is somebody's host; other machines are this controller's own."""
    settings = lab.settings
    if settings.machine != "ssh" and not (settings.machine == "auto" and settings.host.address):
        return None
    context = LabContext.of(lab)
    return context.endpoint if context.machine.kind == "ssh" else None
