"""The whole list on a bare Debian 12 that is not there: what it would run, in which order, with what in the files."""

import json
import shlex
import tomllib
from typing import Any

import pytest
import yaml
from pyinfra.api import DeployError

from deploys.operations.boot import drop_in
from hardwatt.provision import runner
from hardwatt.testing import fake_host
from tests.deploys.conftest import FAKE, ROOT, Runner

DIGEST = "sha256:" + "0123456789abcdef" * 4

IN_ORDER = [
    "modprobe overlay",
    "modprobe br_netfilter",
    "sysctl --write net.bridge.bridge-nf-call-iptables=1",
    "sysctl --write net.ipv4.ip_forward=1",
    "containerd.io=2.3.4+lab.1",
    "apt-mark hold containerd.io",
    "systemctl start containerd.service",
    "kubeadm=1.36.3+lab.1 kubectl=1.36.3+lab.1 kubelet=1.36.3+lab.1",
    "apt-mark hold kubeadm kubectl kubelet",
    "systemctl enable kubelet.service",
    "systemctl start hardwatt-services.service",
    f"ctr --namespace k8s.io images pull --hosts-dir /etc/hardwatt/registries "
    f"--label io.cri-containerd.pinned=pinned registry.k8s.io/kube-apiserver@{DIGEST}",
    # the mirror of this lab has no such registry: whatever the host is configured to use
    f"pull --hosts-dir /etc/containerd/certs.d --label io.cri-containerd.pinned=pinned hardwatt.dev/app@{DIGEST}",
    "kubeadm init --skip-token-print --config /etc/hardwatt/kubeadm.yaml",
    "touch /etc/hardwatt/kubeadm.done",
    "systemctl start hardwatt-meter.service",
]


def test_commands_of_a_full_run(run_node: Runner) -> None:
    run = run_node()
    run.has_in_order(IN_ORDER)
    assert not [command for command in run.commands if "upgrade" in command or "StrictHostKey" in command]


def test_service_addresses_are_refused_before_the_kubelet_starts(run_node: Runner) -> None:
    text = run_node().files["/etc/systemd/system/hardwatt-services.service"]
    assert "Before=kubelet.service" in text
    assert "ExecStart=/usr/sbin/iptables -w -I FORWARD -d 10.96.0.0/16 " in text
    assert text.count("ExecStart=") == text.count("ExecStop=-") == 2


def test_the_kubeadm_configuration_of_a_host_needs_no_exception(run_node: Runner) -> None:
    documents = kubeadm(run_node().files)
    init, cluster = documents["InitConfiguration"], documents["ClusterConfiguration"]
    kubelet, proxy = documents["KubeletConfiguration"], documents["KubeProxyConfiguration"]
    assert init["nodeRegistration"] == {
        "name": "node-1",
        "criSocket": "unix:///run/containerd/containerd.sock",
        "imagePullPolicy": "Never",
        "taints": [],
        "ignorePreflightErrors": [],
    }
    assert init["localAPIEndpoint"] == {"advertiseAddress": "198.51.100.7", "bindPort": 6443}
    assert cluster["kubernetesVersion"] == "v1.36.3+lab.1"
    assert cluster["imageRepository"] == "registry.k8s.io"
    assert cluster["etcd"]["local"]["imageTag"] == "3.6.14_lab.1"
    assert cluster["dns"] == {"imageRepository": "registry.k8s.io/coredns", "imageTag": "v1.14.2_lab.1"}
    assert cluster["networking"]["podSubnet"] == "10.244.0.0/16"
    assert "198.51.100.7" in cluster["apiServer"]["certSANs"]
    assert kubelet["cgroupDriver"] == "systemd"
    assert kubelet["failCgroupV1"] is True
    assert kubelet["failSwapOn"] is True
    assert kubelet["authentication"] == {"anonymous": {"enabled": False}, "webhook": {"enabled": True}}
    assert "cgroupRoot" not in kubelet
    assert "conntrack" not in proxy


def test_the_configuration_of_an_embedded_node_follows_its_facts(run_node: Runner) -> None:
    run = run_node(
        answers={
            "cgroup": "version=1\nusable=blkio cpu cpuacct cpuset devices freezer memory pids\nunit=4:memory:/",
            "system": FAKE["answers"]()[": facts.system"].replace("1ffffffffff", "1fffeffffff"),
            "settings": "net.bridge.bridge-nf-call-ip6tables yes 1\nnet.bridge.bridge-nf-call-iptables yes 1\n"
            "net.ipv4.ip_forward yes 1\nnet.netfilter.nf_conntrack_max no 262144",
        },
        lab={"preset": "embedded", "cgroup_root": "/hardwatt"},
    )
    documents = kubeadm(run.files)
    assert documents["InitConfiguration"]["nodeRegistration"]["ignorePreflightErrors"] == ["SystemVerification"]
    kubelet = documents["KubeletConfiguration"]
    assert (kubelet["cgroupDriver"], kubelet["failCgroupV1"], kubelet["cgroupRoot"]) == ("cgroupfs", False, "/hardwatt")
    assert documents["KubeProxyConfiguration"]["conntrack"] == {"maxPerCore": 0, "min": 0}
    containerd = tomllib.loads(run.files["/etc/containerd/config.toml"])["plugins"]["io.containerd.cri.v1.runtime"]
    assert containerd["restrict_oom_score_adj"] is True
    assert containerd["containerd"]["runtimes"]["runc"]["options"] == {"SystemdCgroup": False}


