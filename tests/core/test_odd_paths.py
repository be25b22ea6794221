"""A checkout, a cache and a home whose paths hold blanks, per cent signs and worse: what each tool is given."""

import contextlib
import dataclasses
import os
import select
import shlex
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import paramiko
import pytest

from hardwatt.config.settings import ROOT
from hardwatt.connect import ssh_routes, tunnels
from hardwatt.connect.endpoint import Endpoint
from hardwatt.connect.ssh import Ssh
from hardwatt.core.errors import SettingsError
from hardwatt.core.ports import free_port
from hardwatt.machines import host_facts
from hardwatt.machines.base import ssh_argv
from hardwatt.provision import git_keys
from tests.connect import test_ssh

ODD = ["my labs 100%", "50%done %d%h", "it's #1, \u00fc", 'say "hi"', "back\\slash", "a$b [c] {d} ?*;&|"]


class Forwarding(test_ssh._Session):
    """A session through which connections go on to another port of the loopback, as through a jump host."""

    transport: paramiko.Transport

    def check_channel_direct_tcpip_request(
        self, chanid: int, origin: tuple[str, int], destination: tuple[str, int]
    ) -> int:
        threading.Thread(target=self._join, args=(destination,), daemon=True).start()
        return paramiko.common.OPEN_SUCCEEDED

    def _join(self, destination: tuple[str, int]) -> None:
        with contextlib.suppress(OSError, EOFError, paramiko.SSHException):  # either end may hang up
            channel = self.transport.accept(10)
            if channel is not None:
                pump(channel, destination)


def pump(channel: paramiko.Channel, destination: tuple[str, int]) -> None:
    with contextlib.closing(channel), socket.create_connection(destination, timeout=10) as there:
        ends: list[paramiko.Channel | socket.socket] = [channel, there]
        while there in ends:
            for ready in select.select(ends, [], [], 10)[0]:
                if data := ready.recv(65536):
                    (there if ready is channel else channel).sendall(data)
                else:
                    ends.remove(ready)
                    if ready is channel:  # that direction alone has ended
                        there.shutdown(socket.SHUT_WR)


class Jump(test_ssh.Server):
    """A jump host on the loopback."""

    def session(self, transport: paramiko.Transport) -> paramiko.ServerInterface:
        made = Forwarding(self.user_key)
        made.transport = transport
        return made


@pytest.fixture(params=ODD)
def node(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Endpoint]:
    """Give a node whose key and known hosts lie in a folder of such a name."""
    folder = tmp_path / request.param
    folder.mkdir()
    server = test_ssh.Server(folder)
    server.know(server.host_key)
    yield server.endpoint()
    server.close()


@pytest.fixture
def behind(node: Endpoint) -> Iterator[Endpoint]:
    """Give the same node behind a jump host that knows the same key."""
    folder = node.key.parent
    known = node.known_hosts.read_text()
    user_key = paramiko.ECDSAKey.from_private_key_file(str(node.key))
    server = Jump(folder, user_key=user_key)
    server.know(server.host_key)
    node.known_hosts.write_text(known + node.known_hosts.read_text())
    yield dataclasses.replace(node, jump=f"root@127.0.0.1:{server.port}")
    server.close()


