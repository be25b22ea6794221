"""Looking at a lab without changing it: check, plan and status."""

import contextlib
import json
from collections.abc import Iterator

from hardwatt.cluster import port_forward
from hardwatt.cluster import status as cluster_status
from hardwatt.config.lab import Lab
from hardwatt.connect import sudo
from hardwatt.connect.endpoint import Endpoint
from hardwatt.connect.ssh import Ssh
from hardwatt.core import problem
from hardwatt.core.errors import LabError, next_after
from hardwatt.core.problem import Problem
from hardwatt.core.progress import cells, console, say, table
from hardwatt.experiment.run import status as run_status
from hardwatt.gitops import bootstrap, control, kubeadm_addons
from hardwatt.lifecycle.up import described
from hardwatt.machines import choice, reach_host
from hardwatt.machines.lab_context import LabContext
from hardwatt.meter import node_config, node_meter, show, sources
from hardwatt.meter.sources import Sources
from hardwatt.mirror import fill
from hardwatt.provision import guide, node_data, runner, selinux_denials


def check(lab: Lab, *, as_json: bool = False) -> int:
    """Print every problem of host and node with its remedy; return 1 where lab.up would stop."""
    try:
        reach_host.require(lab, root=True)
    except LabError as error:
        if not as_json:
            raise
        problems = [problem.error("host", error.message, error.hint)]
    else:
        problems = _problems(lab)
    if as_json:
        print(json.dumps([item.to_dict() for item in problems], indent=2))
    elif problems:
        shown = table("severity", "what", "remedy")
        for item in problems:
            shown.add_row(*cells(item.severity, item.what, item.remedy))
        console.print(shown)
    else:
        say("no problems")
    return int(any(item.severity == "error" for item in problems))


def _problems(lab: Lab) -> list[Problem]:
    """Return the host's problems, and the node's where it runs."""
    if problems := choice.problems(lab):
        return problems
    context = LabContext.of(lab)
    if context.machine.status().state != "running":
        say("the machine does not run; its node is checked when it does")
        return []
    context.reached()
    with _for_a_check(context):
        return runner.check(lab)


@contextlib.contextmanager
def _for_a_check(context: LabContext) -> Iterator[None]:
    """Describe the node to the deploys; a host can be looked at before anything is built."""
    if fill.missing(context.lab):
        node_data.write_node_data(context.lab, context.endpoint, context.upstream_index, None)
        yield
    else:
        with described(context):
            yield


def plan(lab: Lab, *, explain: bool = False) -> None:
    """Print what ``lab.up`` would change; changes nothing on the host, the node or in the cluster.

    ``explain`` prints each step's commands instead, and why.
    """
    reach_host.require(lab, root=True)
    if lacking := fill.missing(lab):
        say(f"mirror: would download or build {', '.join(lacking)}")
        say("what would change on the node is known when the mirror is filled")
        say("next: invoke mirror.fill && invoke lab.plan")
        return
    context = LabContext.of(lab)
    machine = context.machine
    if machine.status().state != "running":
        say(f"machine: would be started ({machine.kind}: {machine.why})")
        say("what would change on the node is known when it runs")
        say("next: invoke lab.machine.start && invoke lab.plan")
        return
    context.reached()
    with described(context):
        if explain:
            print("\n".join(guide.lines(runner.explain(lab))))
            return
        planned = runner.plan(lab)
    for line in planned.lines:
        say(f"node: {line}")
    off = run_status.switched_off(lab)
    own = kubeadm_addons.planned(lab, off) if lab.kubeconfig.exists() else []
    for line in own:
        say(f"cluster: {line}")
    difference = bootstrap.plan(lab, context.index, off) if lab.kubeconfig.exists() else "would bootstrap Flux"
    say(f"gitops: {difference}" if difference else "gitops: nothing")
    if not planned.lines and not own and not difference:
        say("No changes")


