"""Root on a node whose user is another one: ``sudo -n`` everywhere, also where sudo asks for a password.

The password is asked for once a command and stays in this process. It reaches the host once, on the standard
input of sudo, never on a command line. What lets every later ``sudo -n`` in, pyinfra's too, is a rule in
/etc/sudoers.d for this one user. A process on the host, the holder, writes it and renews it at each sign of life
from here, and removes it when the connection ends. Where the holder is killed, a guard that waits for the holder's
lock removes the rule at once; where this machine vanishes, the holder does after ``RIGHT_SILENCE`` seconds. Where
all of them are killed, or the host loses power, sudo refuses the rule ``LEASE`` seconds after its last renewal, and
the next start removes it.
"""

import atexit
import contextlib
import dataclasses
import os
import shlex

from hardwatt.connect.endpoint import Endpoint
from hardwatt.connect.ssh import Ssh
from hardwatt.connect.ssh_session import Session
from hardwatt.core import credentials
from hardwatt.core.errors import LabError, RefusedError
from hardwatt.core.limits import BEAT, RIGHT_SILENCE
from hardwatt.core.progress import say

PASSWORD = "HARDWATT_SUDO_PASSWORD"  # noqa: S105 - the variable's name
LEASE = RIGHT_SILENCE + BEAT
"""Seconds from its last renewal until sudo refuses a rule."""
ATTEMPTS = 3
RULES = "/etc/sudoers.d"
_WANTED = ("password is required", "interactive authentication is required")
"""What sudo and sudo-rs say where ``sudo -n`` would have to ask."""
_GRANTED = "granted"
_WRONG = "try again"

# The user goes by number: names of directory services hold characters that sudoers reads as its own. A name with a
# dot is not read by sudo, so a rule is whole when it counts. A holder is alive where its lock is held: numbers of
# processes are used again, a lock ends with its process. Descriptor 8 is the folder: one start after another.
_SCRIPT = """\
PATH=$PATH:/usr/sbin:/sbin; umask 077
cd {rules} && exec 8<. && flock -w 10 8 || exit 1
for old in zz-hardwatt-*.held; do
  test ! -e $old || flock -n $old rm -f ${{old%.held}} ${{old%.held}}.new $old
done
# Hardwatt before there were locks: its rules without a holder, and its holders' loops that nobody ends
for old in zz-hardwatt-*[0-9]; do
  test -e $old.held || grep -qs zz-hardwatt /proc/${{old##*-}}/cmdline || rm -f $old $old.new
done
for left in $(grep -ls '^w[h]ile sleep [0-9]*; do renew; done' /proc/[0-9]*/cmdline); do
  left=${{left%/cmdline}}
  read -r name <$left/comm && test "$name" = sh && test -O $left &&
    ! grep -qs zz-hardwatt /proc/$(sed -n 's/^PPid:[^0-9]*//p' $left/status)/cmdline && kill -9 ${{left#/proc/}}
done 2>/dev/null
rule=zz-hardwatt-$$
exec 9>$rule.held && flock -n 9 || exit 1
exec 8<&-
setsid flock $rule.held rm -f $rule $rule.new $rule.held 9>&- </dev/null >/dev/null 2>&1 &
renew() {{
  until=$(date -u -d '+{lease} seconds' +%Y%m%d%H%M%SZ)
  echo "#$SUDO_UID ALL=(ALL) NOTAFTER=$until NOPASSWD: ALL" >$rule.new && chmod 440 $rule.new &&
    visudo -cqf $rule.new && mv -f $rule.new $rule
}}
trap 'rm -f $rule $rule.new $rule.held' EXIT
trap exit HUP INT TERM
renew || exit 1
echo {granted}
while timeout {silence} sh -c 'read -r beat' 9>&-; do renew || exit 1; done >/dev/null 2>&1
"""
# A rule that is there already is another command's, or was left by a reboot: it would end in mid-work.
_FREE = """\
if grep -qs "^#$SUDO_UID " {rules}/zz-hardwatt-*; then echo "a {wanted} again: the rule there is not ours"; exit 1; fi
"""


