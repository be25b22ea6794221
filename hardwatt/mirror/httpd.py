"""The HTTP server of the apt repository: files of one folder, nothing else."""

import argparse
import functools
import http.server
import socket


class Handler(http.server.SimpleHTTPRequestHandler):
    """Files only: no listings, no log line for each package."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are two writes: else an answer may wait for an acknowledgement

    def list_directory(self, path: object) -> None:
        """Refuse: what is there is said by the repository's signed index."""
        self.send_error(404)

    def log_message(self, *_: object) -> None:
        """Say nothing: the node's apt reports what it fetched."""


def main() -> None:
    """Serve until stopped."""
    parser = argparse.ArgumentParser(prog="httpd.py", description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("address")
    parser.add_argument("port", type=int)
    given = parser.parse_args()
    server_class = type("Server", (http.server.ThreadingHTTPServer,), {
        "address_family": socket.AF_INET6 if ":" in given.address else socket.AF_INET,
    })  # fmt: skip
    handler = functools.partial(Handler, directory=given.folder)
    with server_class((given.address, given.port), handler) as server:
        server.serve_forever()


if __name__ == "__main__":
    main()
