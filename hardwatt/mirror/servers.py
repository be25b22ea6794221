"""Serving a lab's mirror in the background: the apt repository and the registry."""

import contextlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hardwatt.config.lab import Lab
from hardwatt.core import state_files
from hardwatt.core.background import Record
from hardwatt.core.errors import LabError
from hardwatt.core.ports import answers, number
from hardwatt.core.process import Process
from hardwatt.mirror import apt, httpd, registry
from hardwatt.mirror.fill import load, mirror_root
from hardwatt.mirror.served import Served


def serve(lab: Lab, address: str) -> Served:
    """Serve the lab's mirror at ``address`` while this process lasts; servers that run there are found again.

    The ports are the ones of the last time wherever they are free, so that a node's settings stay.
    Raises ``LabError`` where the mirror is not filled or the address is not this machine's.
    """
    known = _record(lab).read()
    if known.get("address") == address and (served := serving(lab)):
        return served
    stop_serving(lab)
    return _start(lab, address, known)


def serving(lab: Lab) -> Served | None:
    """Return the lab's running servers, or None."""
    record = _record(lab)
    known = record.read()
    if len(record.processes()) != 2 or not record.alive() or known.get("root") != str(mirror_root(lab)):
        return None
    served = _served(lab, known, *record.processes())
    urls = f"http://{served.registry}/v2/", f"{served.apt_url}/{apt.KEY_FILE}"
    return served if all(map(answers, urls)) else None


def stop_serving(lab: Lab) -> bool:
    """Stop the servers that ``serve`` started; return whether there were any. The ports stay known."""
    stopped = _record(lab).stop()
    for process in _unrecorded(lab):
        process.stop()
        stopped = True
    return stopped


def _unrecorded(lab: Lab) -> list[Process]:
    """Return registries with this lab's own settings: a kill came between the start of one and its record."""
    ours = [b"serve", os.fsencode(lab.dir / "registry.json")]
    registries = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            if file.read_bytes().rstrip(b"\0").split(b"\0")[-2:] == ours:
                registries.append(Process.of(int(file.parent.name)))
    return [process for process in registries if process is not None]


def _record(lab: Lab) -> Record:
    return Record(lab.dir / "served.json", check=_usable)


def _usable(state: Mapping[str, Any]) -> None:
    state_files.text(state["address"]), state_files.text(state["root"])
    number(state["apt_port"]), number(state["registry_port"])


def _served(lab: Lab, known: Mapping[str, Any], *processes: Process) -> Served:
    host = registry.host(known["address"])
    return Served(
        apt_url=f"http://{host}:{known['apt_port']}",
        registry=f"{host}:{known['registry_port']}",
        key_path=apt.public_key(mirror_root(lab)),
        processes=processes,
    )


def _start(lab: Lab, address: str, known: Mapping[str, Any]) -> Served:
    root, index, log, record = mirror_root(lab), load(lab), lab.logs / "mirror-serve.log", _record(lab)
    if not apt.public_key(root).exists():
        raise LabError("the mirror has no package repository yet", hint="invoke mirror.fill")
    state: dict[str, Any] = {
        "address": address,
        "root": str(root),
        "apt_port": registry.free_port(address, int(known.get("apt_port", 0))),
        "registry_port": registry.free_port(address, int(known.get("registry_port", 0))),
    }
    # Written before and after each start: a kill in between leaves at most one server unknown.
    record.write(state)
    # The file itself and not the module: it needs the standard library alone, and is there at once.
    argv = [sys.executable, "-I", str(Path(httpd.__file__)), str(root / "apt"), address, str(state["apt_port"])]
    url = f"{_served(lab, state).apt_url}/{apt.KEY_FILE}"
    packages = registry.serve(argv, url, log, lambda process: record.write(state, process))
    images = registry.start(
        index.tool("registry"),
        root / "registry",
        lab.dir / "registry.json",
        address,
        int(state["registry_port"]),
        readonly=True,
        log=log,
        started=lambda process: record.write(state, packages, process),
    )
    return _served(lab, state, packages, images)
