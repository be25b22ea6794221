"""Root on a node whose user is another one: ``sudo -n`` everywhere, also where sudo asks for a password.

The password is asked for once a command and stays in this process. It reaches the host once, on the standard
input of sudo, never on a command line. What lets every later ``sudo -n`` in, pyinfra's too, is a rule in
/etc/sudoers.d for this one user: it ends by itself after ``LEASE`` minutes, is renewed while the SSH connection
lasts that wrote it, and is removed when that ends, however it ends.
"""

import atexit
import contextlib
import dataclasses
import os
import shlex

from hardwatt import secret
from hardwatt.endpoint import Endpoint
from hardwatt.errors import LabError, RefusedError
from hardwatt.progress import say
from hardwatt.ssh import Ssh

PASSWORD = "HARDWATT_SUDO_PASSWORD"  # noqa: S105 - the variable's name
LEASE = 15
"""Minutes after which a rule ends that nobody renews: its host lost power, or the network went."""
ATTEMPTS = 3
RULES = "/etc/sudoers.d"
_WANTED = ("password is required", "interactive authentication is required")
"""What sudo and sudo-rs say where ``sudo -n`` would have to ask."""
_GRANTED = "granted"
_WRONG = "try again"

# The user goes by number: names of directory services hold characters that sudoers reads as its own. A name with a
# dot is not read by sudo, so a rule is whole when it counts. ``cat`` ends with the connection.
_SCRIPT = """\
PATH=$PATH:/usr/sbin:/sbin; umask 077
rule={rules}/zz-hardwatt-$$
find {rules} -name 'zz-hardwatt-*' -mmin +{lease} -exec rm -f {{}} +
# what a reboot left: its writer is gone
for old in {rules}/zz-hardwatt-*; do
  pid=${{old##*-}}; kill -0 ${{pid%.new}} 2>/dev/null || rm -f $old
done
renew() {{
  until=$(date -u -d '+{lease} minutes' +%Y%m%d%H%M%SZ)
  echo "#$SUDO_UID ALL=(ALL) NOTAFTER=$until NOPASSWD: ALL" >$rule.new && chmod 440 $rule.new &&
    visudo -cqf $rule.new && mv -f $rule.new $rule
}}
trap 'kill $! 2>/dev/null; rm -f $rule $rule.new' EXIT
trap exit HUP INT TERM
renew || exit 1
echo {granted}
while sleep {pause}; do renew; done >/dev/null 2>&1 </dev/null &
cat >/dev/null
"""
# A rule that is there already is another command's, or was left by a reboot: it would end in mid-work.
_FREE = """\
if grep -qs "^#$SUDO_UID " {rules}/zz-hardwatt-*; then echo "a {wanted} again: the rule there is not ours"; exit 1; fi
"""


@dataclasses.dataclass
class _Right:
    """That commands may run as root on a host."""

    connection: Ssh | None = None
    """What holds the rule; None where sudo asks for no password."""
    held: contextlib.ExitStack = dataclasses.field(default_factory=contextlib.ExitStack)

    def lasts(self) -> bool:
        return self.connection is None or self.connection.alive()


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
        password = secret.ask(PASSWORD, f"sudo's password of {endpoint.user} on {endpoint.address}")
        right = _Right(ssh := Ssh(endpoint))
        answer = _lease(ssh, right.held, password)
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
        secret.forget()
    raise _refused(endpoint, answer)


def _lease(ssh: Ssh, held: contextlib.ExitStack, password: str) -> str:
    """Connect, and have the rule written for as long as ``held`` lasts; return what the host says of it."""
    held.enter_context(ssh)
    script = _SCRIPT.format(rules=RULES, lease=LEASE, pause=60 * LEASE // 3, granted=_GRANTED)
    # sudo asks again after a wrong one; -k: a password that it remembers would leave ours to the script
    command = f"LC_ALL=C sudo -k -S -p '' sh -c {shlex.quote(script)} 2>&1"
    lines = held.enter_context(ssh.session(command, stdin=f"{password}\n"))
    said: list[str] = []
    for line in lines:
        said.append(line)
        if line == _GRANTED:
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
