"""GitOps: the lab's repository, Flux, and what Flux applies."""

import contextlib
import dataclasses
import socket
from collections.abc import Iterator
from pathlib import Path

from kubernetes import client as kubernetes

from hardwatt import kube, machines
from hardwatt.door import run
from hardwatt.endpoint import Endpoint
from hardwatt.errors import LabError, SettingsError
from hardwatt.files import write_atomic
from hardwatt.gitops import component, drift, flux, keys, mock_app, optional, tree
from hardwatt.gitops.keys import node_data
from hardwatt.gitops.repository import Repository
from hardwatt.lab import Lab
from hardwatt.mirror.index import Index
from hardwatt.progress import say
from hardwatt.ssh import Ssh

__all__ = [
    "GitopsOutcome",
    "app",
    "bootstrap",
    "clone",
    "generated",
    "node_data",
    "plan",
    "reconcile",
    "repository",
    "resume",
    "show",
    "status",
    "status_rows",
    "suspend",
]

_GRANT = "/run/hardwatt/git-grant"
_LISTED = 5
_GRANT_SECONDS = 60 * flux.BOOTSTRAP_MINUTES + 120


@dataclasses.dataclass(frozen=True)
class GitopsOutcome:
    """What a run changed (empty: nothing), and the commit that the cluster holds now."""

    changed: tuple[str, ...]
    head: str


def bootstrap(lab: Lab, index: Index) -> GitopsOutcome:
    """Fill the lab's repository, have Flux in the cluster, and wait until it applied all of it.

    With nothing to do it only reads: no commit, no push, no change in the cluster.

    A workload that somebody deleted is applied again.

    Raises ``RefusedError`` where a person's commit and lab.up's files conflict, or where Flux
    stored another host key than the lab knows.
    """
    endpoint = machines.machine_for(lab).endpoint()
    repo = repository(lab, "lab", endpoint)
    changed = _summary(repo.publish(_desired(lab, index, endpoint), generated=_folder(lab)))
    wanted = _wanted(lab, index, endpoint)
    with kube.client(lab) as api:
        cluster = flux.Cluster(api)
        if index.has_image("grafana") and optional.ensure_grafana_password(kubernetes.CoreV1Api(api)):
            changed.append("password of Grafana")
        if reason := _why_bootstrap(lab, repo, cluster, wanted):
            say(f"flux bootstrap, because {reason}")
            with _flux_may_push(endpoint):
                flux.bootstrap(
                    index.tool("flux"), lab.kubeconfig, keys.path(lab, "flux"), wanted, lab.logs / "flux.log"
                )
            changed.append(f"flux bootstrap {wanted.version}")
            repo.fetch()
        flux.verify_host_key(cluster, wanted)
        if changed or not flux.all_at(flux.synced(cluster), repo.head()):
            # A person's commit too is applied now, not at the next interval.
            cluster.request()
        flux.wait_for(cluster, repo.head())
        changed += drift.repair(cluster, api)
    return GitopsOutcome(tuple(changed), repo.head())


def _summary(paths: list[str]) -> list[str]:
    if len(paths) > _LISTED:
        return [f"repository: {len(paths)} files"]
    return [f"repository: {path}" for path in paths]


def plan(lab: Lab, index: Index) -> str:
    """Return what ``bootstrap`` would change, as text with a diff; empty: nothing. Changes nothing."""
    endpoint = machines.machine_for(lab).endpoint()
    files = _desired(lab, index, endpoint)
    if not keys.path(lab, "controller").exists() or not _answers(endpoint):
        return f"the lab's repository would be made, with {len(files)} files; flux bootstrap would run\n"
    repo = repository(lab, "lab", endpoint)
    repo.fetch()
    found = repo.plan(files, generated=_folder(lab))
    text = repo.difference(files, found)
    if conflicts := [change.path for change in found if change.kind == "conflict"]:
        text += f"lab.up would refuse, because somebody else changed: {', '.join(conflicts)}\n"
    if not lab.kubeconfig.exists():
        return text + "flux bootstrap would run, because the cluster is not known yet\n"
    with kube.client(lab) as api:
        cluster = flux.Cluster(api)
        if reason := _why_bootstrap(lab, repo, cluster, _wanted(lab, index, endpoint)):
            text += f"flux bootstrap would run, because {reason}\n"
        for name, gone in drift.missing(cluster, drift.present(api)).items():
            text += f"Flux would repair {', '.join(gone)} ({name})\n"
    return text


def generated(lab: Lab, index: Index) -> dict[str, str]:
    """Return path -> text of the generated files of the lab's repository."""
    endpoint = machines.machine_for(lab).endpoint()
    files = _desired(lab, index, endpoint)
    return {path: text for path, text in files.items() if path.startswith(f"{_folder(lab)}/")}


def repository(lab: Lab, name: str, endpoint: Endpoint | None = None) -> Repository:
    """Return one of the node's repositories (``lab`` or ``workload``), as the controller's key reaches it."""
    remote = keys.remote(endpoint or machines.machine_for(lab).endpoint())
    keys.ensure(lab)
    folder = lab.dir / "gitops"
    known_hosts = folder / "known_hosts"
    if not known_hosts.exists() or known_hosts.read_text() != f"{remote.known_host}\n":
        write_atomic(known_hosts, f"{remote.known_host}\n")
    command = keys.ssh_command(keys.path(lab, "controller"), known_hosts)
    branch = lab.settings.gitops.branch if name == "lab" else "main"
    return Repository(folder / f"{name}.git", remote.url(name), branch, lab.name, command)


