"""The lab's readiness, read from git and the cluster; changes nothing."""

from collections.abc import Mapping
from typing import Any

from hardwatt.config.lab import Lab
from hardwatt.core.errors import LabError
from hardwatt.core.progress import say
from hardwatt.core.wait import wait_at_most
from hardwatt.gitops import desired, flux, git_remote, readiness, tree
from hardwatt.gitops.desired import Item
from hardwatt.gitops.readiness import Key, Live, Readiness
from hardwatt.gitops.repository import Repository
from hardwatt.machines.lab_context import LabContext
from hardwatt.mirror.index import Index

KEPT = "desired.json"


def expected(lab: Lab, index: Index | None = None, repo: Repository | None = None) -> tuple[Item, ...]:
    """Return what the lab should have: git's, kubeadm's and Flux's own.

    Without ``repo`` the repository is fetched, unless a person would be asked for a password; where it does not answer,
    what was fetched last counts, and this says so. Raises ``LabError`` where git's manifests cannot be built.
    """
    fetched = repo or _fetched(lab)
    tool = (index or LabContext.of(lab).index).tool("flux")
    items = desired.desired(fetched, tree.cluster_path(lab), tool, lab.dir / "gitops" / KEPT)
    return readiness.expected(items)


def _fetched(lab: Lab) -> Repository:
    last = git_remote.copy(lab)
    if git_remote.asks(lab.settings.gitops):
        return last
    try:
        repo = git_remote.repository(lab, "lab")
        repo.fetch()
    except LabError as error:
        say(f"git: {error.message}; what was fetched last is compared with")
        return last
    return repo


def look(api: Any, items: tuple[Item, ...], switched_off: Mapping[Key, str] | None = None) -> Readiness:
    """Return what lacks in the cluster now; ``switched_off`` is what an experiment's journal says."""
    return readiness.compare(items, readiness.read(api), switched_off or {})


def look_settled(api: Any, items: tuple[Item, ...], switched_off: Mapping[Key, str] | None = None) -> Readiness:
    """Return what lacks when Flux is not at work, or after ``flux.SETTLE_TIMEOUT`` seconds what lacks then."""
    wanted = {item.key for item in items}

    def working(live: Live) -> list[str]:
        return [key[2] for key, item in live.flux.items() if item.working and key in wanted]

    live = wait_at_most(
        lambda: readiness.read(api),
        lambda live: not working(live),
        what="Flux at work",
        timeout=flux.SETTLE_TIMEOUT,
        describe=lambda live: ", ".join(working(live)),
    )
    return readiness.compare(items, live, switched_off or {})
