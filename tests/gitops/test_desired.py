"""What git asks for, read with the real flux CLI from a repository of the test's own."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from hardwatt.config.lab import Lab
from hardwatt.core.errors import LabError
from hardwatt.gitops import desired, tree
from hardwatt.gitops.desired import Item
from hardwatt.gitops.repository import Repository
from hardwatt.mirror.index import Index
from tests.gitops.conftest import User, find_tool

GIT = {"kind": "GitRepository", "name": "flux-system"}


def kustomization(name: str, path: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
        "metadata": {"name": name, "namespace": "flux-system"},
        "spec": {"interval": "1h", "prune": True, "path": path, "sourceRef": GIT, **spec},
    }  # fmt: skip


def workload(kind: str, name: str, **spec: Any) -> dict[str, Any]:
    pod = {
        "metadata": {"labels": {"a": "b"}},
        "spec": {"containers": [{"name": "c", "image": "i"}], **spec.pop("pod", {})},
    }
    body = {"selector": {"matchLabels": {"a": "b"}}, "template": pod, **spec}
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name, "namespace": "apps"}, "spec": body}


SYNC = [
    {"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository",
     "metadata": {"name": "flux-system", "namespace": "flux-system"}, "spec": {"interval": "1m", "url": "ssh://x"}},
    kustomization("flux-system", "./clusters/lab"),
]  # fmt: skip


@pytest.fixture
def files(lab: Lab, index: Index) -> dict[str, str]:
    """The lab's own files, with Flux's two as a bootstrap writes them."""
    found = tree.desired(lab, index, "embedded")
    deployments = [
        workload("Deployment", "source-controller", replicas=1),
        workload("Deployment", "kustomize-controller", replicas=1),
    ]
    for one in deployments:
        one["metadata"]["namespace"] = "flux-system"
        one["spec"]["template"]["spec"]["containers"][0]["args"] = ["--a"]
    found["clusters/lab/flux-system/gotk-components.yaml"] = yaml.safe_dump_all(deployments)
    found["clusters/lab/flux-system/gotk-sync.yaml"] = yaml.safe_dump_all(SYNC)
    return found


class Git:
    """A repository that the test fills, and what is read from it."""

    def __init__(self, repo: Repository, user: User, folder: Path) -> None:
        self._repo, self._user, self._folder = repo, user, folder
        self.flux = Path(find_tool("flux"))

    def fill(self, files: dict[str, str]) -> None:
        self._repo.publish(files, generated="clusters/generated/lab")

    def commit(self, path: str, *documents: dict[str, Any]) -> None:
        self._user.commit(path, yaml.safe_dump_all(documents))
        self._repo.fetch()

    def read(self, flux: Path | None = None) -> dict[str, Item]:
        found = desired.desired(self._repo, "clusters/lab", flux or self.flux, self._folder / "kept.json")
        return {str(item): item for item in found}


@pytest.fixture
def git(repo: Repository, user: User, tmp_path: Path, files: dict[str, str]) -> Git:
    made = Git(repo, user, tmp_path)
    made.fill(files)
    return made


def test_before_a_bootstrap_git_asks_for_nothing(lab: Lab, index: Index, repo: Repository, tmp_path: Path) -> None:
    never = tmp_path / "no-flux-needed"
    assert desired.desired(repo, "clusters/lab", never, tmp_path / "kept.json") == ()
    repo.publish(tree.desired(lab, index, "embedded"), generated="clusters/generated/lab")
    assert desired.desired(repo, "clusters/lab", never, tmp_path / "kept.json") == ()


@pytest.mark.mirror
def test_the_lab_as_git_has_it(git: Git, tmp_path: Path) -> None:
    found = git.read()
    assert {name: item.owner for name, item in found.items()} == {
        "GitRepository flux-system/flux-system": "",
        "Kustomization flux-system/flux-system": "",
        "Deployment flux-system/source-controller": "flux-system",
        "Deployment flux-system/kustomize-controller": "flux-system",
        "Kustomization flux-system/monitoring-controllers": "flux-system",
        "Kustomization flux-system/monitoring-configs": "flux-system",
        "Namespace monitoring": "monitoring-controllers",
        "DaemonSet monitoring/node-exporter": "monitoring-controllers",
        "StatefulSet monitoring/prometheus-k8s": "monitoring-controllers",
    }
    assert git.read(tmp_path / "no-flux-needed") == found, "the same commit is not built twice"


@pytest.mark.mirror
def test_replicas_are_those_after_patches(git: Git) -> None:
    patch = [{"op": "replace", "path": "/spec/replicas", "value": 3}]
    git.commit("apps/web.yaml", workload("Deployment", "web", replicas=1), workload("Deployment", "one"),
               workload("Deployment", "off", replicas=0),
               workload("DaemonSet", "agent", pod={"nodeSelector": {"disk": "ssd"}}))  # fmt: skip
    patches = [{"target": {"kind": "Deployment", "name": "web"}, "patch": yaml.safe_dump(patch)}]
    git.commit("clusters/lab/apps.yaml", kustomization("apps", "./apps", patches=patches))
    found = git.read()
    counts = {name: found[f"Deployment apps/{name}"].replicas for name in ("web", "one", "off")}
    assert counts == {"web": 3, "one": 1, "off": 0}
    assert dict(found["DaemonSet apps/agent"].node_selector) == {"disk": "ssd"}
    assert found["Kustomization flux-system/apps"].owner == "flux-system"


@pytest.mark.mirror
def test_what_another_repository_applies_is_not_looked_into(git: Git) -> None:
    other = {"kind": "GitRepository", "name": "elsewhere"}
    git.commit("clusters/lab/other.yaml", kustomization("other", "./nowhere", sourceRef=other))
    assert "Kustomization flux-system/other" in git.read()


@pytest.mark.mirror
@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("./nowhere", "names the folder ./nowhere"),
        ("../../../etc", "names the folder ../../../etc"),
        ("./broken", "cannot be built"),
    ],
)
def test_a_kustomization_that_cannot_be_built_is_named(git: Git, path: str, says: str) -> None:
    git.commit("broken/kustomization.yaml", {"resources": ["missing.yaml"]})
    git.commit("clusters/lab/bad.yaml", kustomization("bad", path))
    with pytest.raises(LabError, match=f"Kustomization bad in git {says}") as caught:
        git.read()
    assert "invoke gitops.clone" in caught.value.hint
