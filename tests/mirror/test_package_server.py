"""The package server against clients that mean harm: silence, links, odd names."""

import http.client
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hardwatt.core.ports import free_port
from hardwatt.core.process import with_us
from hardwatt.core.wait import wait
from hardwatt.mirror import httpd


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[int, Path, Path]]:
    """Yield port, folder and log of a running server."""
    folder, log, port = tmp_path / "apt", tmp_path / "log", free_port()
    (folder / "pool").mkdir(parents=True)
    (folder / "pool/a.deb").write_bytes(b"package")
    with log.open("wb") as file:
        argv = with_us([sys.executable, "-I", httpd.__file__, str(folder), "127.0.0.1", str(port)])
        process = subprocess.Popen(argv, stderr=file, stdout=file)
    try:
        wait(lambda: status(port, "/pool/a.deb"), lambda code: code == 200, what="the server", timeout=20, delay=0.05)
        yield port, folder, log
    finally:
        process.kill()
        process.wait(10)


def status(port: int, path: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except ConnectionError:
        return 0
    finally:
        connection.close()


@pytest.mark.parametrize(
    "path",
    ["/%00", "/pool/a.deb%00.txt", "/../log", "/%2e%2e/log", "/pool/%0d%0aX:%20y", "/pool", "/pool/", "/nothing",
     "/link", "/pool/link.deb", "/linked/a.deb", "/pipe", "//etc/passwd", "/pool/a.deb/", "/" + "a" * 5000],
)  # fmt: skip
def test_what_is_no_regular_file_below_the_folder_is_not_found(server: tuple[int, Path, Path], path: str) -> None:
    port, folder, log = server
    (folder / "link").symlink_to("/etc/passwd")
    (folder / "pool/link.deb").symlink_to(folder / "pool/a.deb")
    (folder / "linked").symlink_to(folder / "pool")
    os.mkfifo(folder / "pipe")
    assert status(port, path) == 404
    assert status(port, "/pool/a.deb") == 200
    assert "Traceback" not in log.read_text()


def test_silent_connections_take_no_place_from_one_that_asks(server: tuple[int, Path, Path]) -> None:
    port, _, log = server
    silent = [socket.create_connection(("127.0.0.1", port), timeout=5) for _ in range(200)]
    try:
        started = time.monotonic()
        assert status(port, "/pool/a.deb") == 200
        assert time.monotonic() - started < 30
        assert "Traceback" not in log.read_text()
    finally:
        for connection in silent:
            connection.close()


def test_the_server_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    port, started = free_port(), tmp_path / "started"
    code = (
        "import subprocess, sys, time; from hardwatt.core.process import with_us; from pathlib import Path\n"
        f"child = subprocess.Popen(with_us([sys.executable, '-I', {httpd.__file__!r}, {str(tmp_path)!r}, '127.0.0.1', "
        f"{str(port)!r}]))\n"
        f"Path({str(started)!r}).write_text(str(child.pid)); time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code])
    wait(lambda: status(port, "/started"), lambda code: code == 200, what="the server", timeout=20, delay=0.05)
    parent.kill()
    parent.wait(10)
    wait(lambda: status(port, "/started"), lambda code: code == 0, what="the server's end", timeout=10, delay=0.05)
