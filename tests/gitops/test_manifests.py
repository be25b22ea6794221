"""clusters/, built as Flux builds it: schema by eye of kustomize, images by the lock, no loose ends."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from hardwatt.config.lab import Lab
from hardwatt.config.settings import ROOT, Settings
from hardwatt.config.versions import load
from hardwatt.gitops import scrape_interval, tree
from hardwatt.mirror.index import Index
from tests.gitops.conftest import find_tool, locked_index

CLUSTERS = ROOT / "clusters"
COMPONENTS = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: source-controller, namespace: flux-system}
spec: {template: {spec: {containers: [{name: manager, args: [a], image: "ghcr.io/fluxcd/source-controller:v1.8.5"}]}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: kustomize-controller, namespace: flux-system}
spec:
  template: {spec: {containers: [{name: manager, args: [a], image: "ghcr.io/fluxcd/kustomize-controller:v1.9.6"}]}}
"""


Built = dict[str, list[dict[str, Any]]]


def documents(text: str) -> list[dict[str, Any]]:
    return [item for item in yaml.safe_load_all(text) if item]


def build(kubectl: str, folder: Path) -> list[dict[str, Any]]:
    done = subprocess.run([kubectl, "kustomize", str(folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "deprecated" not in done.stderr
    return documents(done.stdout)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return write_tree(tmp_path)


def write_tree(folder: Path) -> Path:
    """Write a work tree with everything that lab.up commits."""
    lab = Lab(Settings(name="test"), ROOT, folder / "lab")
    for path, text in tree.desired(lab, locked_index(folder), "embedded").items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return folder


def flux_kustomizations(repository: Path) -> list[dict[str, Any]]:
    found = documents((repository / "clusters/lab/monitoring.yaml").read_text())
    assert {item["kind"] for item in found} == {"Kustomization"}
    return found


@pytest.fixture(scope="module")
def built(kubectl: str, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Each Flux Kustomization, built with its components as kustomize-controller does."""
    repository = write_tree(tmp_path_factory.mktemp("build"))
    result = {}
    for item in flux_kustomizations(repository):
        base = repository / item["spec"]["path"]
        folder = repository / "build" / item["metadata"]["name"]
        folder.mkdir(parents=True)
        parts = [os.path.relpath(base / part, folder) for part in item["spec"].get("components", [])]
        text = {"resources": [os.path.relpath(base, folder)], "components": parts}
        (folder / "kustomization.yaml").write_text(yaml.safe_dump(text))
        result[item["metadata"]["name"]] = build(kubectl, folder)
    return result


def pods(objects: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for item in objects:
        if item["kind"] in ("DaemonSet", "Deployment", "StatefulSet", "Job"):
            yield item["spec"]["template"]["spec"]


def test_controllers_come_before_configs(repository: Path) -> None:
    controllers, configs = flux_kustomizations(repository)
    assert configs["spec"]["dependsOn"] == [{"name": controllers["metadata"]["name"]}]
    for item in (controllers, configs):
        assert item["spec"]["wait"] is True
        assert item["spec"]["prune"] is True
        assert item["spec"]["timeout"]
        assert (repository / item["spec"]["path"] / "kustomization.yaml").exists()


def test_every_image_of_what_flux_applies_is_named_by_digest(built: Built, index: Index) -> None:
    found = {
        container["image"]
        for objects in built.values()
        for pod in pods(objects)
        for container in [*pod["containers"], *pod.get("initContainers", [])]
    }
    expected = {index.image(name).reference for name in ("prometheus", "node-exporter")}
    assert found == expected


def test_the_meters_tree_replaces_sysfs_and_keeps_its_type(built: Built) -> None:
    (exporter,) = [o for o in built["monitoring-controllers"] if o["kind"] == "DaemonSet"]
    volumes = {v["name"]: v["hostPath"] for v in exporter["spec"]["template"]["spec"]["volumes"]}
    assert volumes["sys"] == {"path": "/var/lib/hardwatt/meter/sysfs", "type": "Directory"}
    assert volumes["proc"] == {"path": "/proc", "type": "Directory"}


def test_fluxs_own_images_are_set_before_its_first_start(kubectl: str, repository: Path, index: Index) -> None:
    """flux bootstrap applies this kustomization when only gotk-components.yaml has been written."""
    system = repository / "clusters/lab/flux-system"
    (system / "gotk-components.yaml").write_text(COMPONENTS)
    found = {item["metadata"]["name"]: next(pods([item]))["containers"][0] for item in build(kubectl, system)}
    assert set(found) == {"source-controller", "kustomize-controller"}
    for name, container in found.items():
        assert container["image"] == index.image(name).reference
    assert found["kustomize-controller"]["args"] == ["a", "--requeue-dependency=2s"]
    assert found["source-controller"]["startupProbe"]["periodSeconds"] == 1


def test_every_container_asks_for_resources_and_drops_rights(built: Built) -> None:
    found = [pod for objects in built.values() for pod in pods(objects)]
    assert len(found) == 2
    for pod in found:
        for container in pod["containers"]:
            assert {"cpu", "memory"} <= set(container["resources"]["requests"])
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert container["securityContext"]["readOnlyRootFilesystem"] is True


def test_names_that_the_rest_relies_on(built: Built) -> None:
    objects = built["monitoring-controllers"]
    names = {(item["kind"], item["metadata"].get("namespace"), item["metadata"]["name"]) for item in objects}
    assert {
        ("StatefulSet", "monitoring", "prometheus-k8s"),
        ("Service", "monitoring", "prometheus-k8s"),
        ("DaemonSet", "monitoring", "node-exporter"),
    } <= names


def test_network_policies_say_that_they_are_not_enforced(built: Built) -> None:
    objects = built["monitoring-controllers"]
    policies = [item for item in objects if item["kind"] == "NetworkPolicy"]
    assert policies
    assert all(item["metadata"]["annotations"]["hardwatt.dev/enforced"].startswith("no") for item in policies)


def test_versions_in_clusters_are_the_locks() -> None:
    lock = load()
    known = {f"{image.repository}:{image.upstream}".rstrip(":") for image in lock.images.values()}
    known |= {f"{image.repository}:{image.tag}".removesuffix(":unresolved") for image in lock.foreign.values()}
    images = [
        (path.relative_to(ROOT), match)
        for path in CLUSTERS.rglob("*.yaml")
        for match in re.findall(r"^\s*-?\s*image:\s*(\S+)", path.read_text(), re.MULTILINE)
    ]
    assert images
    assert [(path, image) for path, image in images if image not in known] == []


def test_no_secret_is_kept_in_clusters() -> None:
    for path in CLUSTERS.rglob("*"):
        if path.is_file():
            text = path.read_text()
            assert "kind: Secret" not in text, path
            assert "PRIVATE KEY" not in text, path


def test_counters_are_scraped_at_the_default_interval() -> None:
    config = yaml.safe_load((ROOT / scrape_interval.PROMETHEUS).read_text())
    jobs = {job["job_name"]: job for job in config["scrape_configs"]}
    for name in ("meter", "cadvisor"):
        assert (jobs[name]["scrape_interval"], jobs[name]["scrape_timeout"]) == ("15s", "10s")
    arguments = (CLUSTERS / "base/monitoring/controllers/prometheus/workload.yaml").read_text()
    assert "admin-api" not in arguments


@pytest.mark.parametrize(
    ("check", "path"),
    [
        ("config", scrape_interval.PROMETHEUS),
        *(
            ("rules", f"clusters/base/monitoring/configs/{name}.yaml")
            for name in ("lab-alerts", "recorded", "recreated-cgroup", "recreated-kepler")
        ),
    ],
)
def test_promtool_accepts(check: str, path: str) -> None:
    promtool = find_tool("promtool")
    # the credentials file exists in the pod alone
    flags = ["--syntax-only"] if check == "config" else []
    done = subprocess.run([promtool, "check", check, *flags, str(ROOT / path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


PARTS = ("monitoring/controllers/prometheus", "monitoring/controllers/node-exporter", "monitoring/kepler",
         "monitoring/grafana", "app")  # fmt: skip
FOUR = ["rbac.yaml", "network-policy.yaml", "service.yaml", "workload.yaml"]


@pytest.mark.parametrize("part", PARTS)
def test_each_part_has_the_same_four_files(part: str) -> None:
    listed = yaml.safe_load((CLUSTERS / "base" / part / "kustomization.yaml").read_text())["resources"]
    assert [name for name in listed if name != "namespace.yaml"] == FOUR
    kinds = {name: documents((CLUSTERS / "base" / part / name).read_text())[0]["kind"] for name in FOUR}
    assert kinds.pop("workload.yaml") in ("DaemonSet", "Deployment", "StatefulSet")
    assert set(kinds.values()) == {"ServiceAccount", "NetworkPolicy", "Service"}


def test_there_is_no_other_part() -> None:
    found = {path.parent.relative_to(CLUSTERS / "base").as_posix() for path in CLUSTERS.rglob("workload.yaml")}
    assert found == set(PARTS)


def test_a_patched_value_says_where_it_is_patched(index: Index, lab: Lab) -> None:
    """Each file of base that the generated kustomization patches, or sets an image of, names clusters/generated."""
    generated = tree.desired(lab, index, "embedded")["clusters/generated/lab/kustomization.yaml"]
    patched = {item["target"]["name"] for item in yaml.safe_load(generated)["patches"]}
    texts = {path: path.read_text() for path in (CLUSTERS / "base").rglob("workload.yaml")}
    assert patched <= {documents(text)[0]["metadata"]["name"] for text in texts.values()}
    for path, text in texts.items():
        assert "clusters/generated" in text, path
    assert "clusters/generated" in (CLUSTERS / "base/monitoring/configs/kustomization.yaml").read_text()


@pytest.mark.parametrize("kind", ["Secret", "SealedSecret"])
def test_nothing_that_lab_up_commits_is_a_secret(index: Index, lab: Lab, kind: str) -> None:
    lab_files = tree.desired(lab, index, "embedded")
    for path, text in lab_files.items():
        if path.endswith(".yaml"):
            assert kind not in [item.get("kind") for item in documents(text)], path
        assert not re.search(r"ghp_|github_pat_|PRIVATE KEY|password: *[^\s{]", text), path
