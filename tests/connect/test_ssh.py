"""SSH against a real server on loopback: keys that are known, unknown and changed; commands, input, files."""

import shlex
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import paramiko
import pytest

from hardwatt.connect.endpoint import Endpoint
from hardwatt.connect.host_keys import fingerprint, require_known
from hardwatt.connect.ssh import Ssh
from hardwatt.core.errors import CommandError, LabError, RefusedError


class _Transport(paramiko.Transport):
    """Tells when the reply to a request of a channel has been sent."""

    replied = threading.Event()

    def _send_user_message(self, data: paramiko.Message) -> None:
        super()._send_user_message(data)  # type: ignore[misc]
        if data.asbytes()[:1] == paramiko.common.cMSG_CHANNEL_SUCCESS:
            self.replied.set()


class _Session(paramiko.ServerInterface):
    """Lets one user key in and runs the commands in a local shell."""

    def __init__(self, key: paramiko.PKey) -> None:
        self._key = key

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        return paramiko.common.AUTH_SUCCESSFUL if key == self._key else paramiko.common.AUTH_FAILED

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return paramiko.common.OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        replied = threading.Event()
        transport = channel.get_transport()
        assert isinstance(transport, _Transport)
        transport.replied = replied
        threading.Thread(target=self._begin, args=(channel, command, replied), daemon=True).start()
        return True

    def _begin(self, channel: paramiko.Channel, command: bytes, replied: threading.Event) -> None:
        """Run the command once the client knows that it was accepted, as sshd does: a quick one may end at once."""
        assert replied.wait(30)
        self._run(channel, command)

    def _run(self, channel: paramiko.Channel, command: bytes) -> None:
        given = bytearray()
        while data := channel.recv(65536):
            given += data
        done = subprocess.run(["sh", "-c", command.decode()], input=bytes(given), capture_output=True, check=False)
        channel.sendall(done.stdout)
        channel.sendall_stderr(done.stderr)
        channel.send_exit_status(done.returncode)
        channel.close()


class Server:
    """An SSH server on a free port of loopback."""

    def __init__(self, folder: Path, *, user_key: paramiko.PKey | None = None) -> None:
        self.host_key = paramiko.ECDSAKey.generate()
        self.user_key: paramiko.PKey = user_key or paramiko.ECDSAKey.generate()
        self.user_key.write_private_key_file(str(folder / "key"))
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._folder = folder
        self._transports: list[paramiko.Transport] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            transport = _Transport(client)
            transport.add_server_key(self.host_key)
            self._transports.append(transport)
            try:
                transport.start_server(server=self.session(transport))
            except (paramiko.SSHException, EOFError, OSError):
                continue

    def session(self, transport: paramiko.Transport) -> paramiko.ServerInterface:
        return _Session(self.user_key)

    def know(self, key: paramiko.PKey) -> None:
        line = f"[127.0.0.1]:{self.port} {key.get_name()} {key.get_base64()}\n"
        (self._folder / "known_hosts").write_text(line)

    def endpoint(self) -> Endpoint:
        folder = self._folder
        return Endpoint(
            "node", "ssh", "127.0.0.1", self.port, "root", folder / "key", folder / "known_hosts", "", "127.0.0.1"
        )

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for transport in self._transports:
            transport.close()
            transport.join(timeout=5)
        self._thread.join(timeout=5)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path)
    yield made
    made.close()


def test_a_command_with_input_and_its_status(server: Server) -> None:
    server.know(server.host_key)
    with Ssh(server.endpoint()) as ssh:
        assert ssh.run("cat; echo err >&2", stdin="secret").stdout == "secret"
        with pytest.raises(CommandError) as caught:
            ssh.run("echo why >&2; exit 4")
        assert caught.value.returncode == 4
        assert "why" in str(caught.value)
        assert ssh.run("exit 4", check=False).returncode == 4


def test_files_go_both_ways(server: Server, tmp_path: Path) -> None:
    server.know(server.host_key)
    target = tmp_path / "a file"
    with Ssh(server.endpoint()) as ssh:
        ssh.put(b"\x00\xffdata", str(target), mode=0o600)
        assert target.stat().st_mode & 0o777 == 0o600
        assert ssh.read(str(target)) == b"\x00\xffdata"
    assert sorted(p.name for p in tmp_path.iterdir() if "file" in p.name) == ["a file"]


