"""Kepler and Grafana: part of a lab where their image is, with what they need, and without a fake meter."""

import base64
import types
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client as kubernetes

from hardwatt.cluster import port_forward
from hardwatt.config.lab import Lab
from hardwatt.config.settings import ROOT, Settings
from hardwatt.config.versions import load, machine_arch
from hardwatt.core import ports
from hardwatt.core.errors import LabError
from hardwatt.gitops import addons, tree
from hardwatt.machines.lab_context import LabContext
from hardwatt.mirror import fill, image_import
from hardwatt.mirror.index import Artefact, Index
from tests.gitops.conftest import GENERATED
from tests.gitops.test_manifests import build, pods
from tests.mirror import test_archive

BASE = ROOT / "clusters/base/monitoring"
CONFIG = (BASE / "kepler/config.yaml").read_text()


def held(index: Index, *names: str) -> Index:
    """The index with stand-ins for imported images."""
    for name, tag in (("quay.io/sustainable_computing_io/kepler", "v0.11.4"), ("docker.io/grafana/grafana", "13.0.1")):
        if name.rpartition("/")[2] in names:
            digest = "sha256:" + name[-6:].encode().hex().ljust(64, "0")
            index = index.with_artefact(Artefact(name, "image", "extra", tag, "imported", "", digest, "", ""))
    return index


@pytest.mark.parametrize("names", [(), ("kepler",), ("grafana",), ("kepler", "grafana")])
def test_a_part_is_in_the_repository_where_its_image_is_in_the_mirror(
    lab: Lab, index: Index, names: tuple[str, ...]
) -> None:
    files = tree.desired(lab, held(index, *names), "embedded")
    assert {name for name in ("kepler", "grafana") if f"clusters/lab/{name}.yaml" in files} == set(names)
    text = files[f"{GENERATED}/kustomization.yaml"]
    left_out = next(line for line in text.splitlines() if line.startswith("# Not in this lab"))
    assert all((name in left_out) is (name not in names) for name in ("kepler", "grafana"))


def built(kubectl: str, lab: Lab, index: Index, folder: Path, kind: str, part: str) -> list[dict[str, Any]]:
    for path, text in tree.desired(lab, index, kind).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    (folder / "build").mkdir()
    parts = {"resources": [f"../clusters/base/monitoring/{part}"], "components": [f"../{GENERATED}"]}
    (folder / "build/kustomization.yaml").write_text(yaml.safe_dump(parts))
    return build(kubectl, folder / "build")


@pytest.mark.parametrize(("kind", "sysfs"), [("embedded", "/var/lib/hardwatt/meter/sysfs"), ("ssh", "/sys")])
def test_kepler_reads_the_tree_that_the_lab_measures_with(
    kubectl: str, lab: Lab, index: Index, tmp_path: Path, kind: str, sysfs: str
) -> None:
    full = held(index, "kepler")
    objects = built(kubectl, lab, full, tmp_path, kind, "kepler")
    (pod,) = pods(objects)
    assert pod["containers"][0]["image"] == full.image("kepler").reference
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert volumes["sys"]["hostPath"] == {"path": sysfs, "type": "Directory"}
    assert "livenessProbe" not in pod["containers"][0]
    config = next(o for o in objects if o["kind"] == "ConfigMap" and o["metadata"]["name"].startswith("kepler-config-"))
    assert volumes["config"]["configMap"]["name"] == config["metadata"]["name"]
    assert addons.fake_meter(config["data"]["config.yaml"], pod["containers"][0]["args"]) == ""


def test_keplers_settings_are_those_that_experiments_need() -> None:
    found = yaml.safe_load(CONFIG)
    assert found["monitor"] == {
        "interval": "5s",
        "staleness": "100ms",
        "maxTerminated": -1,
        "minTerminatedEnergyThreshold": 0,
    }
    assert found["exporter"]["prometheus"]["metricsLevel"] == ["node", "process", "container", "pod"]
    assert found["kube"]["podInformer"]["mode"] == "kubelet"


def test_kepler_is_told_of_kubernetes_as_it_takes_it() -> None:
    """Version 0.11.4 ends at once on ``--kube.enable=true``, and on a file that enables what only a flag completes."""
    daemonset = yaml.safe_load((BASE / "kepler/workload.yaml").read_text())
    arguments = daemonset["spec"]["template"]["spec"]["containers"][0]["args"]
    assert {"--kube.enable", "--kube.node-name=$(NODE_NAME)"} < set(arguments)
    assert "enabled" not in yaml.safe_load(CONFIG)["kube"]


@pytest.mark.parametrize(
    ("config", "arguments", "reason"),
    [
        ("dev: {fake-cpu-meter: {enabled: true}}", [], "dev.fake-cpu-meter"),
        ("dev: {FAKE-CPU-METER: {enabled: true}}", [], ""),
        ("cpu: {preferredMeters: [rapl, FAKE]}", [], "preferredMeters"),
        (CONFIG, ["--dev.fake-cpu-meter.enabled=true"], "argument --dev.fake"),
        ("a: [", [], "cannot be read"),
        ("- a", [], "no mapping"),
        (CONFIG, ["--config.file=/etc/kepler/config.yaml"], ""),
        ("", [], ""),
    ],
)
def test_a_fake_meter_is_seen_in_the_configuration(config: str, arguments: list[str], reason: str) -> None:
    found = addons.fake_meter(config, arguments)
    # Go's YAML is strict about the case of keys, this check is not: it may refuse too much, never too little.
    assert reason in found if reason else found in ("", "dev.fake-cpu-meter is enabled")


