"""RHEL 8.6 in a plan: its answers are constructed from documentation, and its packages come by dnf."""

from typing import Any

import pytest

from hardwatt.config.lab import Lab
from hardwatt.config.settings import Settings
from hardwatt.meter import node_config
from hardwatt.mirror import apt
from hardwatt.mirror.index import Index
from hardwatt.mirror.served import Served
from hardwatt.provision import node_data, node_packages
from tests.deploys.conftest import FAKE, Runner

KEY = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n"
FINGERPRINT = "567E347AD0044ADE55BA8A5F199E2F91FD431D51"
PINS = {"kubeadm": "1.36.3-1.lab.1", "kubectl": "1.36.3-1.lab.1", "kubelet": "1.36.3-1.lab.1"}
SYSTEM = FAKE["answers"]()[": facts.system"]
ANSWERS = {
    "system": SYSTEM.replace("os=debian", "os=rhel")
    .replace("os_version=12", "os_version=8.6\nos_like=fedora")
    .replace("6.1.0-28-amd64", "4.18.0-372.9.1.el8.x86_64"),
    "rpms": "read=yes",
    "keys": "sha256 ",
}
LAB = {
    "distribution_packages": ["conntrack-tools", "container-selinux", "iproute-tc"],
    "packages": {"containerd": {"containerd.io": "2.3.4-1.lab.1"}, "kubernetes": PINS},
    "repository": {"url": "http://198.51.100.1:8701/rpm", "key": KEY, "fingerprint": FINGERPRINT},
}
IN_ORDER = [
    f"printf %s '{KEY}' >/etc/pki/rpm-gpg/RPM-GPG-KEY-hardwatt.new",
    "dnf --assumeyes --setopt=install_weak_deps=False install conntrack-tools container-selinux iproute-tc",
    "--disablerepo='*' --enablerepo=hardwatt --disableexcludes=hardwatt --refresh "
    "install containerd.io-2.3.4-1.lab.1.x86_64",
    "install kubeadm-1.36.3-1.lab.1.x86_64 kubectl-1.36.3-1.lab.1.x86_64 kubelet-1.36.3-1.lab.1.x86_64",
    "kubeadm init",
    "install git openssh-server",
]


def test_packages_come_by_dnf_each_after_what_it_needs(run_node: Runner) -> None:
    run = run_node(answers=ANSWERS, lab=LAB)
    run.has_in_order(IN_ORDER)
    assert not [command for command in run.commands if "apt-get" in command or "dpkg" in command]
    assert not [
        command for command in run.commands if "dnf" in command and (" update" in command or " upgrade" in command)
    ]


def test_the_repository_checks_every_signature_and_moves_nothing(run_node: Runner) -> None:
    text = run_node(answers=ANSWERS, lab=LAB).files["/etc/yum.repos.d/hardwatt.repo"]
    options = dict(line.split("=", 1) for line in text.splitlines() if "=" in line and not line.startswith("#"))
    assert options == {
        "name": "hardwatt lab",
        "baseurl": "http://198.51.100.1:8701/rpm",
        "enabled": "0",
        "gpgcheck": "1",
        "repo_gpgcheck": "1",
        "gpgkey": "file:///etc/pki/rpm-gpg/RPM-GPG-KEY-hardwatt",
        "skip_if_unavailable": "0",
        "exclude": "containerd.io kubeadm kubectl kubelet",
    }


@pytest.mark.parametrize(("mode", "label"), [("Enforcing", True), ("Permissive", True), ("Disabled", False)])
def test_confined_pods_may_read_what_the_meter_writes(run_node: Runner, mode: str, label: bool) -> None:
    lab = LAB | {
        "meter": {
            "config": {"source": "modelled"},
            "files": {path: str(src) for path, src in node_config.NODE_FILES.items()},
            "mounts": [],
        }
    }
    files = run_node(answers=ANSWERS | {"selinux": f"read=yes\nmode {mode}"}, lab=lab).files
    mounts = [text for path, text in files.items() if path.endswith(".mount")]
    assert len(mounts) == 3
    option = "\nOptions=context=system_u:object_r:container_file_t:s0,mode=0755,"
    assert [option in text for text in mounts] == [label] * 3
    assert ("enable_selinux = true" in files["/etc/containerd/config.toml"]) is label


def test_arguments_of_the_kubelet_lie_where_its_rpm_reads_them(run_node: Runner) -> None:
    files = run_node(answers=ANSWERS, lab=LAB).files
    assert files["/etc/sysconfig/kubelet"].startswith("KUBELET_EXTRA_ARGS=--node-ip=")
    assert "/etc/default/kubelet" not in files


@pytest.mark.parametrize(
    ("system", "rpms"),
    [(("rhel", "fedora"), True), (("rocky", "rhel", "centos", "fedora"), True), (("ubuntu", "debian"), False)],
)
def test_a_node_is_told_of_packages_as_it_takes_them(
    system: tuple[str, ...], rpms: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    assert node_data.Processor(2, "", system=system).takes_rpms is rpms
    key = tmp_path / "key.asc"
    key.write_text(KEY)
    monkeypatch.setattr(apt, "fingerprint", {key: FINGERPRINT}.__getitem__)
    lab = Lab(Settings(name="unit"), tmp_path, tmp_path)
    found = node_packages.sources(
        lab, Index(tmp_path), Served("http://198.51.100.1:8701", "198.51.100.1:8700", key), rpms=rpms
    )
    assert found.repository is not None
    assert found.repository.to_dict() == (
        LAB["repository"]
        if rpms
        else {"url": "http://198.51.100.1:8701", "suite": "stable", "components": "main", "key": KEY}
    )
