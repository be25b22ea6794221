"""The OCI registry of the mirror: distribution's, over a folder, one path prefix per upstream host.

``registry.k8s.io/pause:3.10.2_lab.1`` is served as ``/v2/registry.k8s.io/pause/...``, so that hosts
stay apart; a node's hosts.toml names the prefix with ``override_path = true``.
"""

import contextlib
import json
import os
import socket
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from hardwatt.core import background
from hardwatt.core.errors import LabError, VerifyError
from hardwatt.core.ports import answers
from hardwatt.core.process import Process, run
from hardwatt.mirror.index import Artefact

# distribution sends traces to a collector that nobody runs, unless told otherwise.
ENV = {"OTEL_TRACES_EXPORTER": "none"}


def free_port(address: str, preferred: int = 0) -> int:
    """Return a free TCP port of ``address``: ``preferred`` if it is free.

    Raises ``LabError`` where the address is not this machine's.
    """
    for port in (preferred, 0) if preferred else (0,):
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, port))
            except OSError as error:
                if port:
                    continue  # taken meanwhile by somebody else
                raise LabError(
                    f"the mirror cannot be served at {address}: {error.strerror}",
                    hint="invoke lab.machine.start (it makes the address), then the same command again",
                ) from error
            return int(probe.getsockname()[1])
    raise AssertionError("port 0 is never taken")


def config(storage: Path, address: str, port: int, *, readonly: bool) -> str:
    """Return the registry's configuration (JSON is YAML)."""
    return json.dumps({
        "version": 0.1,
        "log": {"level": "warn", "accesslog": {"disabled": True}},
        "storage": {
            "filesystem": {"rootdirectory": os.fspath(storage)},
            "delete": {"enabled": True},
            "maintenance": {"readonly": {"enabled": readonly}, "uploadpurging": {"enabled": False}},
        },
        "http": {"addr": f"{host(address)}:{port}"},
    }, indent=2)  # fmt: skip


def start(
    binary: Path,
    storage: Path,
    settings: Path,
    address: str,
    port: int,
    *,
    readonly: bool,
    log: Path,
    started: Callable[[Process], None] | None = None,
) -> Process:
    """Start a registry in the background and return when it answers; ``started`` gets it before that."""
    storage.mkdir(parents=True, exist_ok=True)
    settings.write_text(config(storage, address, port, readonly=readonly))
    return serve([binary, "serve", settings], f"http://{host(address)}:{port}/v2/", log, started, env=ENV)


def serve(
    argv: Sequence[str | os.PathLike[str]],
    url: str,
    log: Path,
    started: Callable[[Process], None] | None,
    *,
    env: Mapping[str, str] | None = None,
) -> Process:
    """Start a server that ends with this process, and return when ``url`` answers."""
    return background.start(
        argv, lambda: answers(url), what=f"an answer of {url}", log=log, timeout=30, delay=0.05,
        env=env, tied=True, started=started,
    )  # fmt: skip


def host(address: str) -> str:
    """Return an address as URLs have it."""
    return f"[{address}]" if ":" in address else address


def push(root: Path, images: Sequence[Artefact], *, crane: Path, registry: Path, log: Path) -> None:
    """Put images into the registry's storage by an ordinary push over loopback.

    Raises ``CommandError``, or ``VerifyError`` where the registry names another digest.
    """
    with running(root, registry, log) as host:
        for image in images:
            reference = f"{host}/{image.name}:{image.version}"
            digest = run([crane, "push", root / image.path, reference], timeout=900).stdout.strip().rpartition("@")[2]
            if digest != image.digest:
                raise VerifyError(
                    f"{image.name} was pushed as {digest}, not as {image.digest}", hint="invoke mirror.fill"
                )


def share(root: Path, layout: Path) -> None:
    """Let the registry's blobs and the layout's be the same files on disk: both only ever get new ones."""
    blobs = root / "registry" / "docker" / "registry" / "v2" / "blobs" / "sha256"
    for blob in (layout / "blobs" / "sha256").iterdir():
        data = blobs / blob.name[:2] / blob.name / "data"
        if data.is_file() and not data.samefile(blob):
            part = root / "tmp" / blob.name
            part.hardlink_to(blob)
            part.replace(data)


@contextlib.contextmanager
def running(root: Path, registry: Path, log: Path) -> Iterator[str]:
    """Run a writable registry on a free loopback port; yields ``HOST:PORT``."""
    port = free_port("127.0.0.1")
    with tempfile.TemporaryDirectory(prefix="registry-", dir=root / "tmp") as folder:
        process = start(
            registry, root / "registry", Path(folder) / "config.json", "127.0.0.1", port, readonly=False, log=log
        )
        try:
            yield f"127.0.0.1:{port}"
        finally:
            process.stop()


def holds(root: Path, image: Artefact) -> bool:
    """Return whether the registry's storage has the tag at the digest (read from its folder)."""
    tag = root / "registry" / "docker" / "registry" / "v2" / "repositories" / image.name
    link = tag / "_manifests" / "tags" / image.version / "current" / "link"
    return link.is_file() and link.read_text().strip() == image.digest
