"""TCP ports of this machine: a free one, whether one is in use, and whether an HTTP server answers there."""

import contextlib
import http.client
import socket
import urllib.request


def number(value: object) -> int:
    """Return ``value`` if it is the number of a port. Raises ``ValueError``."""
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 65535:
        raise ValueError(f"{value!r} is not the number of a port")
    return value


def free_port() -> int:
    """Return a port of the loopback interface that is free now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def listens(port: int) -> bool:
    """Return True if a program on this machine listens at the port."""
    with contextlib.suppress(OSError):
        socket.create_connection(("127.0.0.1", port), timeout=2).close()
        return True
    return False


def answers(url: str) -> bool:
    """Return True if an HTTP server answers with 200 at ``url``, asked without a proxy."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=5) as response:
            return int(response.status) == 200
    except (OSError, http.client.HTTPException):
        return False
