"""A host over SSH: whose host keys count, what is asked for, and what is never done to it."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import paramiko
import pytest

from hardwatt.config.lab import Lab
from hardwatt.config.settings import Settings, parse
from hardwatt.connect.endpoint import Endpoint
from hardwatt.connect.host_keys import fingerprint, known_keys, require_known
from hardwatt.core.errors import LabError, RefusedError
from hardwatt.machines import choice, remote
from hardwatt.machines.base import ssh_argv


def lab(tmp_path: Path, name: str = "t1", **more: object) -> Lab:
    settings = parse(Settings, {"name": name, **more}, "test")
    return Lab(settings, tmp_path, tmp_path / ".lab" / name)


def test_the_jump_host_s_key_is_learned_as_the_host_s_is(tmp_path: Path, ssh_server: tuple[int, paramiko.PKey]) -> None:
    port, key = ssh_server
    host = {"address": "192.0.2.9", "jump": f"admin@127.0.0.1:{port}"}
    mine = lab(tmp_path, machine="ssh", host=host)
    end = choice.machine_for(mine).endpoint()
    assert (end.jump, end.reverse, end.controller_address) == (f"admin@127.0.0.1:{port}", True, "127.0.0.1")
    with pytest.raises(LabError, match="does not know the host key") as unknown:
        choice.machine_for(mine).start()
    assert unknown.value.hint.startswith("invoke lab.trust 127.0.0.1")
    offered = remote.offer(mine, "127.0.0.1")
    assert remote.learn(mine, offered, fingerprint(key)) == fingerprint(key)
    with pytest.raises(LabError, match=r"host key of 192\.0\.2\.9"):
        require_known(end)
    with pytest.raises(LabError, match=r"'192\.0\.2\.9' and '127\.0\.0\.1', not"):
        remote.offer(mine, "192.0.2.8")
    named = lab(tmp_path, machine="ssh", host={**host, "address": "behind"})
    with pytest.raises(LabError, match=r"is behind admin@127\.0\.0\.1"):
        choice.machine_for(named).endpoint()


def test_an_unknown_host_key_is_refused_and_lab_trust_is_next(
    tmp_path: Path, ssh_server: tuple[int, paramiko.PKey]
) -> None:
    port, key = ssh_server
    mine = lab(tmp_path, machine="ssh", host={"address": "127.0.0.1", "port": port})
    status = choice.machine_for(mine).status()
    assert (status.state, status.hint) == ("dead", "invoke lab.trust 127.0.0.1")
    assert fingerprint(key) in status.detail


class HostKeyOnly(paramiko.ServerInterface):
    """An SSH server that nobody can log in to."""


@pytest.fixture
def ssh_server() -> Iterator[tuple[int, paramiko.PKey]]:
    key = paramiko.ECDSAKey.generate()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            transport = paramiko.Transport(connection)
            transport.add_server_key(key)
            with contextlib.suppress(EOFError, OSError, paramiko.SSHException):  # whoever asked may hang up
                transport.start_server(server=HostKeyOnly())
            transport.join(10)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1], key
        thread.join(10)


def test_a_key_in_the_user_s_known_hosts_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    ssh_server: tuple[int, paramiko.PKey],
) -> None:  # fmt: skip
    port, key = ssh_server
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    users = tmp_path / "home/.ssh/known_hosts"
    users.parent.mkdir(parents=True)
    other = paramiko.RSAKey.generate(1024)
    hashed = paramiko.HostKeys.hash_host(f"[127.0.0.1]:{port}")
    users.write_text(
        f"{hashed} ssh-rsa {other.get_base64()}\n{hashed} {key.get_name()} {key.get_base64()}\n@revoked * x\nnonsense\n"
        "a line of more words\n192.0.2.1 ssh-ed25519 no-base64\n"
    )
    mine = lab(tmp_path, machine="ssh", host={"address": "127.0.0.1", "port": port})
    assert remote.offer(mine).known_to_user()
    end = choice.machine_for(mine).endpoint()
    require_known(end)
    assert f"{key.get_name()} {key.get_base64()}" in mine.known_hosts.read_text()
    assert fingerprint(key) in capsys.readouterr().err
    users.write_text(f"{hashed} {other.get_name()} {other.get_base64()}\n")
    choice.machine_for(mine).endpoint()
    assert other.get_base64() not in mine.known_hosts.read_text(), "what the lab knows stays"


def test_a_revoked_key_in_the_user_s_known_hosts_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    key, other = paramiko.ECDSAKey.generate(), paramiko.RSAKey.generate(1024)
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh/known_hosts").write_text(
        f"192.0.2.9 {key.get_name()} {key.get_base64()}\n192.0.2.9 {other.get_name()} {other.get_base64()}\n"
        f"@revoked * {key.get_name()} {key.get_base64()} leaked\n@revoked *\n"
    )
    mine = lab(tmp_path, machine="ssh", host={"address": "192.0.2.9"})
    assert not remote.Offer("192.0.2.9", 22, key).known_to_user()
    assert remote.Offer("192.0.2.9", 22, other).known_to_user()
    remote.adopt(mine)
    assert key.get_base64() not in mine.known_hosts.read_text()
    assert other.get_base64() in mine.known_hosts.read_text()


def test_a_revoked_key_is_not_learned_by_its_fingerprint_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    key = paramiko.ECDSAKey.generate()
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh/known_hosts").write_text(f"@revoked * {key.get_name()} {key.get_base64()}\n")
    mine = lab(tmp_path, machine="ssh", host={"address": "192.0.2.9"})
    with pytest.raises(RefusedError, match="@revoked"):
        remote.learn(mine, remote.Offer("192.0.2.9", 22, key), fingerprint(key))
    assert not mine.known_hosts.exists()


@pytest.mark.parametrize("mark", ["@revoked", "@cert-authority", "@unheard-of"])
def test_a_marked_line_in_the_labs_known_hosts_is_refused(tmp_path: Path, mark: str) -> None:
    key = paramiko.ECDSAKey.generate()
    text = f"192.0.2.9 {key.get_name()} {key.get_base64()}\n"
    (tmp_path / "known_hosts").write_text(f"{text}{mark} {text}")
    with pytest.raises(LabError, match=f"line 2 of .* is marked {mark}") as caught:
        known_keys(tmp_path / "known_hosts")
    assert "invoke lab.trust 192.0.2.9" in caught.value.hint


@pytest.mark.parametrize(
    ("answer", "learns"),
    [("yes", True), ("no", False), ("", False), ("SHA256:other", False), ("the fingerprint", True), (None, False)],
)
def test_the_offered_key_is_shown_and_asked_for(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    answer: str | None,
    learns: bool,
) -> None:
    key = paramiko.ECDSAKey.generate()
    mine = lab(tmp_path, machine="ssh", host={"address": "127.0.0.1"})
    offered = remote.Offer("127.0.0.1", 22, key)
    monkeypatch.setattr("sys.stdin.isatty", lambda: answer is not None, raising=False)
    monkeypatch.setattr("builtins.input", lambda _: fingerprint(key) if answer == "the fingerprint" else answer)
    if learns:
        remote.learn(mine, offered, remote.asked(offered))
        require_known(choice.machine_for(mine).endpoint())
    else:
        with pytest.raises(LabError) as caught:
            remote.learn(mine, offered, remote.asked(offered))
        assert not mine.known_hosts.exists()
        assert "fingerprint" in caught.value.hint
    shown = capsys.readouterr().out
    assert (fingerprint(key) in shown) == (answer is not None)
    assert ("ssh_host_ecdsa_key.pub" in shown) == (answer is not None)


@pytest.mark.parametrize("right", [True, False])
def test_a_host_is_trusted_by_its_fingerprint_only(
    tmp_path: Path, ssh_server: tuple[int, paramiko.PKey], right: bool
) -> None:
    port, key = ssh_server
    mine = lab(tmp_path, machine="ssh", host={"address": "127.0.0.1", "port": port})
    if right:
        assert remote.learn(mine, remote.offer(mine), fingerprint(key)) == fingerprint(key)
        assert mine.known_hosts.read_text().startswith(f"[127.0.0.1]:{port},[127.0.0.1]:2222 {key.get_name()} ")
        require_known(choice.machine_for(mine).endpoint())
    else:
        with pytest.raises(RefusedError) as caught:
            remote.learn(mine, remote.offer(mine), "SHA256:other")
        assert fingerprint(key) in caught.value.message
        assert "SHA256:other" in caught.value.message
        assert not mine.known_hosts.exists()


def test_a_host_is_never_powered_off(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    choice.machine_for(lab(tmp_path, machine="ssh", host={"address": "192.0.2.9"})).stop()
    assert "stays on" in capsys.readouterr().err


def test_the_shell_uses_the_labs_keys_only() -> None:
    end = Endpoint("t1", "embedded", "10.77.0.2", 22, "root", Path("/k/ssh"), Path("/k/known_hosts"), "", "", {})
    argv = ssh_argv(end)
    assert "StrictHostKeyChecking=yes" in argv
    assert "UserKnownHostsFile=/k/known_hosts" in argv
    assert argv[-1] == "root@10.77.0.2"
