"""GitOps: the lab's repository, Flux, and what Flux applies."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from kubernetes import client as kubernetes

from hardwatt.cluster import client
from hardwatt.config.lab import Lab
from hardwatt.core.errors import CommandError, LabError
from hardwatt.core.process import run
from hardwatt.core.progress import say
from hardwatt.gitops import addons, component, drift, flux, mock_app, put_back, tree
from hardwatt.gitops.deployment import GitOpsDeployment
from hardwatt.gitops.errors import explain
from hardwatt.gitops.git_remote import repository
from hardwatt.gitops.readiness import Key, Lack, Readiness
from hardwatt.gitops.repository import Repository
from hardwatt.gitops.state import expected, look, look_settled
from hardwatt.mirror.index import Index

_LISTED = 5


@dataclasses.dataclass(frozen=True)
class GitopsOutcome:
    """What a run changed (empty: nothing), and the commit that the cluster holds now."""

    changed: tuple[str, ...]
    head: str


def bootstrap(
    lab: Lab, index: Index, switched_off: Mapping[Key, str] | None = None, *, restarted: bool = False
) -> GitopsOutcome:
    """Fill the lab's repository, have Flux in the cluster, and wait until it applied all of it.

    With nothing to do it only reads: no commit, no push, no change in the cluster.

    What somebody scaled or deleted is put back, unless Flux is suspended there; ``switched_off`` is what an
    experiment's journal says, and is left alone too. ``restarted``: the machine was started since Flux said anything;
    what it said is from before, so that it is asked to apply again.

    Raises ``RefusedError`` where a person's commit and lab.up's files conflict, or where Flux
    stored another host key than the lab knows; ``GitServerError`` where the git server is down or refuses.
    """
    place = GitOpsDeployment(lab, index)
    if missing := component.left_out(index):
        say(f"  left out, for want of an image (invoke mirror.import): {', '.join(missing)}")
    changed = place.prepare()
    repo = place.repository
    changed += _summary(repo.publish(place.files, generated=_folder(lab)))
    wanted = place.wanted()
    with client.connect(lab) as api:
        cluster = flux.FluxObjects(api)

        def seen() -> Readiness:
            return look(api, items, switched_off)

        items = expected(lab, index, repo)
        put_back.settle(cluster, seen)
        if index.has_image("grafana") and addons.ensure_grafana_password(kubernetes.CoreV1Api(api)):
            changed.append("password of Grafana")
        changed += put_back.scale(api, _of_git(seen()))
        if reason := _why_bootstrap(lab, repo, cluster, wanted):
            say(f"flux bootstrap, because {reason}")
            place.bootstrap(cluster, wanted)
            changed.append(f"flux bootstrap {wanted.version}")
            repo.fetch()
            items = expected(lab, index, repo)
        flux.verify_host_key(cluster, wanted)
        again = restarted and not switched_off
        if changed or again or not flux.moved_to(flux.synced(cluster), repo.head()):
            # A person's commit too is applied now, not at the next interval.
            cluster.request()
        repaired = put_back.by_flux(cluster, api, seen)
        if again:
            drift.reapply(cluster)
        flux.wait_for(cluster, repo.head(), respect=True)
        if repaired:  # what is no workload may have gone with them, as a namespace's ConfigMaps
            drift.reapply(cluster)
        changed += repaired
        changed += drift.repair(cluster, api)
        _tell_held(flux.synced(cluster), repo.head())
    return GitopsOutcome(tuple(changed), repo.head())


def _of_git(state: Readiness) -> tuple[Lack, ...]:
    return tuple(lack for lack in state.of("scaled") if lack.item.owner)


def _tell_held(found: Sequence[flux.Sync], commit: str) -> None:
    """Say what stays at another commit because somebody suspended it."""
    for item in flux.held(found):
        if not item.at(commit):
            say(
                f"  {item.name} stays at {item.revision or 'nothing'}, because Flux is suspended (invoke gitops.resume)"
            )


def compared(lab: Lab, switched_off: Mapping[Key, str] | None = None) -> Readiness:
    """Return what the lab lacks in the cluster, and what is suspended; changes nothing. Raises ``LabError``.

    A reconciliation that is running is waited for, within limits.
    """
    with client.connect(lab) as api:
        return look_settled(api, expected(lab), switched_off)


def _summary(paths: list[str]) -> list[str]:
    if len(paths) > _LISTED:
        return [f"repository: {len(paths)} files"]
    return [f"repository: {path}" for path in paths]


def plan(lab: Lab, index: Index, switched_off: Mapping[Key, str] | None = None) -> str:
    """Return what ``bootstrap`` would change, as text with a diff; empty: nothing. Changes nothing."""
    place = GitOpsDeployment(lab, index)
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
    with client.connect(lab) as api:
        cluster = flux.FluxObjects(api)
        if reason := _why_bootstrap(lab, repo, cluster, place.wanted()):
            text += f"flux bootstrap would run, because {reason}\n"
        lacks = look(api, expected(lab, index, repo), switched_off).of("scaled", "missing", "placed", "deleting")
        text += "".join(f"would be put back: {lack}\n" for lack in lacks if lack.item.owner)
        known = {str(lack.item) for lack in lacks}
        for name, gone in drift.missing(cluster, drift.present(api)).items():
            if more := [workload for workload in gone if workload not in known]:
                text += f"Flux would repair {', '.join(more)} ({name})\n"
    return text


def generated(lab: Lab, index: Index) -> dict[str, str]:
    """Return path -> text of the generated files of the lab's repository."""
    files = GitOpsDeployment(lab, index).files
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
    with client.connect(lab) as api:
        cluster = flux.FluxObjects(api)
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
    with client.connect(lab) as api:
        cluster = flux.FluxObjects(api)
        for kind in (flux.KUSTOMIZE, flux.SOURCE):
            for name, item in cluster.items(kind).items():
                if bool(item["spec"].get("suspend")) != bool(value):
                    cluster.patch(kind, name, {"spec": {"suspend": value}})


