"""The cluster's API from here: at the node's own address, at a forwarded port, or through an SSH tunnel that is kept.

The tunnel is a process of its own: it outlives the command that needed it first, the next command
that finds it ended starts it again at the same port, and ``lab.down`` ends it.
"""

import socket
from collections.abc import Mapping
from typing import Any

from hardwatt.config.lab import Lab
from hardwatt.connect import tunnels
from hardwatt.connect.endpoint import Endpoint
from hardwatt.core.background import Record
from hardwatt.core.ports import free_port, listens, number

PORT = 6443
_CONNECT_SECONDS = 5.0
"""Seconds for one attempt to connect: a firewall that drops says nothing at all."""


def address(lab: Lab, endpoint: Endpoint) -> tuple[str, int]:
    """Return where the API server of a node is reached from this machine; starts a tunnel where there is no other way.

    Raises ``LabError`` where ssh does not open one.
    """
    here = endpoint.port_here(PORT)
    if not endpoint.jump and (here != PORT or _answers(endpoint.address)):
        stop(lab)
        return endpoint.address, here
    return "127.0.0.1", _ensure(lab, endpoint)


def server(lab: Lab, endpoint: Endpoint) -> str:
    """Return the URL under which the lab's API server is reached, as its kubeconfig has it; empty: not known."""
    if state := _record(lab).read():
        return f"https://127.0.0.1:{state['port']}"
    host = f"[{endpoint.address}]" if ":" in endpoint.address else endpoint.address
    return "" if endpoint.jump else f"https://{host}:{endpoint.port_here(PORT)}"


def keep(lab: Lab) -> None:
    """Start the lab's tunnel again where it has one and that has ended. Raises ``LabError``."""
    if state := _record(lab).read():
        _ensure(lab, Endpoint.from_dict(state["endpoint"]))


def stop(lab: Lab) -> None:
    """End the lab's tunnel, if it has one."""
    _record(lab).forget()


def _ensure(lab: Lab, endpoint: Endpoint) -> int:
    record, description = _record(lab), endpoint.to_dict()
    state = record.read()
    port = int(state.get("port", 0))
    if state.get("endpoint") == description and record.alive() and listens(port):
        return port
    record.stop()
    if not port or listens(port):
        port = free_port()
    try:
        tunnels.tunnel(
            endpoint,
            ["-L", f"127.0.0.1:{port}:127.0.0.1:{PORT}"],
            port,
            lab.logs / "tunnel.log",
            started=lambda process: record.write({"port": port, "endpoint": description}, process),
        )
    except BaseException:
        record.restore(state)  # without a tunnel, the API is where the kubeconfig has it
        raise
    return port


def _record(lab: Lab) -> Record:
    return Record(lab.dir / "tunnel.json", check=_usable)


def _usable(state: Mapping[str, Any]) -> None:
    number(state["port"])
    Endpoint.from_dict(state["endpoint"])


def _answers(host: str) -> bool:
    try:
        socket.create_connection((host, PORT), timeout=_CONNECT_SECONDS).close()
    except OSError:
        return False
    return True
