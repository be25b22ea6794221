"""Hosts that take a connection or a command and say nothing: each wait ends, and the error says where and what next."""

import contextlib
import dataclasses
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import paramiko
import pytest

from hardwatt.config.lab import Lab
from hardwatt.config.settings import ROOT, Host, Settings
from hardwatt.connect import remote_lock, ssh_routes, sudo
from hardwatt.connect.endpoint import Endpoint
from hardwatt.connect.ssh import Ssh
from hardwatt.core import credentials, limits
from hardwatt.core.errors import CommandError, LabError, WaitError
from hardwatt.core.limits import Limits
from hardwatt.machines import remote
from hardwatt.provision import runner
from tests.connect import test_ssh
from tests.connect.test_ssh import Server, _Session

SHORT = Limits(connect=0.4, first_answer=0.4, silence=0.4, whole=0.8)
STALL = 0.9
"""Seconds that a stalling server takes for what should come at once; it is longer than each limit."""
LONGEST = 6.0
"""Seconds after which an end was no limit's; a loaded machine included."""


@pytest.fixture(autouse=True)
def in_time() -> Iterator[None]:
    started = time.monotonic()
    yield
    assert time.monotonic() - started < LONGEST


@contextlib.contextmanager
def raw(first: bytes) -> Iterator[int]:
    """Give the port of a server that sends these bytes to each that connects, and nothing more."""
    held: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection = server.accept()[0]
                    held.append(connection)
                    connection.sendall(first)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
    thread.join(5)
    for connection in held:
        connection.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path)
    made.know(made.host_key)
    yield made
    made.close()


def behind(server: Server, port: int) -> Endpoint:
    """Return a host behind a jump host at this port; both of their keys are known."""
    end = server.endpoint()
    lines = [f"{name} {server.host_key.get_name()} {server.host_key.get_base64()}\n"
             for name in (f"[127.0.0.1]:{port}", "192.0.2.9")]  # fmt: skip
    end.known_hosts.write_text("".join(lines))
    return dataclasses.replace(end, address="192.0.2.9", port=22, jump=f"hop@127.0.0.1:{port}")


def assert_told(error: LabError, end: Endpoint) -> None:
    """The error names the host, the limit and a next command that shows more."""
    assert f"{end.user}@{end.address}:{end.port}" in error.message
    assert re.search(r"\d s\b", error.message)
    assert (
        error.hint.startswith(f"ssh -v -i {end.key}") and f"-p {end.port} {end.user}@{end.address} true" in error.hint
    )


@pytest.mark.parametrize("first", [b"", b"SSH-2.0-OpenSSH_9.2\r\n", b"hello\r\n"], ids=["nothing", "greeting", "prose"])
def test_a_server_that_does_not_finish_the_greeting(server: Server, first: bytes) -> None:
    with raw(first) as port:
        end = dataclasses.replace(server.endpoint(), port=port)
        with pytest.raises(LabError, match=r"no SSH to .* no answer within 0 s") as error, Ssh(end, limits=SHORT):
            pytest.fail("connected")
    assert_told(error.value, end)


def test_a_jump_host_that_says_nothing(server: Server) -> None:
    with raw(b"") as port:
        end = behind(server, port)
        with pytest.raises(LabError, match=r"no SSH to .* through hop@.* no answer within") as error:
            Ssh(end, limits=SHORT).__enter__()
        assert f"-J hop@127.0.0.1:{port}" in error.value.hint
        assert not ssh_routes.ssh_answers(end, 22, timeout=0.4)


@pytest.mark.parametrize("first", [b"", b"SS", b"SSH-2.0-OpenSSH_9.2\r\n"], ids=["nothing", "a part", "greeting"])
def test_a_host_key_that_is_not_offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: bytes) -> None:
    monkeypatch.setattr(remote, "OFFER", SHORT)
    with raw(first) as port:
        mine = Lab(Settings(name="t1", machine="ssh", host=Host(address="127.0.0.1", port=port)), tmp_path, tmp_path)
        with pytest.raises(LabError, match=rf"no SSH to root@127\.0\.0\.1:{port}: no host key within 0 s") as error:
            remote.offer(mine)
        end = Endpoint("n", "ssh", "127.0.0.1", port, "root", tmp_path, tmp_path, "", "127.0.0.1")
        assert ssh_routes.ssh_answers(end, port, timeout=0.4) is first.startswith(b"SSH-")
    assert "check power, network and firewall of 127.0.0.1" in error.value.hint


class _Stops(_Session):
    """Goes a part of the way of each command, by what it is asked to run."""

    stage = ""

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        if self.stage == "login":
            time.sleep(STALL)
        return super().check_auth_publickey(username, key)

    def check_channel_request(self, kind: str, chanid: int) -> int:
        if self.stage == "channel":
            time.sleep(STALL)
        return super().check_channel_request(kind, chanid)

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        if self.stage == "command":
            time.sleep(STALL)
        return super().check_channel_exec_request(channel, command)

    def _run(self, channel: paramiko.Channel, command: bytes) -> None:
        with contextlib.suppress(OSError, EOFError):
            if part := PARTS.get(self.stage):
                part(channel)


def drip(channel: paramiko.Channel, text: bytes) -> None:
    for _ in range(100):
        channel.sendall(text)
        time.sleep(0.1)


def held(channel: paramiko.Channel) -> None:
    channel.sendall(b"held\n")
    channel.recv(1000)
    channel.close()