def status(lab: Lab) -> int:
    """Print the state of every part of the lab; return 0 where all that should run does."""
    context = LabContext.of(lab)
    machine = context.machine.status()
    say(f"lab {lab.name}: {machine.kind} machine {machine.state} {machine.address} {machine.detail}".rstrip())
    obstacle = context.machine.obstacle()
    if obstacle:
        say(obstacle)
    if obstacle or machine.state != "running":
        say(f"next: {machine.hint or 'invoke lab.up'}")
        return 1
    if not lab.kubeconfig.exists():
        reach_host.require(lab, root=True)  # lab.up, which is next, needs root there
    try:
        selinux = selinux_denials.on_node(context.endpoint)
    except LabError as error:  # no password for sudo, perhaps: the rest needs none
        selinux = f"not known: {error.message}"
    if selinux:
        say(f"selinux: {selinux}")
    try:
        cluster = cluster_status.read(lab)
    except LabError as error:
        say(f"cluster: {error.message}\nnext: {next_after('lab.status', error.hint)}")
        return 1
    say(f"cluster: {cluster.summary}")
    pods = table("namespace", "pod", "phase", "ready", "restarts")
    for pod in cluster.pods:
        pods.add_row(pod.namespace, pod.name, pod.phase, str(pod.ready), str(pod.restarts))
    console.print(pods)
    say(f"gitops: {control.status(lab)}")
    following = _compared(lab)
    following = _meter_state(lab, context.endpoint) or following
    say(f"forward: {port_forward.status(lab)}")
    say(f"experiment: {run_status.status(lab)}")
    following = following or ("" if cluster.ready else "invoke lab.up")
    if following:
        say(f"next: {following}")
    return 1 if following else 0


def _compared(lab: Lab) -> str:
    """Print what lacks against git and kubeadm, and what is suspended; return the next command (empty: none is needed).

    What a running experiment switched off is its business; after one that was killed it lacks.
    """
    off = run_status.switched_off(lab)
    try:
        readiness = control.compared(lab, off)
    except LabError as error:
        say(f"git: {error.message}")
        return next_after("lab.status", error.hint)
    for lack in readiness.lacks:
        say(f"lacks: {lack}")
    for name in readiness.suspended:
        say(f"suspended: {name} (invoke gitops.resume)")
    running = bool(off) and bool(lab.holder())
    lacks = [lack for lack in readiness.lacks if not (running and lack.item.key in off)]
    if not lacks:
        return ""
    return "invoke gitops.resume" if all(lack.left and lack.item.key not in off for lack in lacks) else "invoke lab.up"


def meter(lab: Lab) -> str:
    """Return what the meter on the node says: its unit's state and the page that it writes."""
    with Ssh(LabContext.of(lab).reached_endpoint()) as ssh:
        state = node_meter.read(ssh.run)
        page = ssh.run(f"cat {node_config.PAGE}", check=False)
    if page.returncode != 0:
        raise LabError(f"the meter of {lab.name} has written nothing yet (its unit is {state.active or 'unknown'})",
                       hint="invoke lab.up")  # fmt: skip
    return f"{state.sentence}\n{page.stdout}".rstrip()


def _meter_state(lab: Lab, endpoint: Endpoint) -> str:
    """Print whether the node's meter records and runs as the lab says; return the next command (empty: none)."""
    try:
        with Ssh(endpoint) as ssh:
            state = node_meter.read(ssh.run)
        difference = state.difference(node_data.meter_sha256(lab))
    except LabError as error:
        say(f"meter: {error.message}")
        return next_after("lab.status", error.hint)
    say(f"meter: {difference or state.sentence}")
    return "invoke lab.up" if difference or not state.records else ""


def processor(lab: Lab) -> show.Processor:
    """Return the node's processor; this machine's where its node does not run.

    Raises ``LabError`` where the node is a host over SSH that does not answer.
    """
    context = LabContext.of(lab)
    try:
        machine = context.machine
    except LabError:  # no machine fits here: the models are read all the same
        return show.Processor.here()
    if machine.kind != "ssh" and machine.status().state != "running":
        return show.Processor.here()
    endpoint = context.reached_endpoint()
    there = node_data.Processor.of(endpoint)
    return show.Processor(there.cpus, there.info, there.instance, _place(endpoint))


def _place(endpoint: Endpoint) -> str:
    return f"the host {endpoint.address}" if endpoint.kind == "ssh" else f"the node {endpoint.name}"


def zones(lab: Lab, *, here: bool = False) -> Sources:
    """Return the energy counters of the node, watched; those of this machine with ``here``.

    Where no node runs on this machine, its own counters are the ones that a node would have. A host over SSH is never
    replaced by this machine: ``LabError`` where the host does not answer.
    """
    if not here:
        context = LabContext.of(lab)
        if context.machine.kind == "ssh" or context.machine.status().state == "running":
            endpoint = context.reached_endpoint()
            with Ssh(endpoint) as ssh:
                root = sudo.prefix(endpoint)  # RAPL's counters are root's to read
                return sources.on_node(
                    lambda text, **more: ssh.run(root + text, **more), show.NODE_ROOTS, place=_place(endpoint)
                )
        say("no node runs: this machine is looked at")
    return sources.here()