def test_containerd_pulls_through_the_mirror_and_uses_the_index_pause(run_node: Runner) -> None:
    files = run_node().files
    plugins = tomllib.loads(files["/etc/containerd/config.toml"])["plugins"]
    assert plugins["io.containerd.cri.v1.images"]["pinned_images"] == {"sandbox": "registry.k8s.io/pause:3.10.2_lab.1"}
    assert plugins["io.containerd.cri.v1.runtime"]["restrict_oom_score_adj"] is False
    hosts = tomllib.loads(files["/etc/hardwatt/registries/registry.k8s.io/hosts.toml"])
    assert hosts["server"] == "https://registry.k8s.io"
    assert hosts["host"] == {
        "http://198.51.100.1:8700/v2/registry.k8s.io": {"capabilities": ["pull"], "override_path": True}
    }
    assert not any(path.startswith("/etc/containerd/certs.d") for path in files), "kubelet never asks the mirror"
    source = files["/etc/apt/sources.list.d/hardwatt.sources"]
    assert source.splitlines()[1:] == [  # a blank line would end the stanza
        "Types: deb",
        "URIs: http://198.51.100.1:8701",
        "Suites: stable",
        "Components: main",
        "Signed-By: /etc/apt/keyrings/hardwatt.asc",
    ]
    assert "rusted" not in source


@pytest.mark.parametrize(
    ("interval", "argument"),
    [("15s", ""), ("10s", ""), ("1m", ""), ("1s", "--housekeeping-interval=1s "),
     ("500ms", "--housekeeping-interval=500ms "), ("9999ms", "--housekeeping-interval=9999ms ")],
)  # fmt: skip
def test_kubelet_keeps_house_as_upstream_or_as_often_as_it_is_scraped(
    run_node: Runner, interval: str, argument: str
) -> None:
    files = run_node(lab=fake_host.lab(scrape_interval=interval)).files
    assert files["/etc/default/kubelet"].startswith(f"KUBELET_EXTRA_ARGS={argument}--node-ip=")


def test_the_network_is_the_nodes_share(run_node: Runner) -> None:
    files = run_node().files
    network = json.loads(files["/etc/cni/net.d/10-hardwatt.conflist"])
    assert [plugin["type"] for plugin in network["plugins"]] == ["bridge", "portmap"]
    assert network["plugins"][0]["ipam"]["ranges"] == [[{"subnet": "10.244.0.0/24"}]]


def test_a_node_that_is_made_is_left_alone(run_node: Runner) -> None:
    run = run_node(answers={"kubeadm": "read=yes\nadmin=yes\nkubelet_conf=yes\nconfig=yes\nremains=yes\ndone=yes",
                            "answer": "read=yes\nadmin=yes\nready=yes"}, steps=["kubeadm"])  # fmt: skip
    assert not [command for command in run.commands if "kubeadm init" in command or "kubeadm reset" in command]
    assert run.results["Control plane | kubeadm init"] is False


def test_all_problems_stop_the_run_before_any_command(run_node: Runner) -> None:
    system = FAKE["answers"]()[": facts.system"].replace("memory_kib=8", "memory_kib=1").replace("cpus=4", "cpus=1")
    with pytest.raises(DeployError) as caught:
        run_node(answers={"system": system, "ports": 'LISTEN 0 9 *:6443 *:* users:(("nginx",pid=1,fd=1))'})
    text = str(caught.value)
    assert all(part in text for part in ("1095 MiB of memory", "kubeadm wants 2", "port 6443 is taken by nginx"))


V1 = (
    "version=1\nusable=blkio cpu cpuacct cpuset devices freezer memory pids\nunit=4:memory:/system.slice/run-u1.service"
)


def test_a_host_on_cgroup_v1_gets_boot_arguments_and_nothing_that_comes_after_the_reboot(run_node: Runner) -> None:
    run = run_node(answers={"cgroup": V1})
    commands = [command for command in run.commands if "hardwatt/note" in command or "grub" in command]
    text = drop_in(["systemd.unified_cgroup_hierarchy=1"])
    assert commands[-4:] == [
        "/usr/local/lib/hardwatt/note bootfile /etc/default/grub.d/zz-hardwatt.cfg",
        "mkdir -p /etc/default/grub.d",
        f"printf '%s' {shlex.quote(text)} >/etc/default/grub.d/zz-hardwatt.cfg",
        "update-grub",
    ]
    assert run.commands[-1] == (
        "mkdir -p /run/hardwatt && printf '%s\\n' "
        "'cgroup v2 is switched on: Kubernetes 1.35 and later refuse cgroup v1' >>/run/hardwatt/reboot-required"
    )
    assert runner.WAITS in run.results
    assert set(run.files) == {"/usr/local/lib/hardwatt/note"}


