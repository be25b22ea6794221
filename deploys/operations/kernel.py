"""Kernel modules and settings, now and after the next boot."""

import shlex

from pyinfra import host
from pyinfra.api import operation

from deploys.facts.kernel import Modules, Settings
from deploys.operations import Commands
from deploys.operations.record import note


@operation()
def modules(names: list[str]) -> Commands:
    """Load the modules that are neither loaded nor built in.

    + names: the modules
    """
    state = host.get_fact(Modules, names=names)
    missing = [name for name in names if not state[name]["present"]]
    if not missing:
        host.noop(f"kernel modules are there: {', '.join(names)}")
    for name in missing:
        yield note("module", name)
        yield f"modprobe {shlex.quote(name)}"


@operation()
def settings(values: dict[str, str]) -> Commands:
    """Set sysctls to these values now (a file under /etc/sysctl.d keeps them).

    + values: name to value
    """
    current = host.get_fact(Settings, names=sorted(values))
    wrong = [name for name, value in sorted(values.items()) if current[name]["value"] != value]
    if not wrong:
        host.noop("sysctls are set")
    for name in wrong:
        yield f"sysctl --write {shlex.quote(f'{name}={values[name]}')}"
