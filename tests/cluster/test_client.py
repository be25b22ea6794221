"""Readings of the cluster as values: no cluster is needed to know what ready means."""

import contextlib
import dataclasses
import datetime
import ssl
import stat
from pathlib import Path
from typing import Any, cast

import pytest
import urllib3
import yaml
from kubernetes import client as k8s

from hardwatt.cluster import api_errors, api_tunnel, client
from hardwatt.cluster import status as cluster_status
from hardwatt.cluster.status import ClusterStatus, Pod
from hardwatt.config.lab import Lab
from hardwatt.config.settings import Settings
from hardwatt.connect import ssh_routes, sudo
from hardwatt.connect.endpoint import Endpoint
from hardwatt.core.errors import LabError
from hardwatt.core.process import Result
from hardwatt.machines import choice

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
    monkeypatch.setattr(client, "Ssh", FakeSsh)
    monkeypatch.setattr(api_tunnel, "_answers", lambda _: True)  # whatever this machine's network answers there
    monkeypatch.setattr(FakeSsh, "files", {client.ADMIN: ADMIN}, raising=False)
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
    found = Pod.of(pod(restarts=2))
    assert found == Pod("apps", "web", "Running", True, 2, {"web": "hardwatt.dev/app@sha256:aa"}, "1-2", False)
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
    assert Pod.of(pod(**changed)).well is well


def test_a_pod_that_was_only_just_made_has_no_status_yet() -> None:
    bare = k8s.V1Pod(metadata=k8s.V1ObjectMeta(name="a", namespace="b", uid="c"), status=k8s.V1PodStatus())
    assert Pod.of(bare) == Pod("b", "a", "", False, 0, {}, "c", False)


def test_a_cluster_without_nodes_or_pods_is_not_ready() -> None:
    well = Pod.of(pod())
    assert ClusterStatus({"n": True}, (well,)).ready
    assert not ClusterStatus({}, (well,)).ready
    assert not ClusterStatus({"n": True}, ()).ready
    assert not ClusterStatus({"n": True, "m": False}, (well,)).ready


def test_the_summary_names_what_is_waited_for() -> None:
    late = Pod.of(pod(phase="Pending", ready=False))
    text = ClusterStatus({"n": False}, (Pod.of(pod()), *[late] * 5)).summary
    assert text == "n not Ready; 1 of 6 pods ready; waiting for " + ", ".join(["apps/web Pending"] * 3) + " and 2 more"
    assert ClusterStatus({"n": True}, (Pod.of(pod()),)).summary == "n Ready; 1 of 1 pods ready"


def test_the_kubeconfig_is_private_and_points_at_the_node(lab: Lab, endpoint: Endpoint) -> None:
    assert client.fetch_kubeconfig(lab, endpoint) is True
    assert stat.S_IMODE(lab.kubeconfig.stat().st_mode) == 0o600
    data = yaml.safe_load(lab.kubeconfig.read_text())
    assert data["clusters"][0]["cluster"]["server"] == "https://10.77.0.2:6443"
    assert data["users"] == yaml.safe_load(ADMIN)["users"]
    assert client.fetch_kubeconfig(lab, endpoint) is False


def test_a_kubeconfig_that_others_may_read_is_mended(lab: Lab, endpoint: Endpoint) -> None:
    client.fetch_kubeconfig(lab, endpoint)
    lab.kubeconfig.chmod(0o644)
    assert client.fetch_kubeconfig(lab, endpoint) is True
    assert stat.S_IMODE(lab.kubeconfig.stat().st_mode) == 0o600


def test_a_user_who_is_not_root_reads_it_with_sudo(
    lab: Lab, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sudo, "_rights", {})
    monkeypatch.setattr(sudo, "_try", lambda *_: "")
    assert client.fetch_kubeconfig(lab, dataclasses.replace(endpoint, user="admin")) is True


def test_no_control_plane_says_what_to_do(lab: Lab, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeSsh, "files", {})
    with pytest.raises(LabError, match="no control plane") as caught:
        client.fetch_kubeconfig(lab, endpoint)
    assert caught.value.hint == "invoke lab.up"
    assert not lab.kubeconfig.exists()


class FakeMachine:
    """A machine of a kind, with what stands in the way to it."""

    def __init__(self, end: Endpoint, *, obstacle: str = "", kind: str = "embedded") -> None:
        self._end, self._obstacle, self.kind = end, obstacle, kind

    def endpoint(self) -> Endpoint:
        return self._end

    def obstacle(self) -> str:
        return self._obstacle


