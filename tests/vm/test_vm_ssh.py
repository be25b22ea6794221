"""Somebody's host, as a user whose sudo asks for a password, behind a jump host: the whole of ``machine = "ssh"``.

The host is a virtual machine that this lab did not make. Its jump host is itself, by another user without sudo.
"""

import dataclasses
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from hardwatt.cluster import port_forward
from hardwatt.cluster import status as cluster_status
from hardwatt.config.lab import open_lab
from hardwatt.config.settings import default_name
from hardwatt.connect import boot, sudo
from hardwatt.dump.client import Client
from hardwatt.machines import choice, identity
from hardwatt.machines.embedded import host_record
from hardwatt.machines.embedded.host_snapshot import Snapshot
from hardwatt.machines.vm.image import USER_NETWORK
from hardwatt.provision import reboot
from tests.e2e.support import Story, lab_of_its_own
from tests.vm import guest
from tests.vm.test_vm import UP

pytestmark = [pytest.mark.vm, pytest.mark.long]

PASSWORD = "staple battery"
SETTINGS = """machine = "ssh"
results = "{folder}/results"
[host]
address = "{address}"
user = "alice"
jump = "hop@127.0.0.1:{port}"
timeout_factor = 5
[meter]
source = "modelled"
[prometheus]
scrape_interval = "5s"
"""
PREPARE = """set -e
apt-get update --quiet >/dev/null
DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends sudo >/dev/null
for user in alice hop; do
  useradd --create-home --shell /bin/bash $user
  install -d -o $user -m 700 /home/$user/.ssh
  install -o $user -m 600 /root/key.pub /home/$user/.ssh/authorized_keys
done
rm /root/key.pub
echo 'alice ALL=(ALL:ALL) ALL' >/etc/sudoers.d/alice
# as after any installation: the image's first grub.cfg is a few lines
update-grub 2>/dev/null
"""


@pytest.fixture(scope="module")
def host() -> Iterator[Story]:
    """A machine that is somebody's: of another lab, which does nothing with it."""
    with lab_of_its_own("vmhost", "vm") as made:
        made.invoke("lab.machine.start", timeout=1200)
        yield made


@pytest.fixture(scope="module")
def lab(host: Story) -> Iterator[Story]:
    """A lab on that host, which knows no key of it yet."""
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory(prefix="hardwatt-vmssh-") as folder:
        patch.setenv("HARDWATT_LAB", "vmssh-" + default_name().removeprefix("lab-"))
        patch.setenv(sudo.PASSWORD, PASSWORD)
        config, port = Path(folder) / "lab.toml", choice.machine_for(host.lab).endpoint().port
        config.write_text(SETTINGS.format(folder=folder, address=USER_NETWORK.guest, port=port))
        patch.setenv("HARDWATT_CONFIG", str(config))
        made = Story(open_lab(), dict(os.environ))
        shutil.rmtree(made.lab.dir, ignore_errors=True)  # of a killed run, whose host is gone
        key = identity.ensure_key(made.lab, identity.CLIENT_KEY)
        with host.node() as node:
            node.put(key.with_suffix(".pub").read_bytes(), "/root/key.pub")
            node.run(PREPARE, timeout=900)
            node.run("chpasswd", stdin=f"alice:{PASSWORD}\n")
        yield made
        made.invoke("lab.down", "--yes", check=False)
        shutil.rmtree(made.lab.dir)


@pytest.fixture(scope="module")
def bare(host: Story, lab: Story) -> Snapshot:
    """The host before the lab looked at it: looking at ports loads modules of the kernel, until the next boot."""
    assert lab.lab.keys.exists()
    with host.node() as node:
        return guest.take(node)


@pytest.mark.usefixtures("bare")
def test_nothing_is_trusted_before_its_fingerprint_was_given(host: Story, lab: Story) -> None:
    refused = lab.invoke("lab.up", check=False)
    assert refused.returncode != 0
    assert "invoke lab.trust 127.0.0.1" in refused.stderr
    with host.node() as node:
        printed = node.run("ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub").stdout.split()[1]
    wrong = lab.invoke("lab.trust", "127.0.0.1", "--fingerprint", f"{printed[:-1]}-", check=False)
    assert wrong.returncode != 0
    assert printed in wrong.stderr
    for address in ("127.0.0.1", USER_NETWORK.guest):
        lab.invoke("lab.trust", address, "--fingerprint", printed)


def test_a_wrong_password_of_sudo_is_refused_before_anything_is_done(lab: Story) -> None:
    other = dataclasses.replace(lab, env={**lab.env, sudo.PASSWORD: "wrong"})
    done = other.invoke("lab.check", check=False, timeout=600)
    assert done.returncode != 0
    assert "alice does not become root" in done.stderr


def test_lab_up_reboots_the_host_and_ends_in_ready(host: Story, lab: Story, bare: Snapshot) -> None:
    assert bare["cgroup"] == {"tmpfs": ""}, "cgroup v1"
    with host.node() as node:
        before = node.run(f"cat {boot.BOOT_ID}").stdout
    done = lab.invoke("lab.up", timeout=UP)
    assert "cgroup v2 is switched on" in done.stderr
    found = cluster_status.read(lab.lab)
    assert found.ready
    assert found.nodes == {lab.lab.name: True}
    with host.node() as node:
        assert node.run(f"cat {boot.BOOT_ID}").stdout != before
        assert node.run("stat -fc %T /sys/fs/cgroup").stdout.strip() == "cgroup2fs"


def test_the_password_is_in_no_file_and_the_right_has_ended(host: Story, lab: Story) -> None:
    written = [path for path in lab.lab.dir.rglob("*") if path.is_file()]
    assert written
    assert not [path for path in written if PASSWORD.encode() in path.read_bytes()]
    with host.node() as node:
        assert node.run(f"grep -rlF '{PASSWORD}' /etc /var/log /home /tmp", check=False).stdout == ""
        assert node.run("ls /etc/sudoers.d").stdout.split() == ["README", "alice"]


def test_a_second_up_changes_nothing(lab: Story) -> None:
    assert "No changes" in lab.invoke("lab.up", timeout=1200).stderr


def test_prometheus_is_reached_through_the_jump_host(lab: Story) -> None:
    with Client(port_forward.prometheus_url(lab.lab)) as client:
        rows = client.query("up == 1")
    assert rows


def test_down_gives_the_host_back(host: Story, lab: Story, bare: Snapshot) -> None:
    done = lab.invoke("lab.down", "--yes", timeout=UP)
    assert "on the host: " in done.stdout + done.stderr
    reboot.reboot(choice.machine_for(host.lab).endpoint())  # boot arguments were changed
    with host.node() as node:
        found = host_record.compare(bare, guest.take(node), ignore=guest.BY_ITSELF)
    assert not found, "\n".join(map(str, found))
