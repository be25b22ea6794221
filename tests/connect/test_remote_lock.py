"""The lock on a host over SSH, against a real server on loopback whose shell is this machine's."""

import contextlib
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import paramiko
import pytest

from hardwatt.connect import remote_lock
from hardwatt.core.errors import LabError, LockedError, WaitError
from hardwatt.core.wait import wait
from tests.connect import test_ssh
from tests.connect.test_ssh import Server, _Session


class _Streams(_Session):
    """Hands a command's input and output on as they come, as a real server does."""

    def _run(self, channel: paramiko.Channel, command: bytes) -> None:
        pipe = subprocess.PIPE
        with subprocess.Popen(["sh", "-c", command.decode()], stdin=pipe, stdout=pipe) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            feeder = threading.Thread(target=self._feed, args=(channel, process.stdin), daemon=True)
            feeder.start()
            while line := process.stdout.readline():
                channel.sendall(line)
            status = process.wait()
        with contextlib.suppress(EOFError, OSError):  # the connection is gone
            channel.send_exit_status(status)
            channel.close()
        feeder.join(5)

    @staticmethod
    def _feed(channel: paramiko.Channel, target: IO[bytes]) -> None:
        with contextlib.suppress(BrokenPipeError, ValueError):  # the command has ended
            while data := channel.recv(65536):
                target.write(data)
                target.flush()
            target.close()


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(test_ssh, "_Session", _Streams)
    monkeypatch.setattr(remote_lock, "PATH", str(tmp_path / "hardwatt.lock"))
    made = Server(tmp_path)
    made.know(made.host_key)
    yield made
    made.close()


def take(server: Server, command: str) -> None:
    with remote_lock.held(server.endpoint(), command):
        pytest.fail(f"{command} holds the host too")


def test_a_second_controller_is_told_who_holds_the_host(server: Server, tmp_path: Path) -> None:
    refused = pytest.raises(LockedError, match=r"is in use by .+, process \d+: experiment\.run")
    with remote_lock.held(server.endpoint(), "experiment.run"), refused:
        take(server, "lab.up")
    with remote_lock.held(server.endpoint(), "lab.up"):
        assert "lab.up" in (tmp_path / "hardwatt.lock").read_text()
    assert (tmp_path / "hardwatt.lock").read_text() == ""


def test_a_connection_that_breaks_gives_the_host_free(server: Server) -> None:
    with remote_lock.held(server.endpoint(), "experiment.run"):
        for transport in server._transports:
            transport.close()
        subprocess.run(["flock", "--wait", "20", remote_lock.PATH, "true"], check=True)


def test_a_lock_that_cannot_be_taken_says_what_to_try(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_lock, "PATH", "/proc/nowhere/hardwatt.lock")
    with pytest.raises(LabError, match="could not be taken") as error, remote_lock.held(server.endpoint(), "lab.up"):
        pytest.fail("held")
    assert "flock --nonblock" in error.value.hint


def is_free() -> bool:
    return subprocess.run(["flock", "--nonblock", remote_lock.PATH, "true"], check=False).returncode == 0


def test_a_lock_lasts_while_signs_of_life_come(
    server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(remote_lock, "BEAT", 0.2)
    monkeypatch.setattr(remote_lock, "LOCK_SILENCE", 1)
    with remote_lock.held(server.endpoint(), "lab.up"), pytest.raises(WaitError):
        wait(is_free, bool, what="a lock that must last", timeout=2, delay=0.2)
    assert "ended before" not in capsys.readouterr().err


def test_a_controller_that_vanishes_without_a_word_gives_the_host_free(
    server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(remote_lock, "LOCK_SILENCE", 0.5)
    with remote_lock.held(server.endpoint(), "lab.up"):
        wait(is_free, bool, what="end of the lock", timeout=10, delay=0.1)
    assert "the lock of 127.0.0.1 ended before this command did" in capsys.readouterr().err


def test_a_killed_holder_gives_the_host_free(server: Server) -> None:
    with remote_lock.held(server.endpoint(), "lab.up"):
        subprocess.run(["pkill", "-9", "-f", f"^sh -c umask 022.*{remote_lock.PATH}"], check=True)
        wait(is_free, bool, what="end of the lock", timeout=5, delay=0.05)


def test_the_lock_lies_in_a_folder_of_roots_alone() -> None:
    text = remote_lock.script("", "lab.up")
    assert remote_lock.PATH.startswith("/run/hardwatt/")
    assert "mkdir -p -m 700 /run/hardwatt" in text
    assert "chmod 700 /run/hardwatt" in text


@pytest.mark.parametrize("kind", ["link", "file"])
def test_a_folder_that_is_not_ours_is_no_place_for_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    folder, other = tmp_path / "locks", tmp_path / "other"
    other.mkdir()
    folder.symlink_to(other) if kind == "link" else folder.touch()
    monkeypatch.setattr(remote_lock, "PATH", str(folder / "lock"))
    done = subprocess.run(remote_lock.script("", "x"), shell=True, stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=20, check=False)  # fmt: skip
    assert done.returncode == 1
    assert "held" not in done.stdout
    assert not any(other.iterdir())