PARTS: dict[str, Callable[[paramiko.Channel], Any]] = {
    "nothing": lambda channel: None,
    "a line": lambda channel: channel.sendall(b"line\n"),
    "part of a line": lambda channel: channel.sendall(b"lin"),
    "end of output": lambda channel: channel.shutdown_write(),
    "drip": lambda channel: drip(channel, b"."),
    "lines": lambda channel: drip(channel, b"line\n"),
}


def stop_at(stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(test_ssh, "_Session", type("_StopsHere", (_Stops,), {"stage": stage}))


def test_a_server_that_does_not_finish_the_login(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    stop_at("login", monkeypatch)
    with pytest.raises(LabError, match="no answer within") as error, Ssh(server.endpoint(), limits=SHORT):
        pytest.fail("connected")
    assert_told(error.value, server.endpoint())


@pytest.mark.parametrize(
    ("stage", "said"),
    [
        ("channel", "was not accepted within"),
        ("command", "was not accepted within"),
        ("nothing", "printed nothing for"),
        ("a line", "printed nothing for"),
        ("end of output", "after its output"),
        ("drip", "did not end within"),
    ],
)
def test_a_command_that_stays_silent(server: Server, monkeypatch: pytest.MonkeyPatch, stage: str, said: str) -> None:
    stop_at(stage, monkeypatch)
    with Ssh(server.endpoint(), limits=SHORT) as ssh, pytest.raises(CommandError, match=said) as error:
        ssh.run("true", check=False)
    assert_told(error.value, server.endpoint())


def test_a_command_that_speaks_on_the_other_output_is_not_silent(server: Server) -> None:
    with Ssh(server.endpoint(), limits=SHORT) as ssh:
        done = ssh.run("for _ in 1 2 3; do sleep 0.1; echo x >&2; done; echo end")
    assert (done.stdout, done.stderr) == ("end\n", "x\n" * 3)


@pytest.mark.parametrize("stage", ["channel", "command", "nothing", "part of a line", "drip"])
def test_a_lock_that_is_not_answered(server: Server, monkeypatch: pytest.MonkeyPatch, stage: str) -> None:
    stop_at(stage, monkeypatch)
    monkeypatch.setattr(remote_lock, "Ssh", lambda end: Ssh(end, limits=SHORT))
    with pytest.raises(WaitError, match=r"the lock /run/hardwatt/lock on") as error:
        remote_lock.held(server.endpoint(), "lab.up").__enter__()
    assert_told(error.value, server.endpoint())


def test_after_its_answer_a_lock_may_be_silent(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        PARTS, "held", lambda channel: (channel.sendall(b"held\n"), channel.recv(1000), channel.close())
    )
    stop_at("held", monkeypatch)
    monkeypatch.setattr(remote_lock, "Ssh", lambda end: Ssh(end, limits=SHORT))
    with remote_lock.held(server.endpoint(), "lab.up"):
        time.sleep(2 * SHORT.silence)


@pytest.mark.parametrize("stage", ["nothing", "lines"])
def test_a_sudo_that_does_not_answer(server: Server, monkeypatch: pytest.MonkeyPatch, stage: str) -> None:
    """``sudo -n`` says that it wants a password; then PAM, or a module of it, says nothing, or no end of lines."""
    stop_at(stage, monkeypatch)
    monkeypatch.setattr(sudo, "_try", lambda *_: "a password is required")
    monkeypatch.setattr(sudo, "Ssh", lambda end: Ssh(end, limits=SHORT))
    monkeypatch.setenv(sudo.PASSWORD, "x")
    end = dataclasses.replace(server.endpoint(), user="alice")
    with pytest.raises(WaitError, match="sudo on alice@") as error:
        sudo.prefix(end)
    assert_told(error.value, end)
    assert not sudo._rights, "nothing is held"
    credentials.forget()


def test_the_look_at_sudo_has_a_limit_too(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    stop_at("nothing", monkeypatch)
    monkeypatch.setattr(sudo, "Ssh", lambda end: Ssh(end, limits=SHORT))
    end = dataclasses.replace(server.endpoint(), user="alice")
    with pytest.raises(CommandError, match="printed nothing for") as error:
        sudo.prefix(end)
    assert_told(error.value, end)


def test_the_page_has_the_limits_as_they_are() -> None:
    page = (ROOT / "docs/hardware.md").read_text()
    both = f"{ssh_routes.CONNECT} s; {ssh_routes.ALIVE_INTERVAL * ssh_routes.ALIVE_COUNT} s"
    rows = {
        "connection, greeting": f"{limits.REMOTE.connect} s",
        "until the host accepts": f"{limits.REMOTE.first_answer} s",
        "a command without output": f"{limits.REMOTE.silence} s",
        "a command as a whole": f"{limits.REMOTE.whole // 60} min",
        "the host key that": f"{remote.OFFER.connect} s",
        "OpenSSH": both,
        "the deploys": f"{runner.TIMEOUT // 60:.0f} min",
        "a command on this machine": f"{limits.LOCAL.whole // 60} min; {limits.BUILD.whole // 3600} h",
        "the right to become root": f"{limits.RIGHT_SILENCE // 60:.0f} min after",
        "the same, where every": f"refuses it {sudo.LEASE // 60:.0f} min after",
        "the lock /run": f"{limits.LOCK_SILENCE // 60:.0f} min after",
    }
    for start, value in rows.items():
        (row,) = re.findall(rf"^\| {re.escape(start)}.*$", page, re.MULTILINE)
        assert f" {value}" in row, row
    assert limits.BEAT == 60


def test_the_timeout_factor_makes_every_limit_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "timeout_factor", lambda: 5)
    assert Limits(1, 2, 3, 4).patient() == Limits(5, 10, 15, 20)
