"""``lab.up`` and ``lab.down``: the parts of a lab, joined in one literal list of steps.

Every step finds out by itself what is already there, so a run that was killed is simply run
again, and a run with nothing to do changes nothing and says so.
"""

import contextlib
import dataclasses
import shlex
from collections.abc import Callable, Iterator, Sequence

from kubernetes import client as kubernetes

from hardwatt.cluster import api_tunnel, client, port_forward
from hardwatt.cluster import status as cluster_status
from hardwatt.config.lab import Lab
from hardwatt.connect import tunnels
from hardwatt.core.errors import LabError
from hardwatt.core.nearest import corrected, did_you_mean
from hardwatt.core.progress import say, step
from hardwatt.core.wait import wait
from hardwatt.experiment import operations
from hardwatt.experiment.run import status
from hardwatt.gitops import bootstrap, kubeadm_addons
from hardwatt.gitops import state as gitops_state
from hardwatt.gitops.readiness import Readiness
from hardwatt.machines import lab_lock
from hardwatt.machines.lab_context import LabContext
from hardwatt.mirror import fill, servers, yum
from hardwatt.provision import node_data, reboot, runner

READY_TIMEOUT = 300.0
REBOOTS = 2
"""Reboots that one ``lab.up`` does: boot arguments, and a kernel that has headers."""


@dataclasses.dataclass
class LabState:
    """The state of a run of ``lab.up``: what it has made or found so far."""

    lab: Lab
    changes: list[str] = dataclasses.field(default_factory=list)
    restarted: bool = False
    """The machine was started or rebooted: what the API server holds may be from before."""

    @property
    def context(self) -> LabContext:
        return LabContext.of(self.lab)


def _restore(state: LabState) -> None:
    """Put back what a killed experiment had switched off."""
    state.changes += operations.restore(state.lab)


def _mirror(state: LabState) -> None:
    fill.fill(state.lab)


def _machine(state: LabState) -> None:
    machine = state.context.decide()
    before, obstacle = machine.status().state, machine.obstacle()
    say(f"  {machine.kind}: {machine.why}")
    state.context.start()
    if before != "running":
        state.changes.append(f"machine started (it was {before})")
        state.restarted = True
    elif obstacle:
        state.changes.append(f"link restored ({obstacle})")


def _node(state: LabState) -> None:
    """Provision the node; the mirror serves while that runs, and is not needed afterwards.

    Where the deploys want a reboot it comes between two runs of them: the second one has new facts.
    """
    for done in range(REBOOTS + 1):
        with described(state.context):
            if node_data.takes_rpms(state.lab):
                yum.ensure(state.lab)
            outcome = runner.apply(state.lab)
        state.changes += outcome.changed
        if not outcome.waits:
            return
        if done < REBOOTS:
            _reboot(state)
    why = "; ".join(reboot.reasons(state.context.endpoint))
    raise LabError(f"the node wants yet another reboot after {REBOOTS}: {why}", hint="invoke lab.check")


def _reboot(state: LabState) -> None:
    endpoint = state.context.endpoint
    why = "; ".join(reboot.reasons(endpoint)) or "the deploys ask for it"
    with step(f"Reboot {endpoint.name}", folder=state.lab.dir if state.lab else None) as current:
        current.note(why)
        reboot.reboot(endpoint)
        lab_lock.renew(state.lab)
    state.changes.append(f"rebooted: {why}")
    state.restarted = True


@contextlib.contextmanager
def described(context: LabContext) -> Iterator[None]:
    """Serve the mirror, and write down for the deploys what they need to know about the node."""
    lab, endpoint = context.lab, context.endpoint
    served = servers.serve(lab, endpoint.serve_at).seen_at(endpoint.controller_address) if endpoint.serve_at else None
    try:
        node_data.write_node_data(lab, endpoint, context.index, served)
        with tunnels.reverse(endpoint, served.ports if served else (), lab.logs / "reverse.log"):
            yield
    finally:
        servers.stop_serving(lab)


def _kubeconfig(state: LabState) -> None:
    if client.fetch_kubeconfig(state.lab, state.context.endpoint):
        state.changes.append("kubeconfig fetched")


def _gitops(state: LabState) -> None:
    state.changes += bootstrap.bootstrap(
        state.lab, state.context.index, status.switched_off(state.lab), restarted=state.restarted
    ).changed


def _addons(state: LabState) -> None:
    """Put back what kubeadm put into the cluster: DNS and kube-proxy, without which Flux cannot work."""
    state.changes += kubeadm_addons.restore(state.lab, state.context.endpoint, status.switched_off(state.lab))


