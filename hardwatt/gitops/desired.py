"""Objects that the lab should have in the cluster by git: namespaces, Flux's objects, workloads with their replicas.

Each Kustomization is built with ``flux build kustomization``, which is kustomize-controller's own code: a replica count
that a patch or a component sets is seen as Flux sees it.
"""

import dataclasses
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from hardwatt.core import process, state_files
from hardwatt.core.errors import CommandError, LabError
from hardwatt.core.files import write_json
from hardwatt.gitops.flux import NAMESPACE
from hardwatt.gitops.repository import Repository
from hardwatt.gitops.tree import GOTK_SYNC

REPLICATED = ("Deployment", "StatefulSet")
WORKLOADS = (*REPLICATED, "DaemonSet")
FLUX_KINDS = ("GitRepository", "Kustomization")
SCHEMA = 1
BUILD_TIMEOUT = 60.0
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # Flux's CRDs are half a megabyte


@dataclasses.dataclass(frozen=True)
class Item:
    """One object that the lab should have."""

    kind: str
    namespace: str
    name: str
    owner: str = ""
    """The Kustomization that applies it; empty: none (kubeadm's, or the root Kustomization)."""
    replicas: int = 1
    """Of a Deployment or StatefulSet."""
    node_selector: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Of a DaemonSet's pods."""

    @property
    def key(self) -> tuple[str, str, str]:
        return (self.kind, self.namespace, self.name)

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}".replace(" /", " ")

    @classmethod
    def of(cls, manifest: Mapping[str, Any], owner: str) -> "Item | None":
        """Return what a manifest asks for; None where nothing of it is compared."""
        kind, group = str(manifest.get("kind")), str(manifest.get("apiVersion", "")).partition("/")[0]
        meta, spec = manifest.get("metadata") or {}, manifest.get("spec") or {}
        item = cls(kind, str(meta.get("namespace") or ""), str(meta.get("name")), owner)
        if kind in REPLICATED and group == "apps":
            return dataclasses.replace(item, replicas=int(spec.get("replicas", 1)))
        if kind == "DaemonSet" and group == "apps":
            pod = (spec.get("template") or {}).get("spec") or {}
            return dataclasses.replace(item, node_selector=dict(pod.get("nodeSelector") or {}))
        wanted = (kind == "Namespace" and group == "v1") or (kind in FLUX_KINDS and group.endswith(".fluxcd.io"))
        return item if wanted else None


def desired(repo: Repository, cluster: str, flux: Path, kept: Path) -> tuple[Item, ...]:
    """Return what the repository's head, as fetched last, asks for; empty: Flux was never bootstrapped there.

    ``cluster`` is the folder that Flux syncs, ``flux`` the CLI, ``kept`` a file that holds the last answer.
    Raises ``LabError`` where Flux could not build it either.
    """
    commit = repo.head()
    if not commit:
        return ()
    last = state_files.cached(kept, _kept, schema=SCHEMA)
    if last and last[0] == (commit, cluster):
        return last[1]
    with tempfile.TemporaryDirectory(prefix="hardwatt-desired-") as folder:
        tree = Path(folder, "tree")
        _extract(repo, commit, tree)
        items = tuple(_read(tree, cluster, flux))
    kept.parent.mkdir(parents=True, exist_ok=True)
    entries = [dataclasses.asdict(item) for item in items]
    write_json(kept, {"schema": SCHEMA, "commit": commit, "cluster": cluster, "items": entries})
    return items


def _kept(value: Any) -> tuple[tuple[str, str], tuple[Item, ...]]:
    """Return a commit, its cluster's folder, and what they ask for. Raises ``ValueError`` or its like."""
    return (value["commit"], value["cluster"]), tuple(state_files.typed(Item, item) for item in value["items"])


def _extract(repo: Repository, commit: str, folder: Path) -> None:
    """Write a commit's tree below a folder; nothing of it can lead out of there."""
    archive = folder.with_suffix(".tar")
    repo.git("archive", f"--output={archive}", commit)
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")


def _read(tree: Path, cluster: str, flux: Path) -> list[Item]:
    """Return what the root Kustomization and those that it applies ask for."""
    sync = tree / cluster / "flux-system" / GOTK_SYNC
    documents = list(_documents(sync.read_text())) if sync.exists() else []
    items: dict[tuple[str, str, str], Item] = {}
    # Nobody but a bootstrap brings the root back, so it has no owner.
    _collect(items, documents, "")
    waiting = [document for document in documents if _is_kustomization(document)]
    built: set[tuple[str, str]] = set()
    while waiting:
        document = waiting.pop(0)
        meta = document["metadata"]
        key = (str(meta.get("namespace") or NAMESPACE), str(meta["name"]))
        if key not in built and _of_this_repository(document):
            built.add(key)
            applied = list(_build(tree, document, key, flux))
            _collect(items, applied, key[1])
            waiting += [document for document in applied if _is_kustomization(document)]
    return list(items.values())


def _collect(items: dict[tuple[str, str, str], Item], documents: Iterable[Mapping[str, Any]], owner: str) -> None:
    for document in documents:
        item = Item.of(document, owner)
        if item is not None:
            items.setdefault(item.key, item)


def _build(tree: Path, document: Mapping[str, Any], key: tuple[str, str], flux: Path) -> Iterator[Mapping[str, Any]]:
    path = str(document["spec"].get("path") or "./")
    folder = (tree / path.removeprefix("/")).resolve()
    if not folder.is_relative_to(tree.resolve()) or not folder.is_dir():
        raise LabError(
            f"the Kustomization {key[1]} in git names the folder {path}, which is not there",
            hint="invoke gitops.clone FOLDER; there mend its path, commit and push",
        )
    file = tree.with_name("kustomization.yaml")
    file.write_text(yaml.safe_dump(dict(document)))
    argv = [
        str(flux), "build", "kustomization", key[1], f"--namespace={key[0]}", f"--path={folder}",
        f"--kustomization-file={file}", "--dry-run",
    ]  # fmt: skip
    try:
        text = process.run(argv, cwd=tree, timeout=BUILD_TIMEOUT).stdout
    except CommandError as error:
        said = (error.stderr or error.stdout).strip().splitlines() or ["without a word"]
        raise LabError(
            f"the Kustomization {key[1]} in git cannot be built: {said[-1]}",
            hint="invoke gitops.clone FOLDER; there mend it or revert the commit, and push",
        ) from error
    return _documents(text)


def _documents(text: str) -> Iterator[Mapping[str, Any]]:
    """Yield the objects of a text of several documents."""
    return (document for document in yaml.load_all(text, Loader=_LOADER) if isinstance(document, dict))


def _is_kustomization(document: Mapping[str, Any]) -> bool:
    group = str(document.get("apiVersion", "")).partition("/")[0]
    return document.get("kind") == "Kustomization" and group == "kustomize.toolkit.fluxcd.io"


def _of_this_repository(document: Mapping[str, Any]) -> bool:
    reference: Mapping[str, Any] = document["spec"].get("sourceRef") or {}
    return reference.get("kind") == "GitRepository" and reference.get("name") == NAMESPACE
