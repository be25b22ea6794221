"""The HTTP server of the apt repository: regular files of one folder, nothing else.

It runs as a file, with the standard library alone. Connections are limited: one that says nothing ends, and makes room
for one that asks.
"""

import argparse
import contextlib
import functools
import http.server
import os
import socket
import stat
import threading
from pathlib import Path
from typing import Any

MOST = 64
"""Connections at once; a node's package manager opens a few."""
SILENCE = 20.0
"""Seconds without a byte after which a connection ends."""


class Handler(http.server.SimpleHTTPRequestHandler):
    """Files only: no listings, no links, no log line for each package."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are two writes: else an answer may wait for an acknowledgement
    timeout = SILENCE

    def parse_request(self) -> bool:
        """Read the request; from here on the connection is not a silent one."""
        self._server().speaks(self.connection)
        return super().parse_request()

    def handle_one_request(self) -> None:
        """Answer one request; between two requests a connection counts as silent."""
        self._server().waits(self.connection)
        super().handle_one_request()

    def send_head(self) -> Any:
        """Answer with a regular file below the folder that no link leads to; anything else is not found."""
        if not self._is_plain(self.translate_path(self.path)):
            self.send_error(404)
            return None
        return super().send_head()

    def _is_plain(self, path: str) -> bool:
        if "\0" in path or not path.isprintable():
            return False
        try:
            below = Path(os.path.relpath(path, self.directory)).parts
            places = [Path(self.directory, *below[:depth]) for depth in range(1, len(below) + 1)]
            modes = [place.lstat().st_mode for place in places]
        except (OSError, ValueError):
            return False
        return ".." not in below and all(map(stat.S_ISDIR, modes[:-1])) and stat.S_ISREG(modes[-1])

    def list_directory(self, path: object) -> None:
        """Refuse: what is there is said by the repository's signed index."""
        self.send_error(404)

    def log_message(self, *_: object) -> None:
        """Say nothing: the node's apt reports what it fetched."""

    def _server(self) -> "Server":
        assert isinstance(self.server, Server)
        return self.server


class Server(http.server.ThreadingHTTPServer):
    """A server with at most ``MOST`` connections: where they are all taken, the one that is silent longest ends."""

    daemon_threads = True
    request_queue_size = MOST

    def __init__(self, *arguments: Any) -> None:
        self._lock, self._open = threading.Lock(), threading.BoundedSemaphore(MOST)
        self._silent: dict[socket.socket, None] = {}
        super().__init__(*arguments)

    def waits(self, connection: socket.socket) -> None:
        """Note that a connection has no request under way."""
        with self._lock:
            self._silent[connection] = None

    def speaks(self, connection: socket.socket) -> None:
        """Note that a connection has sent a request."""
        with self._lock:
            self._silent.pop(connection, None)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer a connection in a thread of its own, once there is room for it."""
        while not self._open.acquire(timeout=0.05):
            with self._lock:
                oldest = next(iter(self._silent), None)
                self._silent.pop(oldest, None)  # type: ignore[arg-type]
            if oldest is not None:
                with contextlib.suppress(OSError):
                    oldest.shutdown(socket.SHUT_RDWR)
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer a connection to its end, and give its place free."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.speaks(request)
            self._open.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a connection that broke: the node's package manager asks again."""


def main() -> None:
    """Serve until stopped."""
    parser = argparse.ArgumentParser(prog="httpd.py", description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("address")
    parser.add_argument("port", type=int)
    given = parser.parse_args()
    family = socket.AF_INET6 if ":" in given.address else socket.AF_INET
    server_class = type("OfFamily", (Server,), {"address_family": family})
    handler = functools.partial(Handler, directory=given.folder)
    with server_class((given.address, given.port), handler) as server:
        server.serve_forever()


if __name__ == "__main__":
    main()
