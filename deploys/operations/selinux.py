"""Labels of SELinux, set before anything writes into the folders."""

import shlex

from pyinfra import host
from pyinfra.api import operation

from deploys.facts.selinux import Selinux
from deploys.operations import Commands
from deploys.operations.record import note


@operation()
def labels(labels: dict[str, str]) -> Commands:
    """Add labels to the policy and give them to what is there; without SELinux, do nothing.

    Folders are made, so that what is written into them later inherits the label: neither kubeadm
    nor etcd asks the policy.

    + labels: pattern of paths, as semanage takes it, to type
    """
    found = host.get_fact(Selinux)
    if found["mode"] in ("", "Disabled"):
        host.noop("SELinux is not on")
        return
    missing = {pattern: kind for pattern, kind in sorted(labels.items()) if found["labels"].get(pattern) != kind}
    if not missing:
        host.noop("labels are set")
        return
    for pattern, kind in missing.items():
        quoted = shlex.quote(pattern)
        verb = "--modify" if pattern in found["labels"] else "--add"
        yield note("label", pattern + (f"={found['labels'][pattern]}" if pattern in found["labels"] else ""))
        yield f"semanage fcontext {verb} --type {kind} {quoted}"
    folders = sorted({root(pattern) for pattern in missing if "(" in pattern})
    if folders:
        yield f"mkdir -p {' '.join(shlex.quote(one) for one in folders)}"
    yield f"restorecon -R {' '.join(shlex.quote(one) for one in sorted({root(pattern) for pattern in missing}))}"


def root(pattern: str) -> str:
    """Return the path that a pattern of semanage begins with."""
    return pattern.partition("(")[0].replace("\\", "")
