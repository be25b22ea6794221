"""Labels of SELinux: of folders, before anything writes into them, and of ports."""

import shlex

from pyinfra import host
from pyinfra.api import operation

from deploys.facts.selinux import Selinux, judges
from deploys.operations import Commands
from deploys.operations.record import note


@operation()
def labels(labels: dict[str, str]) -> Commands:
    """Add labels to the policy and give them to what is there; without SELinux, do nothing.

    Folders are made, so that what is written into them later inherits the label: neither kubeadm
    nor etcd asks the policy.

    + labels: pattern of folders, as semanage takes it, to type
    """
    policy = host.get_fact(Selinux)
    if not judges(policy):
        host.noop("SELinux is not on")
        return
    missing = {pattern: kind for pattern, kind in sorted(labels.items()) if policy["labels"].get(pattern) != kind}
    if not missing:
        host.noop("labels are set")
        return
    for pattern, kind in missing.items():
        quoted = shlex.quote(pattern)
        yield note("label", pattern + (f"={policy['labels'][pattern]}" if pattern in policy["labels"] else ""))
        yield _set("fcontext", f"--type {kind} {quoted}")
    folders = " ".join(shlex.quote(folder) for folder in sorted({root(pattern) for pattern in missing}))
    yield f"mkdir -p {folders}"
    yield f"restorecon -R {folders}"


@operation()
def port(port: str, kind: str) -> Commands:
    """Let the daemon of a type listen on a port that the policy gives to nobody; without SELinux, do nothing.

    + port: as firewalld takes it, ``NUMBER/PROTOCOL``
    + kind: type of the policy
    """
    policy = host.get_fact(Selinux)
    if not judges(policy):
        host.noop("SELinux is not on")
        return
    before = policy["ports"].get(port, "")
    if before == kind:
        host.noop(f"port {port} is {kind}")
        return
    number, _, protocol = port.partition("/")
    yield note("labelport", f"{port}={before}" if before else port)
    yield _set("port", f"--type {kind} --proto {protocol} {number}")


def _set(what: str, how: str) -> str:
    """Return the command that adds a label: what the policy or this machine has of its own is refused, and modified."""
    return f"semanage {what} --add {how} 2>/dev/null || semanage {what} --modify {how}"


def root(pattern: str) -> str:
    """Return the path that a pattern of semanage begins with."""
    return pattern.partition("(")[0].replace("\\", "")