def test_an_unknown_host_is_refused_with_its_fingerprint(server: Server) -> None:
    with pytest.raises(RefusedError, match="is not known") as caught, Ssh(server.endpoint()):
        pytest.fail("connected to an unknown host")
    assert fingerprint(server.host_key) in caught.value.message
    assert caught.value.hint == "invoke lab.trust 127.0.0.1"


def test_a_changed_host_key_is_refused_with_both_fingerprints(server: Server) -> None:
    other = paramiko.ECDSAKey.generate()
    server.know(other)
    with pytest.raises(RefusedError, match="has changed") as caught, Ssh(server.endpoint()):
        pytest.fail("connected to a host with another key")
    assert fingerprint(server.host_key) in caught.value.message
    assert fingerprint(other) in caught.value.message
    assert caught.value.hint


def behind(server: Server, jump: paramiko.PKey | None) -> Endpoint:
    """Return a host whose way leads through the server; the lab knows its key, and this one of the server."""
    known = server.endpoint().known_hosts
    known.unlink(missing_ok=True)
    if jump:
        server.know(jump)
    with known.open("a") as file:
        file.write(f"192.0.2.9 {server.user_key.get_name()} {server.user_key.get_base64()}\n")
    end = server.endpoint()
    return Endpoint(**{**end.__dict__, "address": "192.0.2.9", "port": 22, "jump": f"hop@127.0.0.1:{server.port}"})


def test_a_changed_key_on_the_way_is_refused_with_both_fingerprints(server: Server) -> None:
    other = paramiko.ECDSAKey.generate()
    with pytest.raises(RefusedError, match=r"on the way to 192\.0\.2\.9, has changed") as caught:
        Ssh(behind(server, other)).__enter__()
    assert fingerprint(server.host_key) in caught.value.message
    assert fingerprint(other) in caught.value.message
    assert caught.value.hint.endswith("invoke lab.trust 127.0.0.1")


def test_a_jump_host_that_nobody_trusts_is_named_before_anything_connects(server: Server) -> None:
    with pytest.raises(LabError, match=rf"does not know the host key of \[127\.0\.0\.1\]:{server.port}") as caught:
        Ssh(behind(server, None)).__enter__()
    assert caught.value.hint.startswith("invoke lab.trust 127.0.0.1")


def test_what_ssh_says_on_the_way_is_in_the_error(server: Server, capfd: pytest.CaptureFixture[str]) -> None:
    end = behind(server, server.host_key)
    with pytest.raises(LabError, match=r"through hop@127\.0\.0\.1:\d+: .*(refused|open failed|closed)"):
        Ssh(end).__enter__()
    assert "Traceback" not in capfd.readouterr().err


def test_a_host_that_refuses_ssh_is_named(server: Server) -> None:
    server.know(server.host_key)
    free = socket.create_server(("127.0.0.1", 0))
    port = free.getsockname()[1]
    free.close()
    closed = Endpoint(**{**server.endpoint().__dict__, "port": port})
    with pytest.raises(LabError, match=f"no SSH to root@127.0.0.1:{port}: connection refused"), Ssh(closed):
        pytest.fail("connected to a closed port")


def test_a_fingerprint_is_the_one_that_openssh_prints(tmp_path: Path) -> None:
    key = paramiko.ECDSAKey.generate()
    public = tmp_path / "key.pub"
    public.write_text(f"{key.get_name()} {key.get_base64()}\n")
    printed = subprocess.run(["ssh-keygen", "-lf", str(public)], capture_output=True, text=True, check=True).stdout
    assert shlex.split(printed)[1] == fingerprint(key)


def test_a_line_of_the_labs_known_hosts_that_is_no_host_key_is_named(server: Server, tmp_path: Path) -> None:
    server.know(server.host_key)
    file = tmp_path / "known_hosts"
    file.write_text(file.read_text() + "a line of more words\n")
    with pytest.raises(LabError, match=f"line 2 of {file} is not a host key") as caught, Ssh(server.endpoint()):
        pytest.fail("connected")
    with pytest.raises(LabError, match="line 2"):
        require_known(server.endpoint())
    subprocess.run(shlex.split(caught.value.hint), check=True)
    with Ssh(server.endpoint()) as ssh:
        assert ssh.run("echo in").stdout == "in\n"
