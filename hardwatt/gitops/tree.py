"""The files that a lab's repository gets: the clusters of the checkout, and the generated ones."""

from pathlib import Path

from hardwatt.config.lab import Lab
from hardwatt.core.errors import LabError
from hardwatt.gitops import component, scrape_interval
from hardwatt.mirror.index import Index

GOTK_COMPONENTS = "gotk-components.yaml"
GOTK_SYNC = "gotk-sync.yaml"
OPTIONAL = ("grafana", "kepler")
"""Parts that are in the cluster where their image is in the mirror: each is a file of the cluster's folder."""
_SEED = "# Written by `flux bootstrap`.\n"


def desired(lab: Lab, index: Index, kind: str, interval: str = scrape_interval.BASE) -> dict[str, str]:
    """Return path -> text of every file that lab.up keeps in the repository.

    ``kind`` is the node's kind of machine, ``interval`` the scrape interval of its counters. Flux's own two files are
    there with a comment alone, so that flux-system/kustomization.yaml can be built before ``flux bootstrap`` writes
    them.
    """
    cluster = cluster_path(lab)
    files = _checkout(lab.root / "clusters", cluster)
    facts = component.facts(lab.settings, index, kind, interval)
    for name in OPTIONAL:
        if name in facts.missing:
            files.pop(f"{cluster}/{name}.yaml", None)
    files[f"{generated_folder(lab)}/kustomization.yaml"] = component.render(facts, files)
    for name in (GOTK_COMPONENTS, GOTK_SYNC):
        files.setdefault(f"{cluster}/flux-system/{name}", _SEED)
    return files


def cluster_path(lab: Lab) -> str:
    """Return the folder that Flux syncs, relative to the repository and without slashes at its ends."""
    return lab.settings.gitops.path.strip("/").removeprefix("./")


def generated_folder(lab: Lab) -> str:
    """Return the folder of the generated files, relative to the repository."""
    return component.folder(cluster_path(lab))


def _checkout(clusters: Path, cluster: str) -> dict[str, str]:
    """Return the checkout's base and the folder of this cluster; other clusters stay at home."""
    files = {
        f"clusters/{path.relative_to(clusters).as_posix()}": path.read_text()
        for path in sorted(clusters.rglob("*"))
        if path.is_file()
    }
    if not any(path.startswith(f"{cluster}/") for path in files):
        raise LabError(
            f"there is no folder {cluster} in {clusters.parent}",
            hint="set gitops.path in lab.toml to a folder below clusters/, or make one like clusters/lab",
        )
    return {path: text for path, text in files.items() if path.startswith(("clusters/base/", f"{cluster}/"))}
