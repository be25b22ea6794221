"""Control of GitOps: compare, reconcile, suspend and resume, and the state of Flux for a person."""

from collections.abc import Mapping
from pathlib import Path

from hardwatt.cluster import client
from hardwatt.config.lab import Lab
from hardwatt.core.errors import CommandError, LabError
from hardwatt.core.process import run
from hardwatt.core.progress import say
from hardwatt.gitops import drift, flux, mock_app, put_back, tree
from hardwatt.gitops.errors import explain
from hardwatt.gitops.git_remote import repository
from hardwatt.gitops.readiness import Key, Readiness
from hardwatt.gitops.state import expected, look, look_settled


def compared(lab: Lab, switched_off: Mapping[Key, str] | None = None) -> Readiness:
    """Return what the lab lacks in the cluster, and what is suspended; changes nothing. Raises ``LabError``.

    A reconciliation that is running is waited for, within limits.
    """
    with client.connect(lab) as api:
        return look_settled(api, expected(lab), switched_off)


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
    with lab.lock("gitops.suspend"):
        _suspend(lab, True)


def resume(lab: Lab) -> None:
    """Let Flux fetch and apply again."""
    with lab.lock("gitops.resume"):
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
        syncs = flux.settled(flux.FluxObjects(api))
        state = look(api, expected(lab), switched_off)
    states = {True: "suspended", False: ""}
    rows = [
        {
            "name": item.name,
            "state": states[item.suspended] or ("ready" if item.ready and item.current else "not ready"),
            "revision": item.revision,
            "message": item.message,
        }
        for item in syncs
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
    path = f"{tree.generated_folder(lab)}/kustomization.yaml"
    text = repo.text(head, path)
    if not text:
        raise LabError(f"the lab's repository holds no {path}", hint="invoke lab.up")
    return f"# {path}, last changed in {repo.last_author(head, path)}\n{text}"
