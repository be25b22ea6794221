"""SSH tunnels to and from a node, with the lab's key and known hosts: for a while, or kept."""

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from hardwatt.connect import unreachable
from hardwatt.connect.endpoint import Endpoint
from hardwatt.connect.ssh import Ssh
from hardwatt.connect.ssh_routes import direct, options, proxy_options
from hardwatt.core import background
from hardwatt.core.ports import free_port, listens
from hardwatt.core.process import Process

START_TIMEOUT = 60.0
"""Seconds until a tunnel listens: two hosts say hello, one of them perhaps emulated."""


@contextlib.contextmanager
def socks(endpoint: Endpoint, log: Path) -> Iterator[dict[str, str]]:
    """Give the environment in which a program reaches what the node reaches; nothing where we do so ourselves.

    It is a SOCKS5 proxy of ssh's own on the loopback, for as long as the context lasts.
    """
    if direct(endpoint):
        yield {}
        return
    port = free_port()
    process = tunnel(endpoint, ["-D", f"127.0.0.1:{port}"], port, log, tied=True)
    try:
        yield {"ALL_PROXY": f"socks5://127.0.0.1:{port}", "NO_PROXY": "127.0.0.1,localhost"}
    finally:
        process.stop()


@contextlib.contextmanager
def reverse(endpoint: Endpoint, ports: Sequence[int], log: Path) -> Iterator[None]:
    """Bring ports of our loopback to the node's, under the same numbers, where the node does not reach us."""
    if not endpoint.reverse or not ports:
        yield
        return
    forwards = [part for port in ports for part in ("-R", f"127.0.0.1:{port}:127.0.0.1:{port}")]
    with contextlib.ExitStack() as stack:
        ssh = functools.cache(lambda: stack.enter_context(Ssh(endpoint)))  # after the tunnel, which may fail first
        process = background.start(
            _tunnel_argv(endpoint, forwards),
            lambda: _listening(ssh(), ports),
            what=f"tunnel back from {endpoint.name}", log=log, timeout=START_TIMEOUT, delay=0.2, tied=True,
            hint=unreachable.by_hand(endpoint),
        )  # fmt: skip
    try:
        yield
    finally:
        process.stop()


def _listening(ssh: Ssh, ports: Sequence[int]) -> bool:
    sockets = ssh.run("ss -Hltn").stdout
    return all(f"127.0.0.1:{port} " in sockets for port in ports)


def _tunnel_argv(endpoint: Endpoint, forwards: list[str]) -> list[str]:
    return [
        "ssh", *options(endpoint.key, endpoint.known_hosts), *proxy_options(endpoint),
        "-N", "-o", "ExitOnForwardFailure=yes",
        "-p", str(endpoint.port), *forwards, f"{endpoint.user}@{endpoint.address}",
    ]  # fmt: skip


def tunnel(
    endpoint: Endpoint,
    forwards: list[str],
    port: int,
    log: Path,
    *,
    tied: bool = False,
    started: Callable[[Process], None] | None = None,
) -> Process:
    """Start ssh with forwards to the node and return when the local ``port`` listens.

    With ``tied``, it ends with this process; ``started`` gets it before the wait.

    Raises ``LabError`` with ssh's last words where it ends.
    """
    return background.start(
        _tunnel_argv(endpoint, forwards),
        lambda: listens(port),
        what=f"tunnel to {endpoint.name}",
        log=log,
        timeout=START_TIMEOUT,
        tied=tied,
        started=started,
        hint=unreachable.by_hand(endpoint),
    )