def ran(argv: list[str], env: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        argv, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, timeout=60,
        env={**os.environ, **(env or {})},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_ssh_reaches_a_node(node: Endpoint) -> None:
    assert ran([*ssh_argv(node), "echo here"]) == "here\n"


def test_ssh_and_paramiko_reach_a_node_behind_a_jump_host(behind: Endpoint) -> None:
    assert ran([*ssh_argv(behind), "echo here"]) == "here\n"
    with Ssh(behind) as ssh:
        assert ssh.run("echo here").stdout == "here\n"
    assert ssh_routes.ssh_answers(dataclasses.replace(behind, node_address="127.0.0.1"), behind.port)


def test_git_s_own_command_reaches_a_node(node: Endpoint, behind: Endpoint) -> None:
    for end in (node, behind):
        command = git_keys.ssh_command(end.key, end.known_hosts, "ecdsa-sha2-nistp256", ssh_routes.proxy_options(end))
        # git runs it so: with a shell, and the host and the remote command after it
        assert ran(["sh", "-c", f"{command} -p {end.port} root@127.0.0.1 'echo here'"]) == "here\n"


def test_a_tunnel_through_a_jump_host_listens(behind: Endpoint, tmp_path: Path) -> None:
    port = free_port()
    process = tunnels.tunnel(behind, ["-L", f"127.0.0.1:{port}:127.0.0.1:{behind.port}"], port, tmp_path / "log")
    process.stop()


@pytest.mark.parametrize(("folder", "said"), [("line\nbreak", "a line break"), ("${HOME}", "'${'")])
def test_what_openssh_cannot_write_is_refused_by_name(folder: str, said: str) -> None:
    with pytest.raises(SettingsError, match="OpenSSH cannot use a path with") as caught:
        ssh_routes.options(Path("/k", folder, "key"), Path("/k/known_hosts"))
    assert said in caught.value.message
    assert caught.value.hint


END = Endpoint("n", "ssh", "198.51.100.7", 22, "root", Path("/k/key"), Path("/k/known"), "", "198.51.100.7")


def test_pyinfra_is_named_files_of_the_checkout_from_there(monkeypatch: pytest.MonkeyPatch) -> None:
    root = Path("/srv/my ~labs 100%d")
    monkeypatch.setattr(ssh_routes, "ROOT", root)
    end = dataclasses.replace(END, jump="jump", key=root / ".lab/a/keys/ssh", known_hosts=root / ".lab/a/known_hosts")
    found = paramiko.SSHConfig.from_text(ssh_routes.ssh_config(end)).lookup("jump")
    assert [*found["identityfile"]] == [".lab/a/keys/ssh"]
    assert found["userknownhostsfile"].split() == [".lab/a/known_hosts"]
    elsewhere = dataclasses.replace(end, key=Path("/keys/100 %/key"))
    found = paramiko.SSHConfig.from_text(ssh_routes.ssh_config(elsewhere)).lookup("jump")
    assert [*found["identityfile"]] == ["/keys/100 %/key"]
    with pytest.raises(SettingsError, match="'%d'") as caught:
        ssh_routes.ssh_config(dataclasses.replace(end, key=Path("/keys/50%done/key")))
    assert "host.key" in caught.value.hint


def test_a_way_keeps_the_tokens_that_ssh_fills_in() -> None:
    (_, option) = ssh_routes.proxy_options(dataclasses.replace(END, jump="jump", key=Path("/100%h:%p/key")))
    assert option.endswith(" -W %h:%p root@jump")
    assert option.count("%h:%p") == 1
    words = shlex.split(option.partition("=")[2])
    assert 'IdentityFile="/100%%%%h:%%%%p/key"' in words


def test_mount_points_are_read_with_their_blanks() -> None:
    line = "36 35 98:0 / /media/my\\040disk\\134x rw - ext4 /dev/sda rw"
    assert host_facts.mount_point(line) == Path("/media/my disk\\x")


@pytest.mark.parametrize("bad", [":", '"', "$", "`", "\\", "\n"])
def test_a_path_that_some_tool_cannot_take_is_refused_before_anything_is_made(tmp_path: Path, bad: str) -> None:
    folder = tmp_path / f"my{bad}labs"
    folder.mkdir()
    done = subprocess.run(
        [ROOT / "bootstrap/setup.sh", folder], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 1
    assert ("a line break" if bad == "\n" else f"has {bad} in it") in done.stderr
    assert "next: move the checkout" in done.stderr
    assert not list(folder.iterdir())


@pytest.mark.parametrize("name", ["my labs 100%", "it's #1, \u00fc"])
def test_make_runs_what_it_should_from_such_a_folder(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    for program in ("bootstrap/setup.sh", ".venv/bin/invoke"):
        path = folder / program
        path.parent.mkdir(parents=True)
        path.write_text(f'#!/bin/sh\necho "{program} $* from $(pwd)"\n')
        path.chmod(0o755)
    (folder / "Makefile").write_text((ROOT / "Makefile").read_text())
    assert ran(["make", "-C", str(folder), "--no-print-directory", "lab"]).splitlines() == [
        f"bootstrap/setup.sh  from {folder}", f".venv/bin/invoke lab.quickstart from {folder}",
    ]  # fmt: skip
    assert "lab" in ran(["make", "-C", str(folder), "--no-print-directory", "help"])
