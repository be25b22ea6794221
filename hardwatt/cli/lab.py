"""lab.*: the lab as a whole, and lab.machine.*: the place where its node stands."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from hardwatt.cli.on_host import on_host
from hardwatt.cli.registry import LAB, command
from hardwatt.core.errors import LabError, RefusedError

if TYPE_CHECKING:
    from hardwatt.config.lab import Lab

STEPS = ("mirror", "machine", "node", "kubeconfig", "restore", "addons", "gitops", "ready")
TARGETS = ("prometheus", "grafana")


@command(
    "lab.up",
    needs=LAB,
    arguments={"only": "a step to run alone (may be given several times)"},
    values={"only": STEPS},
)
def lab_up(lab: Lab, *, only: tuple[str, ...] = ()) -> None:
    """Bring the lab up: mirror, machine, node, GitOps. Run again: "No changes"."""
    from hardwatt.lifecycle.up import up

    up(lab, only)


@command(
    "lab.down",
    needs=LAB,
    arguments={"yes": "do not ask", "keep_packages": "leave the installed packages on the host"},
)
def lab_down(lab: Lab, *, yes: bool = False, keep_packages: bool = False) -> None:
    """Take the lab down; caches and results stay. Somebody's host is given back as it was: listed first."""
    _take_down(lab, "lab.down", yes=yes, keep_packages=keep_packages)


@command("lab.quickstart", needs=LAB)
def lab_quickstart(lab: Lab) -> int:
    """Lab up, the first experiment, its report: what `make lab` runs."""
    from hardwatt.cli.bundle_commands import SHIPPED
    from hardwatt.lifecycle.quickstart import quickstart

    return quickstart(lab, SHIPPED)


@command("lab.show", needs=LAB, arguments={"as_json": "print JSON"})
def lab_show(lab: Lab, *, as_json: bool = False) -> None:
    """Print the resolved settings, and which machine they lead to and why."""
    from hardwatt.core.progress import say
    from hardwatt.machines.lab_context import LabContext

    settings = lab.settings.model_dump()
    print(json.dumps(settings, indent=2) if as_json else _toml(settings))
    try:
        machine = LabContext.of(lab).machine
        say(f"# machine: {machine.kind}, because {machine.why}")
    except LabError as error:
        say(f"# machine: none, because {error.message}")


@command("lab.check", needs=LAB, arguments={"as_json": "print JSON"})
def lab_check(lab: Lab, *, as_json: bool = False) -> int:
    """Check host and node, change nothing; the exit code says whether lab.up would go on."""
    from hardwatt.lifecycle.inspect import check

    return check(lab, as_json=as_json)


@command("lab.plan", needs=LAB, arguments={"explain": "print each step's commands, and why"})
def lab_plan(lab: Lab, *, explain: bool = False) -> None:
    """Print what lab.up would change; changes nothing."""
    from hardwatt.lifecycle.inspect import plan

    plan(lab, explain=explain)


@command(
    "lab.trust",
    needs=LAB,
    arguments={
        "host": "the address of [host] in lab.toml, or of its jump host",
        "fingerprint": "the host key's, as read on the host itself (SHA256:...); asked for when not given",
    },
)
def lab_trust(lab: Lab, host: str, *, fingerprint: str = "") -> None:
    """Learn the host key of the host in lab.toml, or of its jump host, if its fingerprint is the right one.

    A key that your own known_hosts have for this host is the right one.
    """
    from hardwatt.core.progress import say
    from hardwatt.machines import remote

    offered = remote.offer(lab, host)
    if not fingerprint and offered.known_to_user():
        print(f"{offered.name} is in your known_hosts with this key")
        fingerprint = offered.fingerprint
    print(f"known now: {remote.learn(lab, offered, fingerprint or remote.asked(offered))}")
    status = remote.SshMachine(lab).status()  # makes the lab's own key, where lab.toml names none
    if status.detail:
        say(status.detail)
    say(f"next: {status.hint or 'invoke lab.check'}")


