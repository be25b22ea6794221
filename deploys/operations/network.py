"""NetworkManager leaves the interfaces of pods alone."""

import shlex

from pyinfra import host
from pyinfra.api import operation

from deploys.facts.network import Unmanaged
from deploys.operations import Commands

FILE = "/etc/NetworkManager/conf.d/hardwatt.conf"


@operation()
def unmanaged(interfaces: list[str]) -> Commands:
    """Tell NetworkManager to keep its hands off; where it does not run, do nothing.

    + interfaces: names, with ``*`` at their end
    """
    state = host.get_fact(Unmanaged, file=FILE)
    text = "# Written by hardwatt: pods' interfaces belong to the CNI plugins.\n[keyfile]\nunmanaged-devices="
    text += ";".join(f"interface-name:{name}" for name in interfaces) + "\n"
    if not state["runs"] or state["text"] == text:
        host.noop("NetworkManager leaves pods alone" if state["runs"] else "NetworkManager does not run")
        return
    yield f"printf '%s' {shlex.quote(text)} >{FILE}"
    yield "nmcli general reload conf"
