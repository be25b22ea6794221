"""Listening sockets of a node: the loopback's, the node's or a pod's address, and nothing on all addresses."""

import re
from pathlib import Path

import pytest
import yaml

from tests.deploys.conftest import ROOT, Runner

ALL = re.compile(r"0\.0\.0\.0(?!/)|\[::\]|listen-address=:|ListenAddress (\*|::)")


@pytest.mark.parametrize("folder", ["templates", "clusters", "deploys/operations"])
def test_no_configuration_of_ours_listens_on_all_addresses(folder: str) -> None:
    files = [path for path in (ROOT / folder).rglob("*") if path.suffix in {".j2", ".yaml", ".py", ".conf"}]
    assert files
    # a pod's own network has its own address alone; policies say who may connect to it
    wrong = [str(path) for path in files if ALL.search(path.read_text()) and not _in_a_pods_network(path)]
    assert wrong == []


def _in_a_pods_network(path: Path) -> bool:
    return path.name == "workload.yaml" and "hostNetwork" not in path.read_text()


def test_the_control_plane_listens_on_the_nodes_address_or_the_loopback(run_node: Runner) -> None:
    documents = {item["kind"]: item for item in yaml.safe_load_all(run_node().files["/etc/hardwatt/kubeadm.yaml"])}
    cluster = documents["ClusterConfiguration"]
    arguments = [*cluster["controllerManager"]["extraArgs"], *cluster["scheduler"]["extraArgs"]]
    arguments += cluster["etcd"]["local"]["extraArgs"]
    values = [entry["value"] for entry in arguments if "bind" in entry["name"] or "listen" in entry["name"]]
    assert values == ["198.51.100.7", "198.51.100.7", "http://127.0.0.1:2381"]
    assert documents["KubeProxyConfiguration"]["healthzBindAddress"] == "198.51.100.7:10256"
    assert documents["InitConfiguration"]["localAPIEndpoint"]["advertiseAddress"] == "198.51.100.7"


def test_the_git_server_listens_on_the_nodes_address(run_node: Runner) -> None:
    files = run_node().files
    assert "\nPort 2222\nListenAddress 198.51.100.7\n" in files["/etc/hardwatt/git/sshd_config"]
    unit = files["/etc/systemd/system/hardwatt-git.service"]
    assert "After=network-online.target" in unit, "the address may come late"
    assert "StartLimitIntervalSec=0" in unit


def test_node_exporter_listens_on_the_nodes_address() -> None:
    text = (ROOT / "clusters/base/monitoring/controllers/node-exporter/workload.yaml").read_text()
    assert "--web.listen-address=$(HOST_IP):9100" in text
    assert "fieldPath: status.hostIP" in text
