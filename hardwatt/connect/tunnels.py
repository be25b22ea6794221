"""SSH tunnels to and from a node, with the lab's key and known hosts: for a while, or kept."""

import contextlib
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

from hardwatt.connect.endpoint import Endpoint
from hardwatt.connect.ssh import Ssh
from hardwatt.connect.ssh_routes import direct, options, proxy_options
from hardwatt.core import process as core_process
from hardwatt.core.process import Process
from hardwatt.core.wait import wait

START_TIMEOUT = 60.0
"""Seconds until a tunnel listens: two hosts say hello, one of them perhaps emulated."""


@contextlib.contextmanager
def socks(end: Endpoint, log: Path) -> Iterator[dict[str, str]]:
    """Give the environment in which a program reaches what the node reaches; nothing where we do so ourselves.

    It is a SOCKS5 proxy of ssh's own on the loopback, for as long as the context lasts.
    """
    if direct(end):
        yield {}
        return
    port = free_port()
    process = tunnel(end, ["-D", f"127.0.0.1:{port}"], port, log, tied=True)
    try:
        yield {"ALL_PROXY": f"socks5://127.0.0.1:{port}", "NO_PROXY": "127.0.0.1,localhost"}
    finally:
        process.stop()


@contextlib.contextmanager
def reverse(end: Endpoint, ports: Sequence[int], log: Path) -> Iterator[None]:
    """Bring ports of our loopback to the node's, under the same numbers, where the node does not reach us."""
    if not end.reverse or not ports:
        yield
        return
    forwards = [part for port in ports for part in ("-R", f"127.0.0.1:{port}:127.0.0.1:{port}")]
    process = core_process.spawn(_tunnel_argv(end, forwards), log=log, tied=True)
    try:
        with Ssh(end) as ssh:
            wait(
                lambda: (_listening(ssh, ports), process.alive()),
                lambda state: state[0],
                error=lambda state: None if state[1] else f"ssh ended: {_last_line(log)}",
                what=f"tunnel back from {end.name}", timeout=START_TIMEOUT, delay=0.2,
            )  # fmt: skip
        yield
    finally:
        process.stop()


def _listening(ssh: Ssh, ports: Sequence[int]) -> bool:
    found = ssh.run("ss -Hltn").stdout
    return all(f"127.0.0.1:{port} " in found for port in ports)


def _tunnel_argv(end: Endpoint, forwards: list[str]) -> list[str]:
    return [
        "ssh", *options(end.key, end.known_hosts), *proxy_options(end), "-N", "-o", "ExitOnForwardFailure=yes",
        "-p", str(end.port), *forwards, f"{end.user}@{end.address}",
    ]  # fmt: skip


def tunnel(end: Endpoint, forwards: list[str], port: int, log: Path, *, tied: bool = False) -> Process:
    """Start ssh with forwards to the node and return when the local ``port`` listens (0: when it is logged in).

    With ``tied``, it ends with this process.

    Raises ``LabError`` with ssh's last words where it ends.
    """
    process = core_process.spawn(_tunnel_argv(end, forwards), log=log, tied=tied)
    try:
        wait(
            lambda: (listens(port), process.alive()),
            lambda state: state[0],
            error=lambda state: None if state[1] else f"ssh ended: {_last_line(log)}",
            what=f"tunnel to {end.name}", timeout=START_TIMEOUT, delay=0.1,
            describe=lambda state: "listens" if state[0] else "no answer yet",
            hint="invoke lab.status",
        )  # fmt: skip
    except BaseException:
        process.stop()
        raise
    return process


def listens(port: int) -> bool:
    """Return whether something on this machine listens at the port."""
    with contextlib.suppress(OSError):
        socket.create_connection(("127.0.0.1", port), timeout=2).close()
        return True
    return False


def free_port() -> int:
    """Return a port of the loopback that nobody has now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def _last_line(log: Path) -> str:
    return log.read_text(errors="replace").strip().rpartition("\n")[2]
