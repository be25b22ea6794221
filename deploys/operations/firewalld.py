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
    found = host.get_fact(Firewalld)
    if not found["active"]:
        host.noop("firewalld does not run")
        return
    zone = shlex.quote(found["zone"])
    wanted = [
        ("", "trusted", "source", [one for one in trusted if one not in found["sources_now"]]),
        ("--permanent ", "trusted", "source", [one for one in trusted if one not in found["sources_kept"]]),
        ("", zone, "port", [one for one in ports if one not in found["ports_now"]]),
        ("--permanent ", zone, "port", [one for one in ports if one not in found["ports_kept"]]),
    ]
    if not found["flush"] and not any(missing for *_, missing in wanted):
        host.noop("firewalld lets the cluster's networks and ports through")
        return
    yield from _note(found, trusted, ports)
    for when, where, what, missing in wanted:
        if missing:
            options = " ".join(f"--add-{what}={shlex.quote(one)}" for one in missing)
            yield f"firewall-cmd --quiet {when}--zone={where} {options}"
    if found["flush"]:
        yield note("firewallflush", "yes")
        yield (
            f"if grep -q '^FlushAllOnReload=' {CONFIG}; "
            f"then sed -i 's/^FlushAllOnReload=.*/FlushAllOnReload=no/' {CONFIG}; "
            f"else echo FlushAllOnReload=no >>{CONFIG}; fi"
        )
        # firewalld reads this at its start or with a reload, and a reload would empty kube-proxy's chains
        yield f"test -e {ADMIN} || firewall-cmd --quiet --reload"


def _note(found: dict[str, Any], trusted: list[str], ports: list[str]) -> Commands:
    """Write down what is new: what was open before stays open after ``lab.down``."""
    sources = [one for one in trusted if one not in found["sources_now"] and one not in found["sources_kept"]]
    opened = [one for one in ports if one not in found["ports_now"] and one not in found["ports_kept"]]
    if sources:
        yield note("firewallsource", *sources)
    if opened:
        yield note("firewallport", *(f"{one}={found['zone']}" for one in opened))
    if zones := [
        zone for zone, new in (("trusted", sources), (found["zone"], opened)) if new and zone not in found["own"]
    ]:
        yield note("firewallzone", *zones)
