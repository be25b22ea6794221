"""The record on the node: every change is written down before it is made."""

import shlex

from pyinfra import host
from pyinfra.api import operation

from deploys.facts.kernel import Settings
from deploys.facts.record import KEPT, LAB, Record
from deploys.operations import Commands

NOTE = "/usr/local/lib/hardwatt/note"


def note(kind: str, *items: str) -> str:
    """Return the command that writes down what is about to be changed.

    ``items`` are ``NAME`` or ``NAME=VALUE``, the value being the one before.
    """
    return " ".join([NOTE, kind, *(shlex.quote(item) for item in items)])


@operation()
def start(lab: str, settings: list[str], files: list[str]) -> Commands:
    """Begin the record of a host: whose it is, kernel settings as they are, files that are in the way.

    + lab: the name of the lab
    + settings: sysctls that the deploys, kubelet or kube-proxy will set
    + files: files that the deploys write and that may be somebody else's now
    """
    found = host.get_fact(Record)
    if found["lab"]:
        host.noop(f"the record of {found['lab']} is there")
        return
    values = host.get_fact(Settings, names=sorted(settings))
    before = [f"{name}={state['value']}" for name, state in sorted(values.items()) if state["value"] is not None]
    if before:
        yield note("sysctl", *before)
    for path in files:
        quoted, kept = shlex.quote(path), shlex.quote(KEPT + path)
        folder = shlex.quote((KEPT + path).rpartition("/")[0])
        yield f"if test -e {quoted}; then mkdir -p {folder} && cp -p {quoted} {kept}; fi"
    # last, so that a run that was cut off begins again
    yield f"printf '%s\\n' {shlex.quote(lab)} >{LAB}"