@dataclasses.dataclass
class _Right:
    """That commands may run as root on a host."""

    session: Session | None = None
    """What holds the rule; None where sudo asks for no password."""
    held: contextlib.ExitStack = dataclasses.field(default_factory=contextlib.ExitStack)

    def lasts(self) -> bool:
        return self.session is None or self.session.alive()


_rights: dict[tuple[str, str, int, str], _Right] = {}


def prefix(endpoint: Endpoint) -> str:
    """Return what makes a command on the node run as root, to be put before it: empty where we are root.

    Asks for a password where sudo wants one and none was given in this command.

    Raises ``LabError`` where the user may not become root.
    """
    if endpoint.user == "root":
        return ""
    right = _rights.get(_host(endpoint))
    if right is None or not right.lasts():
        forget(endpoint)
        _rights[_host(endpoint)] = _taken(endpoint)
    return "sudo -n "


def forget(endpoint: Endpoint) -> None:
    """Give back the right that ``prefix`` took: after a reboot of the host it is taken anew."""
    if right := _rights.pop(_host(endpoint), None):
        right.held.close()


@atexit.register
def _forget_all() -> None:
    while _rights:
        _rights.popitem()[1].held.close()


def _host(endpoint: Endpoint) -> tuple[str, str, int, str]:
    return endpoint.user, endpoint.address, endpoint.port, endpoint.jump


def _taken(endpoint: Endpoint) -> _Right:
    said = _try(endpoint, _FREE.format(rules=RULES, wanted=_WANTED[0]))
    if not said:
        return _Right()
    if not any(text in said for text in _WANTED):
        raise _refused(endpoint, said)
    for _ in range(ATTEMPTS):
        password = credentials.ask(PASSWORD, f"sudo's password of {endpoint.user} on {endpoint.address}")
        right = _Right()
        try:
            answer = _lease(endpoint, right, password)
        except BaseException:
            right.held.close()
            raise
        if answer == _GRANTED:
            if said := _try(endpoint):
                right.held.close()
                raise LabError(
                    f"a rule in {RULES} on {endpoint.address} does not count: {said}",
                    hint=f"have /etc/sudoers include {RULES}, or let {endpoint.user} use sudo without a password",
                )
            return right
        right.held.close()
        if _WRONG not in answer or os.environ.get(PASSWORD):
            break
        say("    that was not the password")
        credentials.forget()
    raise _refused(endpoint, answer)


def _lease(endpoint: Endpoint, right: _Right, password: str) -> str:
    """Connect, and have the rule written for as long as the right is held; return what the host says of it."""
    ssh = right.held.enter_context(Ssh(endpoint))
    script = _SCRIPT.format(rules=RULES, lease=round(LEASE), silence=RIGHT_SILENCE, granted=_GRANTED)
    # sudo asks again after a wrong one; -k: a password that it remembers would leave ours to the script
    command = f"LC_ALL=C sudo -k -S -p '' sh -c {shlex.quote(script)} 2>&1"
    session = right.held.enter_context(ssh.session(command, what="sudo", stdin=f"{password}\n"))
    said: list[str] = []
    for line in session:
        said.append(line)
        if line == _GRANTED:
            session.beat(BEAT)
            right.session = session
            return _GRANTED
        if _WRONG in line:
            break
    return "; ".join(line for line in said if line.strip())


def _try(endpoint: Endpoint, script: str = "true") -> str:
    """Return why ``sudo -n`` does not work; empty: it does."""
    with Ssh(endpoint) as ssh:
        done = ssh.run(f"LC_ALL=C sudo -n sh -c {shlex.quote(script)} 2>&1", check=False)
    return "" if done.returncode == 0 else done.stdout.strip() or f"sudo ended with {done.returncode}"


def _refused(endpoint: Endpoint, said: str) -> LabError:
    remedy = "install sudo there" if "not found" in said else f"read -rs {PASSWORD} && export {PASSWORD}"
    return RefusedError(
        f"{endpoint.user} does not become root on {endpoint.address}: {said}",
        hint=f'{remedy}; or set user = "root" in [host] of lab.toml; then invoke lab.check',
    )
