"""The running node as a user whose sudo asks for a password: the real sudo, and the deploys through it."""

import dataclasses
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hardwatt.connect import sudo
from hardwatt.connect.endpoint import Endpoint
from hardwatt.connect.ssh import Ssh
from hardwatt.core.errors import RefusedError
from hardwatt.core.files import read_json, write_json
from hardwatt.core.wait import wait
from hardwatt.machines import choice
from hardwatt.provision import runner
from hardwatt.provision.node_data import node_file
from tests.e2e.support import ROOT, Story

pytestmark = pytest.mark.e2e

PASSWORD = "staple battery"


@pytest.fixture(scope="module")
def alice(story: Story, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """A user on the node who may become root with a password."""
    folder = tmp_path_factory.mktemp("sudo")
    subprocess.run(["apt-get", "download", "sudo"], cwd=folder, check=True, capture_output=True)
    (package,) = folder.glob("sudo_*.deb")
    with story.node() as node:
        node.put(package.read_bytes(), "/root/sudo.deb")
        node.run("dpkg --install /root/sudo.deb && rm /root/sudo.deb", timeout=300)
        node.run("useradd --create-home --shell /bin/bash alice && chpasswd", stdin=f"alice:{PASSWORD}\n")
        node.run("install -d -o alice -m 700 ~alice/.ssh && install -o alice ~/.ssh/authorized_keys ~alice/.ssh/")
        node.run("echo 'alice ALL=(ALL:ALL) ALL' >/etc/sudoers.d/alice")
    yield dataclasses.replace(choice.machine_for(story.lab).endpoint(), user="alice")
    sudo._forget_all()
    with story.node() as node:
        wait(
            lambda: node.run("pgrep -u alice", check=False).returncode, bool,
            what="end of alice's sessions", timeout=30, delay=0.2,
        )  # fmt: skip
        node.run("userdel --remove alice; dpkg --purge sudo; rm -rf /etc/sudoers.d", timeout=300)


def test_a_wrong_password_is_refused(alice: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(sudo.PASSWORD, "wrong")
    with pytest.raises(RefusedError, match="alice does not become root"):
        sudo.prefix(alice)


def test_commands_run_as_root_while_the_right_is_held(
    story: Story, alice: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(sudo.PASSWORD, PASSWORD)
    root = sudo.prefix(alice)
    with Ssh(alice) as ssh, story.node() as node:
        assert ssh.run(f"{root}id -un").stdout == "root\n"
        lines = node.run("cat /proc/[0-9]*/cmdline | tr '\\0' ' '").stdout
        assert "zz-hardwatt" in lines and PASSWORD not in lines
        assert node.run("stat -c '%a %U' /etc/sudoers.d/zz-hardwatt-*[0-9]").stdout == "440 root\n"
        # sudo reads no file whose name has a dot
        assert node.run("stat -c '%a %U' /etc/sudoers.d/zz-hardwatt-*.*").stdout == "600 root\n"
        sudo.forget(alice)
        wait(
            lambda: ssh.run("sudo -n true", check=False).returncode, bool,
            what="end of the right", timeout=20, delay=0.2,
        )  # fmt: skip
        assert node.run("ls /etc/sudoers.d").stdout.split() == ["README", "alice"]


def test_the_deploys_run_through_it(
    story: Story, alice: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(sudo.PASSWORD, PASSWORD)
    data = read_json(node_file(story.lab))
    write_json(tmp_path / "node.json", {**data, "ssh": {**data["ssh"], "user": "alice"}})
    sudo.prefix(alice)
    argv = [sys.executable, "-m", "pyinfra", "inventory/lab.py", "deploys/node.py", "--dry", "--json"]
    env = {**os.environ, "HARDWATT_NODE_FILE": str(tmp_path / "node.json"), "PYINFRA_PROGRESS": "off"}
    env.pop(sudo.PASSWORD)
    done = subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    plan = runner.payload(done.stdout, tmp_path / "no-log")["plan"]
    changed = [row["name"] for row in plan if row["hosts_with_change"]]
    assert not changed, "root sees a node that is as it should be"