def test_a_reboot_that_is_still_asked_for_ends_the_list(run_node: Runner) -> None:
    pending = FAKE["answers"]()[": facts.boot"] + "\nrequired a new kernel"
    run = run_node(answers={"boot": pending})
    assert list(run.results)[-1] == runner.WAITS


def test_the_embedded_node_has_no_boot_of_its_own(run_node: Runner) -> None:
    system = FAKE["answers"]()[": facts.system"].replace("virtualization=none", "virtualization=systemd-nspawn")
    run = run_node(answers={"cgroup": V1, "system": system}, lab={"preset": "embedded"})
    assert not [command for command in run.commands if "grub" in command]
    assert "Control plane | kubeadm init" in run.results


UPSTREAM: dict[str, Any] = {
    "repository": None,
    "registries": {},
    "upstream": {"minor": "1.36", "base": ""},
    "packages": {
        "containerd": {"containerd.io": "2.3.4-*"},
        "kubernetes": dict.fromkeys(("kubeadm", "kubectl", "kubelet"), "1.36.3-*"),
    },
}


def test_upstreams_repositories_by_apt_each_with_its_one_key(run_node: Runner) -> None:
    run = run_node(lab=UPSTREAM)
    files = {path.rpartition("/")[2]: text for path, text in run.files.items() if "sources.list.d" in path}
    assert sorted(files) == ["hardwatt-docker.sources", "hardwatt-kubernetes.sources"]
    assert files["hardwatt-kubernetes.sources"].splitlines()[1:] == [
        "Types: deb",
        "URIs: https://pkgs.k8s.io/core:/stable:/v1.36/deb/",
        "Suites: /",
        "Architectures: amd64",
        "Signed-By: /etc/apt/keyrings/hardwatt-kubernetes.asc",
    ]
    assert "Suites: bookworm\nComponents: stable\n" in files["hardwatt-docker.sources"]
    keys = [command for command in run.commands if 'test "$actual" != ' in command]
    assert [("DE15B14486CD377B9E876E1A234654DA9A296436" in text) for text in keys] == [True, False]
    assert "9DC858229FC7DD38854AE2D88D81803C0EBFCD88" in keys[1]
    fetched = [text.rpartition(" ")[2] for text in run.commands if "curl --fail" in text]
    assert fetched == [
        "https://pkgs.k8s.io/core:/stable:/v1.36/deb/Release.key",
        "https://download.docker.com/linux/debian/gpg",
    ]
    installs = [text for text in run.commands if "apt-get install" in text]
    assert any("'kubeadm=1.36.3-*' 'kubectl=1.36.3-*' 'kubelet=1.36.3-*'" in text for text in installs)
    reads = [text for text in run.commands if "apt-get update" in text and "SourceList" in text]
    assert [text.partition("SourceList=")[2].split()[0] for text in reads] == [
        "/etc/apt/sources.list.d/hardwatt-docker.sources",
        "/etc/apt/sources.list.d/hardwatt-kubernetes.sources",
    ]


def test_an_internal_proxy_stands_in_for_upstreams_hosts(run_node: Runner) -> None:
    run = run_node(lab={**UPSTREAM, "upstream": {"minor": "1.36", "base": "https://proxy.example.org/up/"}})
    text = run.files["/etc/apt/sources.list.d/hardwatt-kubernetes.sources"]
    assert "URIs: https://proxy.example.org/up/pkgs.k8s.io/core:/stable:/v1.36/deb/" in text


def test_preset_legacy_leaves_images_to_its_kubeadm(run_node: Runner) -> None:
    legacy = {
        **UPSTREAM,
        "preset": "legacy",
        "kubernetes_version": "v1.34.11",
        "images": {"node": [], "workload": []},
        "pause": "",
        "etcd_tag": "",
        "dns_tag": "",
    }
    run = run_node(answers={"cgroup": V1}, lab=legacy)
    documents = kubeadm(run.files)
    assert documents["InitConfiguration"]["nodeRegistration"]["imagePullPolicy"] == "IfNotPresent"
    assert documents["InitConfiguration"]["nodeRegistration"]["ignorePreflightErrors"] == []
    assert "dns" not in documents["ClusterConfiguration"]
    assert "imageTag" not in documents["ClusterConfiguration"]["etcd"]["local"]
    assert documents["KubeletConfiguration"]["failCgroupV1"] is False
    assert "sandbox" not in run.files["/etc/containerd/config.toml"]


def test_every_step_runs_alone(run_node: Runner) -> None:
    for name in runner.steps(ROOT):
        run_node(steps=[name])


def kubeadm(files: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Return the documents by kind; a key that YAML knows twice would be lost, so it is refused."""
    text = files["/etc/hardwatt/kubeadm.yaml"]
    documents = list(yaml.safe_load_all(text))
    assert [item["apiVersion"] for item in documents] == [
        "kubeadm.k8s.io/v1beta4",
        "kubeadm.k8s.io/v1beta4",
        "kubelet.config.k8s.io/v1beta1",
        "kubeproxy.config.k8s.io/v1alpha1",
    ]
    return {item["kind"]: item for item in documents}
