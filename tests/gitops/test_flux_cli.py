"""The real flux CLI, API server, source- and kustomize-controller against the stand-in of GitHub: no root, no node.

No kubelet runs: a thread says of every workload that it is ready. Everything else is what a lab has.
"""

import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from kubernetes import client as kubernetes

from hardwatt.cluster import client
from hardwatt.config.lab import Lab
from hardwatt.config.settings import ROOT, Settings
from hardwatt.connect.endpoint import Endpoint
from hardwatt.core.errors import LabError
from hardwatt.core.process import Process, spawn
from hardwatt.core.wait import wait
from hardwatt.gitops import desired_flux, flux, flux_cli, tree
from hardwatt.gitops.bootstrap import bootstrap, plan
from hardwatt.machines import choice
from hardwatt.mirror.index import Artefact, Index
from tests.gitops.conftest import find_tool, locked_index
from tests.gitops.github import NAME, OWNER, TOKEN, StandIn, served
from tests.gitops.test_addons import held

pytestmark = pytest.mark.mirror
AUTH = {"Authorization": "Bearer secret"}
PROGRAMS = ("etcd", "kube-apiserver", "source-controller", "kustomize-controller", "flux", "kubectl")


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Plane:
    """An etcd, an API server and the two controllers as processes of this test."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.kubeconfig = folder, folder / "kubeconfig"
        self._processes: list[Process] = []
        self._stopped = threading.Event()
        self._kubelet = threading.Thread(target=self._say_ready, daemon=True)
        self.port, self._etcd, self._artifacts = free_port(), free_port(), free_port()

    def start(self) -> None:
        tool = {name: find_tool(name) for name in PROGRAMS}
        peer = f"http://127.0.0.1:{free_port()}"
        url = f"http://127.0.0.1:{self._etcd}"
        self._run("etcd", [
            tool["etcd"], f"--data-dir={self.folder}/etcd", f"--listen-client-urls={url}",
            f"--advertise-client-urls={url}",
            f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=default={peer}",
            "--unsafe-no-fsync",
        ])  # fmt: skip
        self._until("etcd", f"{url}/health", verify=True)
        key = self.folder / "sa.key"
        subprocess.run(["openssl", "genrsa", "-out", str(key), "2048"], check=True, capture_output=True)
        (self.folder / "tokens").write_text('secret,admin,1,"system:masters"\n')
        self._run("kube-apiserver", [
            tool["kube-apiserver"], f"--etcd-servers={url}", f"--cert-dir={self.folder}/pki",
            f"--secure-port={self.port}", "--bind-address=127.0.0.1", "--service-account-issuer=https://test",
            f"--service-account-key-file={key}", f"--service-account-signing-key-file={key}",
            f"--token-auth-file={self.folder}/tokens",
            "--authorization-mode=AlwaysAllow", "--service-cluster-ip-range=10.96.0.0/16", "--allow-privileged=true",
            "--disable-admission-plugins=ServiceAccount",
        ])  # fmt: skip
        self._until("API server", f"https://127.0.0.1:{self.port}/readyz", verify=f"{self.folder}/pki/apiserver.crt")
        self._write_kubeconfig()
        env = {"KUBECONFIG": str(self.kubeconfig), "RUNTIME_NAMESPACE": flux.NAMESPACE, "TMPDIR": str(self.folder)}
        common = ["--enable-leader-election=false", "--watch-all-namespaces", "--events-addr="]
        # Both end where the kinds that they watch are not there yet.
        components = subprocess.run(
            [tool["flux"], "install", "--export", f"--components={','.join(desired_flux.COMPONENTS)}"],
            check=True, capture_output=True, text=True,
        ).stdout  # fmt: skip
        crds = [one for one in yaml.safe_load_all(components) if one["kind"] == "CustomResourceDefinition"]
        self.kubectl("apply", "--server-side", "--filename=-", stdin=yaml.safe_dump_all(crds))
        self.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
        for name in desired_flux.COMPONENTS:
            more = [f"--storage-path={self.folder}/artifacts", f"--storage-addr=127.0.0.1:{self._artifacts}",
                    f"--storage-adv-addr=127.0.0.1:{self._artifacts}"]  # fmt: skip
            ports = [f"--metrics-addr=127.0.0.1:{free_port()}", f"--health-addr=127.0.0.1:{free_port()}"]
            own = more if name == "source-controller" else ["--requeue-dependency=2s"]
            self._run(name, [tool[name], *common, *ports, *own], env)
        self._kubelet.start()

    def stop(self) -> None:
        self._stopped.set()
        if self._kubelet.is_alive():
            self._kubelet.join()
        for process in reversed(self._processes):
            process.stop()

    def kubectl(self, *argv: str, stdin: str = "", check: bool = True) -> "subprocess.CompletedProcess[str]":
        command = [find_tool("kubectl"), f"--kubeconfig={self.kubeconfig}", *argv]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
        assert not check or done.returncode == 0, done.stderr
        return done

    def _run(self, name: str, argv: list[str], env: dict[str, str] | None = None) -> None:
        (self.folder / "artifacts").mkdir(exist_ok=True)
        self._processes.append(spawn(argv, log=self.folder / f"{name}.log", env=env, cwd=self.folder))

    def _until(self, name: str, url: str, verify: str | bool) -> None:
        def answers() -> bool:
            try:
                return requests.get(url, headers=AUTH, timeout=2, verify=verify).ok
            except (requests.RequestException, OSError):
                return False

        wait(answers, bool, what=name, timeout=120, delay=0.2)

    def _write_kubeconfig(self) -> None:
        cluster = {
            "server": f"https://127.0.0.1:{self.port}",
            "certificate-authority": f"{self.folder}/pki/apiserver.crt",
        }
        self.kubeconfig.write_text(yaml.safe_dump({
            "apiVersion": "v1", "kind": "Config", "current-context": "x",
            "clusters": [{"name": "c", "cluster": cluster}], "users": [{"name": "u", "user": {"token": "secret"}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        }))  # fmt: skip

    def _say_ready(self) -> None:
        """Stand in for kubelet and controller-manager: each workload is as many as it should be."""
        counted = {
            "deployments": ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"),
            "statefulsets": ("replicas", "updatedReplicas", "readyReplicas", "currentReplicas", "availableReplicas"),
            "daemonsets": ("desiredNumberScheduled", "currentNumberScheduled", "updatedNumberScheduled", "numberReady",
                           "numberAvailable"),
        }  # fmt: skip
        conditions = [{"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable"},
                      {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"}]  # fmt: skip
        more: dict[str, dict[str, Any]] = {
            "deployments": {"conditions": conditions},
            "statefulsets": {"currentRevision": "1", "updateRevision": "1"},
            "daemonsets": {"numberMisscheduled": 0},
        }
        root = f"https://127.0.0.1:{self.port}/apis/apps/v1"
        asked: dict[str, Any] = {"headers": AUTH, "verify": f"{self.folder}/pki/apiserver.crt", "timeout": 10}
        while not self._stopped.wait(0.5):
            for kind, fields in counted.items():
                for item in requests.get(f"{root}/{kind}", **asked).json().get("items", []):
                    meta = item["metadata"]
                    if item.get("status", {}).get("observedGeneration") == meta["generation"]:
                        continue
                    status: dict[str, Any] = {"observedGeneration": meta["generation"], **dict.fromkeys(fields, 1)}
                    status |= more[kind]
                    place = f"{root}/namespaces/{meta['namespace']}/{kind}/{meta['name']}/status"
                    patch = {"Content-Type": "application/merge-patch+json"}
                    done = requests.patch(place, json={"status": status}, **{**asked, "headers": AUTH | patch})
                    done.raise_for_status()


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    made = Plane(tmp_path_factory.mktemp("plane"))
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def standin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    with served(tmp_path_factory.mktemp("github"), "127.0.0.1") as found:
        yield found


@pytest.fixture
def index(tmp_path: Path) -> Index:
    found = locked_index(tmp_path)
    tool = tmp_path / "tools/flux"
    tool.parent.mkdir()
    tool.symlink_to(find_tool("flux"))
    return found.with_artefact(Artefact("flux", "tool", "gitops", "2.9.5", "built", "", "", "tools/flux", ""))


class Labs:
    """Labs that share the cluster, each with its own settings."""

    def __init__(self, plane: Plane, standin: StandIn, folder: Path) -> None:
        self.plane, self.standin, self.folder = plane, standin, folder

    def lab(self, **gitops: Any) -> Lab:
        settings = Settings.model_validate({"name": "test", "gitops": {"ca_file": str(self.standin.ca), **gitops}})
        lab = Lab(settings, ROOT, self.folder / "lab")
        lab.dir.mkdir(exist_ok=True)
        shutil.copyfile(self.plane.kubeconfig, lab.kubeconfig)
        return lab

    def github(self, **more: Any) -> Lab:
        standin = self.standin
        values = {"kind": "github", "owner": OWNER, "repository": NAME, "hostname": standin.hostname}
        return self.lab(**{**values, "ssh_hostname": standin.ssh_hostname, **more})


@pytest.fixture
def labs(plane: Plane, standin: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Labs:
    end = Endpoint(
        "n", "embedded", "127.0.0.1", 22, "root", tmp_path / "k", tmp_path / "kh", "127.0.0.1", "127.0.0.1",
        forwards={"6443": plane.port},
    )  # fmt: skip
    machine = type("Machine", (), {"endpoint": lambda self: end, "obstacle": lambda self: ""})()
    monkeypatch.setattr(choice, "machine_for", lambda _: machine)
    monkeypatch.setattr(flux_cli, "BOOTSTRAP_MINUTES", 2)
    monkeypatch.setenv("GITHUB_TOKEN", TOKEN)
    monkeypatch.setenv("GIT_PASSWORD", TOKEN)
    return Labs(plane, standin, tmp_path)


def secret(lab: Lab) -> dict[str, str]:
    with client.connect(lab) as api:
        return flux.FluxObjects(api).secret()


def test_from_no_repository_to_flux_ready_and_then_no_changes(labs: Labs, index: Index) -> None:
    lab = labs.github()
    assert "would be made" in plan(lab, index)
    outcome = bootstrap(lab, index)
    assert f"repository {OWNER}/{NAME} on {labs.standin.hostname}" in outcome.changed
    assert "flux bootstrap v2.9.5" in outcome.changed
    (key,) = labs.standin.keys
    assert key["read_only"] is True
    assert set(secret(lab)) == {"identity", "identity.pub", "known_hosts"}
    assert bootstrap(lab, index).changed == ()
    assert plan(lab, index) == ""
    with client.connect(lab) as api:
        found: Any = kubernetes.AppsV1Api(api).list_stateful_set_for_all_namespaces().items
    assert {item.metadata.name for item in found} == {"prometheus-k8s"}
    for path in [*labs.folder.rglob("*"), *labs.plane.folder.glob("*.log")]:
        assert not path.is_file() or TOKEN.encode() not in path.read_bytes(), path


def test_git_over_https_and_back_leaves_no_password(labs: Labs, index: Index) -> None:
    bootstrap(labs.github(), index)
    over_https = labs.lab(url=labs.standin.url, username=OWNER)
    assert "flux bootstrap v2.9.5" in bootstrap(over_https, index).changed
    assert set(secret(over_https)) == {"username", "password", "ca.crt"}
    assert bootstrap(over_https, index).changed == ()
    assert "flux bootstrap v2.9.5" in bootstrap(labs.github(), index).changed
    assert set(secret(over_https)) == {"identity", "identity.pub", "known_hosts"}


def test_a_changed_lock_is_an_upgrade(labs: Labs, index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    """The repository then holds another version than the flux CLI of the mirror."""
    lab = labs.github()
    bootstrap(lab, index)
    clone = labs.folder / "clone"
    subprocess.run(["git", "clone", "--quiet", str(labs.standin.repository), str(clone)], check=True)
    file = clone / "clusters/lab/flux-system/gotk-components.yaml"
    file.write_text(file.read_text().replace("# Flux Version: v2.9.5", "# Flux Version: v2.9.4"))
    person = ["git", "-C", str(clone), "-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run([*person, "commit", "--quiet", "-am", "older"], check=True)
    subprocess.run([*person, "push", "--quiet"], check=True)
    assert "the repository holds Flux v2.9.4, wanted is v2.9.5" in plan(lab, index)
    assert "flux bootstrap v2.9.5" in bootstrap(lab, index).changed
    assert bootstrap(lab, index).changed == ()


def test_another_host_key_than_github_publishes_stops_it(
    labs: Labs, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = labs.github()
    bootstrap(lab, index)
    with pytest.raises(LabError, match="Flux stored the host key"):
        bootstrap(labs.github(known_host=f"{labs.standin.ssh_hostname} ssh-rsa AAAAother"), index)
    assert bootstrap(lab, index).changed == ()


def test_after_each_fault_all_goes_on(labs: Labs, index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    standin = labs.standin
    bootstrap(labs.github(), index)
    monkeypatch.setenv("GITHUB_TOKEN", "wrong")
    with pytest.raises(LabError, match="refuses the token"):
        bootstrap(labs.github(), index)
    monkeypatch.setenv("GITHUB_TOKEN", TOKEN)
    for name, says in (("push", "not push to it"), ("admin", "not add the deploy key")):
        monkeypatch.setattr(standin, name, False)
        with pytest.raises(LabError, match=says):
            bootstrap(labs.github(), index)
        monkeypatch.setattr(standin, name, True)
    monkeypatch.setattr(standin, "down", True)
    with pytest.raises(LabError, match="answers 503"):
        bootstrap(labs.github(), index)
    monkeypatch.setattr(standin, "down", False)
    with pytest.raises(LabError, match="there is no folder clusters/none"):
        bootstrap(labs.github(path="clusters/none"), index)
    assert bootstrap(labs.github(), index).changed == ()


PARTS = ("app", "monitoring/controllers", "monitoring/configs", "monitoring/kepler", "monitoring/grafana")


@pytest.mark.parametrize("part", PARTS)
def test_the_api_server_takes_every_field_of_a_part(labs: Labs, index: Index, part: str) -> None:
    """``kustomize build`` with the generated component, checked strictly against the running server's schemas."""
    lab, folder = labs.github(), labs.folder / "tree"
    for path, text in tree.desired(lab, held(index, "kepler", "grafana"), "embedded").items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    (folder / "overlay").mkdir()
    overlay = {"resources": [f"../clusters/base/{part}"], "components": ["../clusters/generated/lab"]}
    (folder / "overlay/kustomization.yaml").write_text(yaml.safe_dump(overlay))
    text = labs.plane.kubectl("kustomize", str(folder / "overlay")).stdout
    for namespace in ("monitoring", "mock-app"):
        labs.plane.kubectl("create", "namespace", namespace, check=False)
    strict = ["--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict", "--filename=-"]
    answer = labs.plane.kubectl("apply", *strict, stdin=text).stdout
    assert answer.count("(server dry run)") == len([one for one in yaml.safe_load_all(text) if one])
    wrong = labs.plane.kubectl(
        "apply", *strict, stdin=text.replace("metadata:\n", "metadata:\n  lables: {}\n"), check=False
    )
    assert wrong.returncode != 0
    assert os.fspath(folder) not in answer
