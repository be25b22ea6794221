"""firewalld: each rule now and for its next start, and never a reload under a cluster."""

import shlex
from typing import Any

from pyinfra import host
from pyinfra.api import operation

from deploys.facts.firewalld import CONFIG, Firewalld
from deploys.facts.kubeadm import ADMIN
from deploys.operations import Commands
from deploys.operations.record import note


@operation()
def allow(trusted: list[str], ports: list[str]) -> Commands:
    """Trust the cluster's networks, and open ports in the zone of the way out; where firewalld does not run, nothing.

    + trusted: networks in CIDR notation
    + ports: as ``6443/tcp``
    """
    state = host.get_fact(Firewalld)
    if not state["active"]:
        host.noop("firewalld does not run")
        return
    zone = shlex.quote(state["zone"])
    wanted = [
        ("", "trusted", "source", [network for network in trusted if network not in state["sources_now"]]),
        ("--permanent ", "trusted", "source", [network for network in trusted if network not in state["sources_kept"]]),
        ("", zone, "port", [port for port in ports if port not in state["ports_now"]]),
        ("--permanent ", zone, "port", [port for port in ports if port not in state["ports_kept"]]),
    ]
    if not state["flush"] and not any(missing for *_, missing in wanted):
        host.noop("firewalld lets the cluster's networks and ports through")
        return
    yield from _note(state, trusted, ports)
    for when, where, what, missing in wanted:
        if missing:
            options = " ".join(f"--add-{what}={shlex.quote(item)}" for item in missing)
            yield f"firewall-cmd --quiet {when}--zone={where} {options}"
    if state["flush"]:
        yield note("firewallflush", "yes")
        yield (
            f"if grep -q '^FlushAllOnReload=' {CONFIG}; "
            f"then sed -i 's/^FlushAllOnReload=.*/FlushAllOnReload=no/' {CONFIG}; "
            f"else echo FlushAllOnReload=no >>{CONFIG}; fi"
        )
        # firewalld reads this at its start or with a reload, and a reload would empty kube-proxy's chains
        yield f"test -e {ADMIN} || firewall-cmd --quiet --reload"


def _note(state: dict[str, Any], trusted: list[str], ports: list[str]) -> Commands:
    """Write down what is new: what was open before stays open after ``lab.down``."""
    sources = [
        network for network in trusted if network not in state["sources_now"] and network not in state["sources_kept"]
    ]
    opened = [port for port in ports if port not in state["ports_now"] and port not in state["ports_kept"]]
    if sources:
        yield note("firewallsource", *sources)
    if opened:
        yield note("firewallport", *(f"{port}={state['zone']}" for port in opened))
    if zones := [
        zone for zone, new in (("trusted", sources), (state["zone"], opened)) if new and zone not in state["own"]
    ]:
        yield note("firewallzone", *zones)
