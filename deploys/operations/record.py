"""The record on the node: every change is written down before it is made."""

import shlex

from pyinfra import host
from pyinfra.api import operation

from deploys.facts.kernel import Settings
from deploys.facts.record import KEPT, LAB, PACKAGES, Record
from deploys.operations import Commands

NOTE = "/usr/local/lib/hardwatt/note"


def note(kind: str, *items: str) -> str:
    """Return the command that writes down what is about to be changed.

    ``items`` are ``NAME`` or ``NAME=VALUE``, the value being the one before.
    """
    return " ".join([NOTE, kind, *(shlex.quote(item) for item in items)])


@operation()
def start(lab: str, settings: list[str], files: list[str], users: list[str]) -> Commands:
    """Begin the record of a host: whose it is, kernel settings as they are, files that are in the way.

    + lab: the name of the lab
    + settings: sysctls that the deploys, kubelet or kube-proxy will set
    + files: files that the deploys write and that may be somebody else's now
    + users: users that the deploys make
    """
    record = host.get_fact(Record)
    if record["lab"]:
        host.noop(f"the record of {record['lab']} is there")
        return
    values = host.get_fact(Settings, names=sorted(settings))
    before = [f"{name}={state['value']}" for name, state in sorted(values.items()) if state["value"] is not None]
    if before:
        yield note("sysctl", *before)
    for path in files:
        quoted, kept = shlex.quote(path), shlex.quote(KEPT + path)
        folder = shlex.quote((KEPT + path).rpartition("/")[0])
        yield f"if test -e {quoted}; then mkdir -p {folder} && cp -p {quoted} {kept}; fi"
    yield (
        f"if command -v dnf >/dev/null 2>&1; then rpm -qa --qf '%{{NAME}}\\n'; else "
        f"dpkg-query -W -f '${{Package}}\\n'; fi | sort -u >{PACKAGES}"
    )
    for user in users:
        yield f"if ! id {user} >/dev/null 2>&1; then {note('user', user)}; fi"
    # last, so that a run that was cut off begins again
    yield f"printf '%s\\n' {shlex.quote(lab)} >{LAB}"


@operation(is_idempotent=False)
def undo(commands: list[str]) -> Commands:
    """Run the commands of one group of ``deploys/undo.py``; each looks for itself whether it is still needed.

    + commands: in order
    """
    yield from commands
