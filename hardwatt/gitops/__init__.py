"""GitOps: the lab's repository, Flux, and what Flux applies."""

import dataclasses
from pathlib import Path

from kubernetes import client as kubernetes

from hardwatt import kube
from hardwatt.door import run
from hardwatt.errors import CommandError, LabError
from hardwatt.gitops import component, drift, flux, mock_app, optional, tree
from hardwatt.gitops.faults import explain
from hardwatt.gitops.home import repository
from hardwatt.gitops.keys import node_data
from hardwatt.gitops.place import Place
from hardwatt.gitops.repository import Repository
from hardwatt.lab import Lab
from hardwatt.mirror.index import Index
from hardwatt.progress import say

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

_LISTED = 5


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
    stored another host key than the lab knows; ``GitServerError`` where the git server is down or refuses.
    """
    place = Place(lab, index)
    if missing := component.left_out(index):
        say(f"  left out, for want of an image (invoke mirror.import): {', '.join(missing)}")
    changed = place.prepare()
    repo = place.repository
    changed += _summary(repo.publish(place.files, generated=_folder(lab)))
    wanted = place.wanted()
    with kube.client(lab) as api:
        cluster = flux.Cluster(api)
        if index.has_image("grafana") and optional.ensure_grafana_password(kubernetes.CoreV1Api(api)):
            changed.append("password of Grafana")
        if reason := _why_bootstrap(lab, repo, cluster, wanted):
            say(f"flux bootstrap, because {reason}")
            place.bootstrap(cluster, wanted)
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
    place = Place(lab, index)
    if not place.answers():
        return f"the lab's repository would be made, with {len(place.files)} files; flux bootstrap would run\n"
    repo = place.repository
    repo.fetch()
    found = repo.plan(place.files, generated=_folder(lab))
    text = repo.difference(place.files, found)
    if conflicts := [change.path for change in found if change.kind == "conflict"]:
        text += f"lab.up would refuse, because somebody else changed: {', '.join(conflicts)}\n"
    if not lab.kubeconfig.exists():
        return text + "flux bootstrap would run, because the cluster is not known yet\n"
    with kube.client(lab) as api:
        cluster = flux.Cluster(api)
        if reason := _why_bootstrap(lab, repo, cluster, place.wanted()):
            text += f"flux bootstrap would run, because {reason}\n"
        for name, gone in drift.missing(cluster, drift.present(api)).items():
            text += f"Flux would repair {', '.join(gone)} ({name})\n"
    return text


def generated(lab: Lab, index: Index) -> dict[str, str]:
    """Return path -> text of the generated files of the lab's repository."""
    files = Place(lab, index).files
    return {path: text for path, text in files.items() if path.startswith(f"{_folder(lab)}/")}


def clone(lab: Lab, folder: Path) -> Path:
    """Clone the lab's repository into a new folder; return the folder.

    Over SSH it may push, with the lab's key; over HTTPS git asks there as it always does, and keeps no token of ours.
    Raises ``LabError`` where the folder exists already.
    """
    if folder.exists():
        raise LabError(f"{folder} exists already", hint="name a new folder, or run git pull in it")
    repo = repository(lab, "lab")
    keep = ["--config", f"core.sshCommand={repo.ssh_command}"] if repo.ssh_command else []
    try:
        run(["git", "clone", "--quiet", "--branch", repo.branch, *keep, repo.url, str(folder)], env=repo.env)
    except CommandError as error:
        raise explain(repo.url, error) from error
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


def _folder(lab: Lab) -> str:
    return component.folder(tree.cluster_path(lab))


def _why_bootstrap(lab: Lab, repo: Repository, cluster: flux.Cluster, wanted: flux.Wanted) -> str:
    folder = f"{tree.cluster_path(lab)}/flux-system"
    head = repo.head()
    components = repo.text(head, f"{folder}/{tree.GOTK_COMPONENTS}")
    sync = repo.text(head, f"{folder}/{tree.GOTK_SYNC}")
    return flux.outdated_files(wanted, components, sync) or cluster.outdated(wanted)
