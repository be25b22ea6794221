"""From a host that says to be RHEL 8.6 to a Ready node and back, by the real dnf, rpm and firewalld."""

import subprocess
from pathlib import Path

import pytest

from hardwatt.cluster import status as cluster_status
from hardwatt.config import versions
from hardwatt.mirror import rpm_versions, servers
from tests.el8 import standin
from tests.el8.conftest import Site

pytestmark = pytest.mark.el8

DEVEL = "kernel-devel-4.18.0-372.9.1.el8.standin.x86_64"
STATE = "rpm -qa | sort; ls /etc/yum.repos.d /etc/pki/rpm-gpg; firewall-cmd --list-all-zones; cat /proc/swaps"
"""What belongs to the host and is the same after ``lab.down``."""


def probe(number: str) -> dict[str, object]:
    packages = {"probe": f"{number}-1.el8.standin"}
    return {"operation": "pinned", "packages": packages, "repository": "standin"}


def test_a_fresh_host_is_what_it_says(site: Site) -> None:
    assert site.run(". /etc/os-release; echo $ID $VERSION_ID $PLATFORM_ID").split() == ["rhel", "8.6", "platform:el8"]
    assert site.run("rpm -q --whatprovides system-release").startswith("redhat-release-8.6")
    assert "running" in site.run("firewall-cmd --state")
    gone = "for one in apt-get dpkg conntrack socat tc runc kubelet; do command -v $one; done; true"
    assert site.run(gone).split() == []


def test_the_host_key_is_learnt_by_its_fingerprint(site: Site) -> None:
    refused = site.invoke("lab.trust", site.end.address, "--fingerprint", "SHA256:" + "A" * 43, check=False)
    assert refused.returncode == 1
    assert not site.lab.known_hosts.exists()
    public = site.machine.lab.keys / "host_ed25519.pub"
    printed = subprocess.run(["ssh-keygen", "-lf", public], capture_output=True, text=True, check=True).stdout
    site.invoke("lab.trust", site.end.address, "--fingerprint", printed.split()[1])


def test_exact_versions_go_up_and_down_behind_an_exclude(site: Site) -> None:
    assert "Unable to find a match" in site.run("dnf -y install probe", check=False)
    ran = site.operations(probe("2.0"), probe("3.0"), probe("1.0"), probe("1.0"))
    assert ran.changed == [True, True, True, False]
    assert site.run("rpm -q probe").split() == ["probe-1.0-1.el8.standin.x86_64"]
    assert "Nothing to do" in site.run("dnf -y upgrade")
    assert not site.operations(probe("4.0"), check=False).ok


def test_an_exact_kernel_devel_comes_although_another_one_is_there(site: Site) -> None:
    """pyinfra's own operation does nothing here (its issue 1910)."""
    site.run("dnf -y install kernel-devel")
    assert DEVEL not in site.run("rpm -q kernel-devel")
    present = {"operation": "present", "names": [DEVEL]}
    assert site.operations(present, present).changed == [True, False]
    assert len(site.run("rpm -q kernel-devel").split()) == 2


@pytest.mark.parametrize("repository", ["forged-package", "forged-index"])
def test_what_another_key_signed_is_refused(site: Site, repository: str) -> None:
    asked = {"operation": "pinned", "packages": {"forged": "1.0-1.standin"}, "repository": repository}
    ran = site.operations(asked, check=False)
    assert not ran.ok
    assert "GPG" in ran.text
    assert "not installed" in site.run("rpm -q forged", check=False)


def test_a_key_with_another_fingerprint_is_not_imported(site: Site) -> None:
    trusted = site.run("rpm -q gpg-pubkey")
    foreign = site.run(f"cat /{standin.FOREIGN_KEY}")
    path, pinned = "/etc/pki/rpm-gpg/RPM-GPG-KEY-test", "0123456789ABCDEF0123456789ABCDEF01234567"
    asked = {"operation": "key", "content": foreign, "path": path, "fingerprint": pinned}
    ran = site.operations(asked, check=False)
    assert not ran.ok
    assert f"{pinned} is pinned: nothing was imported" in ran.text
    assert site.run("rpm -q gpg-pubkey") == trusted
    assert site.run(f"ls {path}* 2>/dev/null || true") == ""


@pytest.fixture(scope="module")
def before(site: Site) -> str:
    """The host before the first ``lab.up``."""
    site.run("dnf -y remove kernel-devel probe")
    return site.run(STATE)


def test_lab_up_ends_in_a_ready_node(site: Site, before: str) -> None:
    site.invoke("lab.up")
    status = cluster_status.read(site.lab)
    assert list(status.nodes.values()) == [True]
    assert all(pod.ready for pod in status.pods)


def test_every_package_is_the_pinned_one_and_of_an_rpm(site: Site) -> None:
    lock = versions.lock()
    for name in lock.packages:
        wanted = f"{name}-{rpm_versions.evr(lock.package_version(name))}.x86_64"
        assert site.run(f"rpm -q {name}").split() == [wanted]
        assert site.run(f"rpm -V --nomtime {name} || true") == ""
    owners = site.run("rpm -qf /usr/sbin/conntrack /usr/sbin/tc /usr/bin/runc /usr/bin/kubelet")
    assert [line.partition("-")[0] for line in owners.split()] == ["conntrack", "iproute", "runc", "kubelet"]
    assert "git" in site.run("rpm -q git container-selinux containernetworking-plugins")


def test_the_repository_is_signed_and_an_upgrade_moves_nothing(site: Site) -> None:
    servers.serve(site.lab, site.lab_address())
    try:
        all_of_them = "dnf -y --enablerepo=hardwatt --refresh"
        assert "Nothing to do" in site.run(f"{all_of_them} upgrade")
        assert "kubelet" not in site.run(f"{all_of_them} repoquery --quiet --repo=hardwatt")
        assert "kubelet" in site.run(f"{all_of_them} repoquery --quiet --repo=hardwatt --disableexcludes=hardwatt")
    finally:
        servers.stop_serving(site.lab)


def test_firewalld_runs_and_lets_the_cluster_through(site: Site) -> None:
    assert "running" in site.run("firewall-cmd --state")
    for when in ("", "--permanent"):
        trusted = site.run(f"firewall-cmd {when} --zone=trusted --list-sources").split()
        assert {"10.244.0.0/16", "10.96.0.0/16"} <= set(trusted)
        assert {"6443/tcp", "2222/tcp"} <= set(site.run(f"firewall-cmd {when} --list-ports").split())


def test_a_second_up_and_a_plan_change_nothing(site: Site) -> None:
    transactions = site.run("dnf history list | wc -l")
    assert "No changes" in site.invoke("lab.up").stderr
    assert "No changes" in site.invoke("lab.plan").stderr
    assert site.run("dnf history list | wc -l") == transactions


def test_a_package_that_somebody_moved_is_put_back(site: Site) -> None:
    site.run("rpm --erase --nodeps kubectl")
    assert "1 changed" in site.invoke("lab.up").stderr
    lock = versions.lock()
    assert rpm_versions.evr(lock.package_version("kubectl")) in site.run("rpm -q kubectl")
    assert Path(site.lab.kubeconfig).exists()


def test_lab_down_gives_the_host_back(site: Site, before: str) -> None:
    site.invoke("lab.down", "--yes")
    assert site.run(STATE) == before
    assert site.run("systemctl is-active kubelet containerd; true").split() == ["inactive", "inactive"]
