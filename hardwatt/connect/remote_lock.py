"""The lock on a host over SSH: two controllers cannot work on one host at once.

The lab's own lock (``Lab.lock``) holds on this controller alone. On the host, ``flock`` holds
``/run/hardwatt/lock`` for as long as the SSH connection lasts: it ends with this process, however
that ends, and with the host's next boot. Where this machine vanishes without a word, it ends after
``LOCK_SILENCE`` seconds without a sign of life.
"""

import contextlib
import getpass
import os
import shlex
import socket
from collections.abc import Iterator
from pathlib import PurePosixPath

from hardwatt.connect import sudo
from hardwatt.connect.endpoint import Endpoint
from hardwatt.connect.ssh import Ssh
from hardwatt.core.errors import LabError, LockedError
from hardwatt.core.limits import BEAT, LOCK_SILENCE
from hardwatt.core.progress import say

PATH = "/run/hardwatt/lock"
"""In a folder of root's alone: anybody may make and hold files in /run/lock."""
_HELD = "held"
_SCRIPT = """\
umask 022
mkdir -p -m 700 {folder} || exit 1
if test -L {folder} || ! test -O {folder}; then echo "by another user: {folder} is not root's"; exit 1; fi
chmod 700 {folder} || exit 1
exec 9<>{path} || exit 1
if ! flock --nonblock 9; then read -r who <{path}; echo "${{who:-by another controller}}"; exit 1; fi
: >{path}
echo {who} >&9
echo {held}
while timeout {silence} sh -c 'read -r beat' 9>&-; do :; done
: >{path}
"""
"""``read`` ends when the connection does, and with it the shell that holds the lock; nothing else holds it."""


@contextlib.contextmanager
def held(endpoint: Endpoint, command: str) -> Iterator[None]:
    """Hold a host over SSH for one command.

    Raises ``LockedError`` naming who holds it, ``LabError`` where the lock cannot be taken at all.
    """
    root = sudo.prefix(endpoint)
    with Ssh(endpoint) as ssh, ssh.session(script(root, command), what=f"the lock {PATH}") as session:
        answer = next(session, "")
        if answer != _HELD:
            raise _refused(endpoint, answer)
        session.beat(BEAT)
        yield
        if not session.alive():
            say(f"the lock of {endpoint.address} ended before this command did: no sign of life reached the host")


def script(root: str, command: str) -> str:
    """Return the command that takes the lock on the host and holds it until its standard input ends.

    ``root``: what makes it run as root there.
    """
    who = f"by {getpass.getuser()}@{socket.gethostname()}, process {os.getpid()}: {command}"
    body = _SCRIPT.format(
        path=PATH, folder=str(PurePosixPath(PATH).parent), who=shlex.quote(who), held=_HELD, silence=LOCK_SILENCE
    )
    return f"{root}sh -c {shlex.quote(body)}"


def _refused(endpoint: Endpoint, answer: str) -> LabError:
    if answer:
        return LockedError(
            f"the host {endpoint.address} is in use {answer}",
            hint="wait until that command ends; then run this one again",
        )
    return LabError(
        f"the lock {PATH} on {endpoint.address} could not be taken",
        hint=f"log in and try: flock --nonblock {PATH} true, as root",
    )
