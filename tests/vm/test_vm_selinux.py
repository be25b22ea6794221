"""SELinux enforcing from before ``kubeadm init`` to Ready, in a virtual machine of its own.

The policy is Debian's, RHEL's cannot be had here, and it does not confine containers: what this shows is that no part
of the lab needs SELinux off, and that nothing switches it off. With RHEL's policy: unproven (docs/hardware.md).
"""

from collections.abc import Iterator

import pytest

from hardwatt.cluster import status as cluster_status
from hardwatt.connect.ssh import Ssh
from hardwatt.machines import choice
from hardwatt.machines.embedded import host_record
from hardwatt.machines.embedded.host_snapshot import Snapshot
from hardwatt.provision import reboot, runner
from tests.e2e.support import Story, lab_of_its_own
from tests.vm import guest
from tests.vm.test_vm import UP

pytestmark = [pytest.mark.vm, pytest.mark.long]

PREPARE = r"""set -e
export DEBIAN_FRONTEND=noninteractive
apt-get -y --no-install-recommends install selinux-policy-default policycoreutils selinux-utils >/dev/null
sed -i 's/^SELINUX=.*/SELINUX=enforcing/; s/^SELINUXTYPE=.*/SELINUXTYPE=default/' /etc/selinux/config
# without it firewalld's answer to an administrator's firewall-cmd is refused (USER_AVC, dbus send_msg)
echo '(allow firewalld_t unconfined_t (dbus (send_msg)))' >/root/firewall-cmd.cil
semodule -i /root/firewall-cmd.cil
more='security=selinux selinux=1 enforcing=1'
echo "GRUB_CMDLINE_LINUX=\"\$GRUB_CMDLINE_LINUX $more\"" >/etc/default/grub.d/20-selinux.cfg
update-grub 2>/dev/null
setfiles -F -e /proc -e /sys -e /dev -e /run /etc/selinux/default/contexts/files/file_contexts /
"""
"""By emulation most of it is the policy, which is compiled twice."""


@pytest.fixture(scope="module")
def enforcing() -> Iterator[Story]:
    """A machine that has booted with SELinux enforcing, and nothing of the lab on it."""
    with lab_of_its_own("vmse", "vm", '[vm]\ncgroup = "v2"\n') as made:
        made.invoke("lab.machine.start", timeout=1200)
        with made.node() as node:
            node.run(PREPARE, timeout=2400)
        reboot.reboot(choice.machine_for(made.lab).endpoint())
        yield made


@pytest.fixture(scope="module")
def bare(enforcing: Story) -> Snapshot:
    """The guest before the lab touched it."""
    with enforcing.node() as node:
        assert mode(node) == "Enforcing"
        return guest.take(node)


def mode(node: Ssh) -> str:
    return node.run("getenforce").stdout.strip()


@pytest.mark.usefixtures("bare")
def test_lab_up_ends_in_ready_and_selinux_stays_enforcing(enforcing: Story) -> None:
    enforcing.invoke("lab.up", timeout=UP)
    found = cluster_status.read(enforcing.lab)
    assert found.ready
    with enforcing.node() as node:
        assert mode(node) == "Enforcing"
        assert "enforcing=1" in node.run("cat /proc/cmdline").stdout
        contexts = node.run("ps -eo label,comm").stdout
        ports = node.run("cat /var/lib/selinux/default/active/ports.local").stdout
    print(contexts)
    assert "kubelet" in contexts
    assert "2222" in ports


def test_status_tells_of_selinux_and_its_denials(enforcing: Story) -> None:
    done = enforcing.invoke("lab.status", timeout=600)
    assert "selinux: enforcing, " in done.stdout + done.stderr


def test_the_guest_is_given_back_and_still_enforces(enforcing: Story, bare: Snapshot) -> None:
    assert runner.reset(enforcing.lab)
    # kernel modules that kube-proxy loaded stay until a boot
    reboot.reboot(choice.machine_for(enforcing.lab).endpoint())
    with enforcing.node() as node:
        found = host_record.compare(bare, guest.take(node), ignore=guest.BY_ITSELF)
        assert mode(node) == "Enforcing"
        # the compiled policy has other bytes each time; what it is compiled from has no port of the lab
        assert "2222" not in node.run("cat /var/lib/selinux/default/active/ports.local || true").stdout
    assert not found, "\n".join(map(str, found))