def _ready(state: LabState) -> None:
    """Wait until the node is Ready, every pod runs, and the lab has what it should have; name what is left out."""
    lab, off = state.lab, status.switched_off(state.lab)
    items = gitops_state.expected(lab, state.context.index)

    def poll() -> tuple[cluster_status.ClusterStatus, Readiness]:
        with client.connect(lab) as api:
            return cluster_status.read_with(kubernetes.CoreV1Api(api)), gitops_state.look(api, items, off)

    _, readiness = wait(
        poll,
        lambda seen: seen[0].ready and not seen[1].to_put_back,
        what="cluster",
        timeout=READY_TIMEOUT,
        describe=lambda seen: "; ".join(filter(None, (seen[0].summary, seen[1].summary))),
        successes=2 if state.changes else 1,  # what was just changed may be ready for a moment only
        hint="invoke lab.status",
    )
    for name in readiness.suspended:
        say(f"  suspended, and left so: {name} (invoke gitops.resume)")
    for lack in readiness.left:
        say(f"  {lack}")


@dataclasses.dataclass(frozen=True)
class LabStep:
    """One named step of ``lab.up``."""

    name: str
    title: str
    run: Callable[[LabState], None]


STEPS: Sequence[LabStep] = (
    LabStep("mirror", "Fill the mirror", _mirror),
    LabStep("machine", "Start the machine", _machine),
    LabStep("node", "Provision the node", _node),
    LabStep("kubeconfig", "Fetch the kubeconfig", _kubeconfig),
    LabStep("restore", "Restore what an interrupted experiment switched off", _restore),
    LabStep("addons", "Restore what kubeadm put into the cluster", _addons),
    LabStep("gitops", "Bootstrap Flux", _gitops),
    LabStep("ready", "Wait for node and pods", _ready),
)


def select(names: Sequence[str]) -> Sequence[LabStep]:
    """Return the steps with these names, or all; an unknown name lists the right ones."""
    known = [item.name for item in STEPS]
    if unknown := sorted(set(names) - set(known)):
        near = did_you_mean(unknown[0], known, "steps")
        raise LabError(
            f"unknown step {', '.join(unknown)}; {near}", hint=corrected("invoke lab.up --only", unknown[0], known)
        )
    return [item for item in STEPS if not names or item.name in names]


def up(lab: Lab, only: Sequence[str] = ()) -> list[str]:
    """Bring the lab up; return what changed (empty: nothing).

    Raises ``LabError`` from the step that failed; running it again goes on there.
    """
    chosen = select(only)
    state = LabState(lab)
    with lab_lock.locked(lab, "lab.up"):
        for item in chosen:
            with step(item.title, folder=lab.dir) as current:
                before = len(state.changes)
                item.run(state)
                for change in state.changes[before:]:
                    current.note(change)
                current.changed(len(state.changes) - before)
    if not state.changes:
        say("No changes")
    return state.changes


def undone(lab: Lab, *, keep_packages: bool = False) -> list[str]:
    """Return what ``down`` would undo on a host that is not the lab's own; changes nothing.

    Raises ``LabError`` where the host does not answer: then nothing on it can be undone.
    """
    machine = LabContext.of(lab).machine
    if machine.kind != "ssh" or not node_data.node_file(lab).exists():
        return []
    status = machine.status()
    if status.state != "running":
        raise LabError(
            f"the host {status.address} is not reached, so nothing on it can be undone: {status.detail}",
            hint=f"{status.hint}; or, if the host is gone for good, remove {shlex.quote(str(lab.dir))} by hand",
        )
    return runner.reset(lab, keep_packages=keep_packages, dry=True)


def down(lab: Lab, *, keep_packages: bool = False) -> None:
    """Take the lab down and leave nothing behind on this machine, caches and bundles aside.

    Somebody's host is given back as it was, from the record on it; ``keep_packages`` leaves them.

    What an interrupted experiment switched off goes with the cluster; its bundle stays unfinished.
    """
    with lab_lock.locked(lab, "lab.down", lost_host=True):
        with step("Stop forwards and the mirror's servers"):
            port_forward.stop(lab)
            api_tunnel.stop(lab)
            servers.stop_serving(lab)
        if undone(lab, keep_packages=keep_packages):
            with step("Give the host back", folder=lab.dir) as current:
                for line in runner.reset(lab, keep_packages=keep_packages):
                    current.note(line)
        with step("Destroy the machine and restore the host"):
            LabContext.of(lab).machine.destroy()
        for path in (lab.kubeconfig, node_data.node_file(lab)):
            path.unlink(missing_ok=True)
        operations.forget(lab)
