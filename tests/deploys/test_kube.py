"""Readings of the cluster as values: no cluster is needed to know what ready means."""

import dataclasses
import datetime
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client as k8s

from hardwatt import kube, sudo
from hardwatt.door import Result
from hardwatt.endpoint import Endpoint
from hardwatt.errors import LabError
from hardwatt.lab import Lab
from hardwatt.settings import Settings

ADMIN = yaml.safe_dump({
    "apiVersion": "v1",
    "kind": "Config",
    "clusters": [{"name": "lab", "cluster": {"server": "https://10.9.9.9:6443", "certificate-authority-data": "Q0E="}}],
    "users": [{"name": "admin", "user": {"client-key-data": "S0VZ"}}],
    "contexts": [{"name": "admin@lab", "context": {"cluster": "lab", "user": "admin"}}],
    "current-context": "admin@lab",
})  # fmt: skip


class FakeSsh:
    """A node with these files; any other command is an error."""

    files: dict[str, str]

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint

    def __enter__(self) -> "FakeSsh":
        return self

    def __exit__(self, *error: object) -> None:
        return

    def run(self, command: str, *, check: bool = True) -> Result:
        assert not check
        sudo = "" if self.endpoint.user == "root" else "sudo -n "
        assert command.startswith(f"{sudo}cat ")
        path = command.rpartition(" ")[2]
        if path not in self.files:
            return Result((), 1, "", f"cat: {path}: No such file or directory", 0.0)
        return Result((), 0, self.files[path], "", 0.0)


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(Settings(name="unit"), tmp_path, tmp_path / ".lab/unit")


@pytest.fixture
def endpoint(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Endpoint:
    monkeypatch.setattr(kube, "Ssh", FakeSsh)
    monkeypatch.setattr(FakeSsh, "files", {kube.ADMIN: ADMIN}, raising=False)
    return Endpoint("unit", "embedded", "10.77.0.2", 22, "root", lab.keys / "k", lab.known_hosts, "", "10.77.0.2")


def pod(**changed: Any) -> Any:
    given = {"phase": "Running", "ready": True, "owner": "ReplicaSet", "deleted": False, "restarts": 0, **changed}
    owner = k8s.V1OwnerReference(api_version="v1", kind=given["owner"], name="o", uid="u")
    now = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    return k8s.V1Pod(
        metadata=k8s.V1ObjectMeta(
            name="web", namespace="apps", uid="1-2", owner_references=[owner],
            deletion_timestamp=now if given["deleted"] else None,
        ),
        status=k8s.V1PodStatus(
            phase=given["phase"],
            conditions=[k8s.V1PodCondition(type="Ready", status=str(given["ready"]))],
            container_statuses=[
                k8s.V1ContainerStatus(
                    name="web", image="web:1", image_id="hardwatt.dev/app@sha256:aa", ready=given["ready"],
                    restart_count=given["restarts"],
                )
            ],
        ),
    )  # fmt: skip


def test_a_pod_is_read_whole() -> None:
    found = kube.Pod.of(pod(restarts=2))
    assert found == kube.Pod("apps", "web", "Running", True, 2, {"web": "hardwatt.dev/app@sha256:aa"}, "1-2", False)
    assert found.well


@pytest.mark.parametrize(
    ("changed", "well"),
    [
        ({"ready": False}, False),
        ({"phase": "Pending", "ready": False}, False),
        ({"phase": "Succeeded", "ready": False}, True),
        ({"phase": "Failed", "ready": False}, False),
        ({"phase": "Failed", "ready": False, "owner": "Job"}, True),
        ({"deleted": True}, False),
    ],
)
def test_which_pods_keep_a_cluster_from_being_ready(changed: dict[str, Any], well: bool) -> None:
    assert kube.Pod.of(pod(**changed)).well is well


def test_a_pod_that_was_only_just_made_has_no_status_yet() -> None:
    bare = k8s.V1Pod(metadata=k8s.V1ObjectMeta(name="a", namespace="b", uid="c"), status=k8s.V1PodStatus())
    assert kube.Pod.of(bare) == kube.Pod("b", "a", "", False, 0, {}, "c", False)


def test_a_cluster_without_nodes_or_pods_is_not_ready() -> None:
    well = kube.Pod.of(pod())
    assert kube.Status({"n": True}, (well,)).ready
    assert not kube.Status({}, (well,)).ready
    assert not kube.Status({"n": True}, ()).ready
    assert not kube.Status({"n": True, "m": False}, (well,)).ready


def test_the_summary_names_what_is_waited_for() -> None:
    late = kube.Pod.of(pod(phase="Pending", ready=False))
    text = kube.Status({"n": False}, (kube.Pod.of(pod()), *[late] * 5)).summary
    assert text == "n not Ready; 1 of 6 pods ready; waiting for " + ", ".join(["apps/web Pending"] * 3) + " and 2 more"
    assert kube.Status({"n": True}, (kube.Pod.of(pod()),)).summary == "n Ready; 1 of 1 pods ready"


def test_the_kubeconfig_is_private_and_points_at_the_node(lab: Lab, endpoint: Endpoint) -> None:
    assert kube.fetch_kubeconfig(lab, endpoint) is True
    assert stat.S_IMODE(lab.kubeconfig.stat().st_mode) == 0o600
    data = yaml.safe_load(lab.kubeconfig.read_text())
    assert data["clusters"][0]["cluster"]["server"] == "https://10.77.0.2:6443"
    assert data["users"] == yaml.safe_load(ADMIN)["users"]
    assert kube.fetch_kubeconfig(lab, endpoint) is False


def test_a_kubeconfig_that_others_may_read_is_mended(lab: Lab, endpoint: Endpoint) -> None:
    kube.fetch_kubeconfig(lab, endpoint)
    lab.kubeconfig.chmod(0o644)
    assert kube.fetch_kubeconfig(lab, endpoint) is True
    assert stat.S_IMODE(lab.kubeconfig.stat().st_mode) == 0o600


def test_a_user_who_is_not_root_reads_it_with_sudo(
    lab: Lab, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sudo, "_try", lambda *_: "")
    assert kube.fetch_kubeconfig(lab, dataclasses.replace(endpoint, user="admin")) is True


def test_no_control_plane_says_what_to_do(lab: Lab, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeSsh, "files", {})
    with pytest.raises(LabError, match="no control plane") as caught:
        kube.fetch_kubeconfig(lab, endpoint)
    assert caught.value.hint == "invoke lab.up"
    assert not lab.kubeconfig.exists()


def test_no_kubeconfig_says_what_to_do(lab: Lab) -> None:
    with pytest.raises(LabError, match="no usable kubeconfig") as caught:
        kube.client(lab)
    assert caught.value.hint == "invoke lab.up"


def test_a_cluster_that_does_not_answer_is_an_error_with_a_hint(lab: Lab) -> None:
    lab.kubeconfig.parent.mkdir(parents=True)
    data = yaml.safe_load(ADMIN)
    data["clusters"][0]["cluster"] = {"server": "http://127.0.0.1:1"}
    data["users"][0]["user"] = {"token": "t"}
    lab.kubeconfig.write_text(yaml.safe_dump(data))
    with pytest.raises(LabError, match="does not answer") as caught:
        kube.status(lab)
    assert caught.value.hint == "invoke lab.status"