class FakeCore:
    """A cluster with a Kepler pod; what it mounts is not what Flux was told."""

    def __init__(self, config: str) -> None:
        self.config, self.made = config, {"namespace": False, "secret": ""}

    def list_pod_for_all_namespaces(self, label_selector: str) -> Any:
        assert label_selector == "app.kubernetes.io/name=kepler"
        volumes = [kubernetes.V1Volume(name="c", config_map=kubernetes.V1ConfigMapVolumeSource(name="edited"))]
        spec = types.SimpleNamespace(containers=[types.SimpleNamespace(command=None, args=["--a"])], volumes=volumes)
        metadata = types.SimpleNamespace(namespace="monitoring", name="kepler-1")
        return types.SimpleNamespace(items=[types.SimpleNamespace(spec=spec, metadata=metadata)])

    def read_namespaced_config_map(self, name: str, namespace: str) -> Any:
        assert (name, namespace) == ("edited", "monitoring")
        return types.SimpleNamespace(data={"config.yaml": self.config})

    def create_namespace(self, body: Any) -> None:
        if self.made["namespace"]:
            raise kubernetes.ApiException(status=409)
        self.made["namespace"] = True

    def create_namespaced_secret(self, namespace: str, body: Any) -> None:
        if self.made["secret"]:
            raise kubernetes.ApiException(status=409)
        assert (namespace, body.metadata.name) == ("monitoring", "grafana-admin")
        self.made["secret"] = base64.b64decode(body.data["password"]).decode()


def test_the_running_configuration_is_what_counts() -> None:
    fake = "dev: {fake-cpu-meter: {enabled: true}}"
    assert addons.running_fake_meter(FakeCore(fake)) == "monitoring/kepler-1: dev.fake-cpu-meter is enabled"
    assert addons.running_fake_meter(FakeCore(CONFIG)) == ""


def test_grafanas_password_is_made_once_and_is_long() -> None:
    core = FakeCore("")
    assert addons.ensure_grafana_password(core) is True
    first = core.made["secret"]
    assert len(str(first)) >= 32
    assert addons.ensure_grafana_password(core) is False
    assert core.made["secret"] == first


def test_a_forward_to_a_grafana_that_is_not_there_says_how_to_get_it(
    lab: Lab, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fill, "load", lambda _, mode: index)
    monkeypatch.setattr(LabContext, "reached", lambda _: None)
    lab.dir.mkdir()
    lab.kubeconfig.write_text("")
    with pytest.raises(LabError, match="grafana is not part of this lab") as caught:
        port_forward.forward(lab, "grafana", ports.free_port())
    assert "mirror.import" in caught.value.hint
    assert port_forward.default_port(lab, "grafana") == 3000


def test_an_imported_archive_brings_kepler_into_the_repository(lab: Lab, index: Index, tmp_path: Path) -> None:
    """The archive holds a STAND-IN under Kepler's name, not Kepler: what is tested is the way of an image."""
    test_archive.layout(tmp_path / "in", "quay.io/sustainable_computing_io/kepler:v0.11.4")
    imported = image_import.place(tmp_path / "in", tmp_path / "mirror", load(), machine_arch(), origin="kepler.tar")
    image = imported.image("kepler")
    files = tree.desired(lab, index.with_artefact(imported.get("image", "kepler")), "embedded")
    assert "clusters/lab/kepler.yaml" in files
    named = {item["name"]: item for item in yaml.safe_load(files[f"{GENERATED}/kustomization.yaml"])["images"]}
    assert named[image.name] == {"name": image.name, "newTag": "v0.11.4", "digest": image.digest}


def test_grafana_has_its_boards_and_takes_its_password_from_the_secret(
    kubectl: str, lab: Lab, index: Index, tmp_path: Path
) -> None:
    full = held(index, "grafana")
    objects = built(kubectl, lab, full, tmp_path, "embedded", "grafana")
    (pod,) = pods(objects)
    (container,) = pod["containers"]
    assert container["image"] == full.image("grafana").reference
    environment = {item["name"]: item for item in container["env"]}
    reference = environment["GF_SECURITY_ADMIN_PASSWORD"]["valueFrom"]["secretKeyRef"]
    assert reference == {"name": addons.SECRET, "key": "password"}
    assert not [item for item in objects if item["kind"] == "Secret"]
    maps = {item["metadata"]["name"]: item["data"] for item in objects if item["kind"] == "ConfigMap"}
    mounted = {volume["configMap"]["name"] for volume in pod["volumes"] if "configMap" in volume}
    assert mounted == set(maps)
    assert sum(key.endswith(".json") for data in maps.values() for key in data) == 3


@pytest.mark.parametrize("attribution", ["cgroup", "kepler"])
def test_the_cluster_gets_one_of_both_sets_of_rules(
    kubectl: str, lab: Lab, index: Index, tmp_path: Path, attribution: str
) -> None:
    settings = Settings.model_validate({"name": "test", "prometheus": {"attribution": attribution}})
    other = Lab(settings, lab.root, lab.dir)
    objects = built(kubectl, other, held(index, "kepler"), tmp_path, "ssh", "configs")
    (rules,) = [item["data"] for item in objects if item["metadata"]["name"] == "prometheus-rules"]
    assert sorted(rules) == ["lab-alerts.yaml", "recorded.yaml", f"recreated-{attribution}.yaml"]