@pytest.fixture
def machine(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> Endpoint:
    """A machine that runs on the loopback, where nothing listens."""
    end = dataclasses.replace(endpoint, address="127.0.0.1", forwards={"6443": 1})
    monkeypatch.setattr(choice, "machine_for", lambda _: FakeMachine(end))
    monkeypatch.setattr(ssh_routes, "ssh_answers", lambda *_: True)
    return end


def write_kubeconfig(lab: Lab, server: str) -> None:
    lab.kubeconfig.parent.mkdir(parents=True)
    data = yaml.safe_load(ADMIN)
    data["clusters"][0]["cluster"] = {"server": server}
    data["users"][0]["user"] = {"token": "t"}
    lab.kubeconfig.write_text(yaml.safe_dump(data))


def refused(lab: Lab, match: str) -> LabError:
    """Return the error with which the connection to the cluster is refused."""
    with pytest.raises(LabError, match=match) as caught, client.connect(lab) as api:
        cluster_status.read_with(k8s.CoreV1Api(api))
    return caught.value


def test_no_kubeconfig_says_what_to_do(lab: Lab, machine: Endpoint) -> None:
    assert refused(lab, "the lab unit has no kubeconfig").hint == "invoke lab.up"


@pytest.mark.parametrize("text", ["", "{", "[]", "clusters: 3"])
def test_a_kubeconfig_that_is_none_says_what_to_do(lab: Lab, machine: Endpoint, text: str) -> None:
    lab.kubeconfig.parent.mkdir(parents=True)
    lab.kubeconfig.write_text(text)
    assert refused(lab, "no usable kubeconfig").hint == "invoke lab.kubeconfig"


def test_a_kubeconfig_of_another_cluster_is_not_used(lab: Lab, machine: Endpoint) -> None:
    write_kubeconfig(lab, "https://192.0.2.7:6443")
    error = refused(
        lab, "is of another cluster: its server is https://192.0.2.7:6443, the lab's is https://127.0.0.1:1"
    )
    assert error.hint == "invoke lab.kubeconfig"


@pytest.mark.parametrize("reason", ["the machine of the lab unit is stopped", "the machine's link hw-1 is gone"])
def test_machine_and_link_are_looked_at_before_anything_is_sent(
    lab: Lab, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    write_kubeconfig(lab, "https://127.0.0.1:1")
    monkeypatch.setattr(choice, "machine_for", lambda _: FakeMachine(endpoint, obstacle=reason))
    monkeypatch.setattr(client, "_Client", lambda _: pytest.fail("a request would be sent"))
    assert refused(lab, reason).hint == "invoke lab.up"


def test_an_api_server_that_does_not_answer_on_a_node_that_does(lab: Lab, machine: Endpoint) -> None:
    write_kubeconfig(lab, "https://127.0.0.1:1")
    with pytest.raises(
        LabError, match=r"API server at https://127.0.0.1:1 does not answer \(\[Errno 111\] [^()]*\), but SSH"
    ) as caught:
        cluster_status.read(lab)
    assert caught.value.hint == "invoke lab.up"


@pytest.mark.parametrize(
    ("kind", "hint"), [("embedded", "invoke lab.machine.stop, then invoke lab.up"), ("ssh", "invoke lab.up")]
)
def test_a_node_that_does_not_answer_at_all(
    lab: Lab, machine: Endpoint, monkeypatch: pytest.MonkeyPatch, kind: str, hint: str
) -> None:
    write_kubeconfig(lab, "https://127.0.0.1:1")
    monkeypatch.setattr(choice, "machine_for", lambda _: FakeMachine(machine, kind=kind))
    monkeypatch.setattr(ssh_routes, "ssh_answers", lambda *_: False)
    with pytest.raises(LabError, match="neither SSH nor its API server") as caught:
        cluster_status.read(lab)
    assert caught.value.hint == hint


def test_a_machine_that_goes_away_during_a_request_is_named(
    lab: Lab, machine: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = FakeMachine(machine, obstacle="the machine's link hw-1 is gone")
    monkeypatch.setattr(choice, "machine_for", lambda _: gone)
    error = api_errors.explained(lab, "https://127.0.0.1:1", TimeoutError("timed out"))
    assert error.message == "the machine's link hw-1 is gone"


def test_another_servers_certificate_is_named(lab: Lab, machine: Endpoint) -> None:
    wrong = ssl.SSLCertVerificationError("certificate verify failed: self-signed certificate")
    outer = urllib3.exceptions.MaxRetryError(cast(Any, None), "/api", urllib3.exceptions.SSLError(wrong))
    error = api_errors.explained(lab, "https://10.77.0.2:6443", outer)
    assert "a certificate that is not of the lab's cluster" in error.message
    assert "self-signed" in error.message
    assert error.hint == "invoke lab.kubeconfig"


@pytest.mark.parametrize(
    ("status", "text", "hint"),
    [
        (401, "refuses the lab's kubeconfig", "invoke lab.kubeconfig"),
        (500, "etcdserver: no space", "invoke lab.status"),
    ],
)
def test_an_answer_that_is_an_error_is_one_line(lab: Lab, machine: Endpoint, status: int, text: str, hint: str) -> None:
    answer = k8s.ApiException(status=status, reason="No")
    answer.body = '{"message": "etcdserver: no space"}'
    error = api_errors.explained(lab, "https://10.77.0.2:6443", answer)
    assert text in error.message
    assert error.hint == hint


def test_a_request_without_a_limit_gets_one(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(k8s.ApiClient, "call_api", lambda self, *_, **more: seen.append(more["_request_timeout"]))
    core: Any = k8s.CoreV1Api(client._Client(k8s.Configuration()))
    for more in ({}, {"_request_timeout": 3}):
        with contextlib.suppress(AttributeError):  # the double returns no response
            core.list_node(**more)
    assert seen == [(client.CONNECT_TIMEOUT, client.READ_TIMEOUT), 3]