def clone(lab: Lab, folder: Path) -> Path:
    """Clone the lab's repository into a new folder that may push, with the controller's key; return the folder.

    Raises ``LabError`` where the folder exists already.
    """
    if folder.exists():
        raise LabError(f"{folder} exists already", hint="name a new folder, or run git pull in it")
    repo = repository(lab, "lab")
    run(
        ["git", "clone", "--quiet", "--branch", repo.branch, "--config", f"core.sshCommand={repo.ssh_command}",
         repo.url, str(folder)],
        env={"GIT_SSH_COMMAND": repo.ssh_command}, hint="invoke lab.status",
    )  # fmt: skip
    return folder


def app(lab: Lab, state: str) -> str:
    """Switch the talk's mock application ``on`` or ``off`` by a commit, wait for Flux, and return what was done.

    Raises ``LabError``.
    """
    repo = repository(lab, "lab")
    if not mock_app.switch(lab, repo, state):
        return f"the mock application is {state} already"
    with kube.client(lab) as api:
        cluster = flux.Cluster(api)
        cluster.request()
        flux.wait_for(cluster, repo.head())
    return f"the mock application is {state}, by commit {repo.head()[:10]}"


def suspend(lab: Lab) -> None:
    """Stop Flux from fetching and applying, until ``resume``."""
    _suspend(lab, True)


def resume(lab: Lab) -> None:
    """Let Flux fetch and apply again."""
    _suspend(lab, None)


def _suspend(lab: Lab, value: bool | None) -> None:
    with kube.client(lab) as api:
        cluster = flux.Cluster(api)
        for kind in (flux.KUSTOMIZE, flux.SOURCE):
            for name, item in cluster.items(kind).items():
                if bool(item["spec"].get("suspend")) != bool(value):
                    cluster.patch(kind, name, {"spec": {"suspend": value}})


def status(lab: Lab) -> str:
    """Return one sentence about Flux."""
    with kube.client(lab) as api:
        return flux.describe(flux.synced(flux.Cluster(api)))


def status_rows(lab: Lab) -> list[dict[str, str]]:
    """Return each object of Flux that concerns the lab: name, state, revision and what it says."""
    with kube.client(lab) as api:
        found = flux.synced(flux.Cluster(api))
    states = {True: "suspended", False: ""}
    return [
        {
            "name": item.name,
            "state": states[item.suspended] or ("ready" if item.ready and item.current else "not ready"),
            "revision": item.revision,
            "message": item.message,
        }
        for item in found
    ]


def reconcile(lab: Lab) -> str:
    """Have Flux fetch and apply the repository's head now, and wait until all of it is healthy; return the commit.

    Raises ``LabError`` where an object is suspended, ``WaitError`` with what Flux said last.
    """
    repo = repository(lab, "lab")
    head = repo.fetch()
    if not head:
        raise LabError("the lab's repository is empty", hint="invoke lab.up")
    with kube.client(lab) as api:
        cluster = flux.Cluster(api)
        cluster.request()
        flux.wait_for(cluster, head)
        drift.reapply(cluster)
    return head


def show(lab: Lab) -> str:
    """Return the generated kustomization as the repository holds it, with who changed it last."""
    repo = repository(lab, "lab")
    head = repo.fetch()
    path = f"{_folder(lab)}/kustomization.yaml"
    text = repo.text(head, path)
    if not text:
        raise LabError(f"the lab's repository holds no {path}", hint="invoke lab.up")
    return f"# {path}, last changed in {repo.last_author(head, path)}\n{text}"


def _desired(lab: Lab, index: Index, endpoint: Endpoint) -> dict[str, str]:
    if lab.settings.gitops.kind != "git":
        raise SettingsError(
            f"gitops.kind = {lab.settings.gitops.kind!r} is not there yet", hint='set gitops.kind = "git" in lab.toml'
        )
    return tree.desired(lab, index, endpoint.kind)


def _folder(lab: Lab) -> str:
    return component.folder(tree.cluster_path(lab))


def _wanted(lab: Lab, index: Index, endpoint: Endpoint) -> flux.Wanted:
    remote = keys.remote(endpoint)
    settings = lab.settings.gitops
    return flux.Wanted(
        version=flux.version(index.tool("flux")),
        url=remote.url("lab"),
        branch=settings.branch,
        path=tree.cluster_path(lab),
        interval=settings.interval,
        public_key=keys.ensure(lab)["flux"],
        known_host=remote.known_host,
    )


def _why_bootstrap(lab: Lab, repo: Repository, cluster: flux.Cluster, wanted: flux.Wanted) -> str:
    folder = f"{tree.cluster_path(lab)}/flux-system"
    head = repo.head()
    components = repo.text(head, f"{folder}/{tree.GOTK_COMPONENTS}")
    sync = repo.text(head, f"{folder}/{tree.GOTK_SYNC}")
    return flux.outdated_files(wanted, components, sync) or cluster.outdated(wanted)


def _answers(endpoint: Endpoint) -> bool:
    """Return whether something listens at the git server's port."""
    try:
        socket.create_connection((endpoint.node_address, keys.PORT), timeout=5).close()
    except OSError:
        return False
    return True


@contextlib.contextmanager
def _flux_may_push(endpoint: Endpoint) -> Iterator[None]:
    """Let Flux's key push to the lab's repository meanwhile; the right ends by itself too, if we are killed."""
    sudo = "" if endpoint.user == "root" else "sudo -n "
    grant = f"mkdir -p /run/hardwatt; echo flux lab $(($(date +%s) + {_GRANT_SECONDS})) >{_GRANT}"
    with Ssh(endpoint) as ssh:
        ssh.run(f"{sudo}sh -ec '{grant}'")
    try:
        yield
    finally:
        with Ssh(endpoint) as ssh:
            ssh.run(f"{sudo}rm -f {_GRANT}")