@command("lab.status", needs=LAB)
def lab_status(lab: Lab) -> int:
    """Print machine, cluster, GitOps, forwards and a running experiment."""
    from hardwatt.lifecycle.inspect import status

    return status(lab)


@command("lab.kubeconfig", needs=LAB)
@on_host(root=True)
def lab_kubeconfig(lab: Lab) -> None:
    """Fetch the kubeconfig again and print its path."""
    from hardwatt.cluster import client
    from hardwatt.machines.lab_context import LabContext

    client.fetch_kubeconfig(lab, LabContext.of(lab).reached_endpoint())
    print(lab.kubeconfig)


@command(
    "lab.forward",
    needs=LAB,
    arguments={"target": "prometheus or grafana", "stop": "stop the lab's forwards", "port": "local port"},
    values={"target": TARGETS},
)
def lab_forward(lab: Lab, target: str, *, stop: bool = False, port: int = 0) -> None:
    """Forward a service to localhost in the background (prometheus: localhost:9090, grafana: localhost:3000)."""
    from hardwatt.cluster import port_forward
    from hardwatt.core.progress import say
    from hardwatt.machines import reach_host

    if stop:
        port_forward.stop(lab)
    else:
        reach_host.require(lab)
        print(port_forward.forward(lab, target, port or port_forward.default_port(lab, target)))
        if target == "grafana":
            say(
                "user admin; its password: kubectl -n monitoring get secret grafana-admin -o go-template="
                "'{{.data.password|base64decode}}'"
            )


@command("lab.machine.start", needs=LAB)
def machine_start(lab: Lab) -> None:
    """Start the machine (finds a running one, restarts a dead one)."""
    from hardwatt.core.progress import say
    from hardwatt.machines.lab_context import LabContext

    with lab.lock("lab.machine.start"):
        context = LabContext.of(lab)
        context.decide()
        node = context.start()
    say(f"{node.kind} machine {node.name}: {node.user}@{node.address} port {node.port}")


@command("lab.machine.stop", needs=LAB)
def machine_stop(lab: Lab) -> None:
    """Stop the machine; its disk stays."""
    from hardwatt.machines.lab_context import LabContext

    with lab.lock("lab.machine.stop"):
        LabContext.of(lab).machine.stop()


@command("lab.machine.destroy", needs=LAB, arguments={"yes": "do not ask"})
def machine_destroy(lab: Lab, *, yes: bool = False) -> None:
    """Stop the machine and delete its disk."""
    _take_down(lab, "lab.machine.destroy", yes=yes)


@command("lab.machine.shell", needs=LAB)
@on_host()
def machine_shell(lab: Lab) -> None:
    """Open a root shell on the node."""
    from hardwatt.machines.lab_context import LabContext

    argv = LabContext.of(lab).reached().shell_argv()
    os.execvp(argv[0], argv)  # noqa: S606 - no shell: the list goes to exec


def _take_down(lab: Lab, command: str, *, yes: bool, keep_packages: bool = False) -> None:
    from hardwatt.core.progress import say
    from hardwatt.lifecycle.up import down, undone

    for line in undone(lab, keep_packages=keep_packages):
        say(f"on the host: {line}")
    if not yes and not _agreed(f"Destroy the lab {lab.name} and all data in its cluster?"):
        raise RefusedError("nothing was done: the answer was not yes", hint=f"invoke {command} --yes")
    down(lab, keep_packages=keep_packages)


def _agreed(question: str) -> bool:
    from hardwatt.core import questions

    return questions.ask(f"{question} [y/N] ").lower() in ("y", "yes")


def _toml(settings: dict[str, Any]) -> str:
    lines = [f"{key} = {json.dumps(value)}" for key, value in settings.items() if not isinstance(value, dict)]
    for name, section in settings.items():
        if isinstance(section, dict):
            lines += ["", f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in section.items())]
    return "\n".join(lines)