def status(lab: Lab) -> str:
    """Return one sentence about Flux."""
    with client.connect(lab) as api:
        return flux.describe(flux.settled(flux.FluxObjects(api)))


def status_rows(lab: Lab, switched_off: Mapping[Key, str] | None = None) -> list[dict[str, str]]:
    """Return each object of Flux that concerns the lab, and what of git lacks: name, state, revision and message.

    A reconciliation that is running is waited for, within limits.
    """
    with client.connect(lab) as api:
        found = flux.settled(flux.FluxObjects(api))
        state = look(api, expected(lab), switched_off)
    states = {True: "suspended", False: ""}
    rows = [
        {
            "name": item.name,
            "state": states[item.suspended] or ("ready" if item.ready and item.current else "not ready"),
            "revision": item.revision,
            "message": item.message,
        }
        for item in found
    ]
    lacks = [
        {
            "name": lack.item.name,
            "state": "missing" if lack.why == "missing" else "not ready",
            "revision": "",
            "message": str(lack),
        }
        for lack in put_back.flux_lacks(state)
    ]
    return rows + lacks


def reconcile(lab: Lab, switched_off: Mapping[Key, str] | None = None) -> str:
    """Have Flux fetch and apply the repository's head now, and wait until all of it is healthy; return the commit.

    Raises ``LabError`` at once where a controller or an object of Flux is not there or suspended, ``WaitError`` with
    what Flux said last.
    """
    repo = repository(lab, "lab")
    head = repo.fetch()
    if not head:
        raise LabError("the lab's repository is empty", hint="invoke lab.up")
    with client.connect(lab) as api:
        cluster = flux.FluxObjects(api)
        items = expected(lab, repo=repo)
        put_back.refuse(look(api, items, switched_off))
        cluster.request()
        for line in put_back.by_flux(cluster, api, lambda: look(api, items, switched_off)):
            say(line)
        flux.wait_for(cluster, head)
        drift.reapply(cluster)
        put_back.complete(lambda: look(api, items, switched_off))
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


def _why_bootstrap(lab: Lab, repo: Repository, cluster: flux.FluxObjects, wanted: flux.DesiredFlux) -> str:
    folder = f"{tree.cluster_path(lab)}/flux-system"
    head = repo.head()
    components = repo.text(head, f"{folder}/{tree.GOTK_COMPONENTS}")
    sync = repo.text(head, f"{folder}/{tree.GOTK_SYNC}")
    return flux.outdated_files(wanted, components, sync) or cluster.outdated(wanted)
