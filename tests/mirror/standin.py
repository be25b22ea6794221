"""A stand-in for upstream on loopback: upstream's path layout, and every way to fail."""

import dataclasses
import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@dataclasses.dataclass
class Standin:
    """Files by path (``/HOST/PATH``), and how each misbehaves."""

    files: dict[str, bytes] = dataclasses.field(default_factory=dict)
    cut: dict[str, int] = dataclasses.field(default_factory=dict)
    """Path to the number of bytes after which the connection breaks, once."""
    slow: set[str] = dataclasses.field(default_factory=set)
    """Paths that send headers and then nothing."""
    no_ranges: bool = False
    asked: list[tuple[str, str, str]] = dataclasses.field(default_factory=list)
    """Method, path and Range header of each request."""
    base: str = ""
    release: threading.Event = dataclasses.field(default_factory=threading.Event)


@contextmanager
def serving() -> Iterator[Standin]:
    """Serve a stand-in on a free loopback port until the block ends."""
    standin = Standin()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # head and body are two writes: else an answer may wait for an acknowledgement

        def log_message(self, *_: object) -> None:
            """Keep the test's output clean."""

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def _answer(self, *, body: bool) -> None:
            wanted = self.headers.get("Range", "")
            standin.asked.append((self.command, self.path, wanted))
            content = standin.files.get(self.path)
            if content is None:
                self.send_error(404)
                return
            start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and not standin.no_ranges else 0
            if start >= len(content):
                self.send_error(416)
                return
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            if not body:
                return
            if self.path in standin.slow:
                self.wfile.flush()
                standin.release.wait(10)
                self.close_connection = True
                return
            end = standin.cut.pop(self.path, None)
            self.wfile.write(content[start:end])
            self.close_connection = end is not None

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    standin.base = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield standin
    finally:
        standin.release.set()
        server.shutdown()
        thread.join()
        server.server_close()
