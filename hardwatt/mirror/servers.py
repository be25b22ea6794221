"""Serving a lab's mirror in the background: the apt repository and the registry."""

import contextlib
import os
import sys
from pathlib import Path
from typing import Any

from hardwatt.config.lab import Lab
from hardwatt.core import files
from hardwatt.core.errors import LabError
from hardwatt.core.process import Process, spawn
from hardwatt.mirror import apt, httpd, registry
from hardwatt.mirror.fill import load, mirror_root
from hardwatt.mirror.served import Served


def serve(lab: Lab, address: str) -> Served:
    """Serve the lab's mirror at ``address`` while this process lasts; servers that run there are found again.

    The ports are the ones of the last time wherever they are free, so that a node's settings stay.
    Raises ``LabError`` where the mirror is not filled or the address is not this machine's.
    """
    known = _read(lab)
    if known and known["address"] == address and (served := _running(lab, known)):
        return served
    stop_serving(lab)
    return _start(lab, address, known or {})


def serving(lab: Lab) -> Served | None:
    """Return the lab's running servers, or None."""
    known = _read(lab)
    return _running(lab, known) if known else None


def stop_serving(lab: Lab) -> bool:
    """Stop the servers that ``serve`` started; return whether there were any. The ports stay known."""
    stopped = False
    for process in (*_processes(_read(lab) or {}), *_unrecorded(lab)):
        if process.alive():
            process.stop()
            stopped = True
    return stopped


def _unrecorded(lab: Lab) -> list[Process]:
    """Return registries with this lab's own settings: a kill came between the start of one and its record."""
    ours = [b"serve", os.fsencode(lab.dir / "registry.json")]
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            if file.read_bytes().rstrip(b"\0").split(b"\0")[-2:] == ours:
                found.append(Process.of(int(file.parent.name)))
    return [process for process in found if process is not None]


def _read(lab: Lab) -> dict[str, Any] | None:
    found: dict[str, Any] | None = files.read_json(lab.dir / "served.json")
    return found


def _processes(known: dict[str, Any]) -> tuple[Process, ...]:
    return tuple(Process.from_dict(item) for item in known.get("processes", ()))


def _served(lab: Lab, known: dict[str, Any]) -> Served:
    address = f"[{known['address']}]" if ":" in known["address"] else known["address"]
    return Served(
        apt_url=f"http://{address}:{known['apt_port']}",
        registry=f"{address}:{known['registry_port']}",
        key_path=apt.public_key(mirror_root(lab)),
        processes=_processes(known),
    )


def _running(lab: Lab, known: dict[str, Any]) -> Served | None:
    """Return the servers if all of them live, serve this mirror and answer."""
    served = _served(lab, known)
    alive = len(served.processes) == 2 and all(process.alive() for process in served.processes)
    if not alive or known["root"] != str(mirror_root(lab)):
        return None
    if registry.answers(f"http://{served.registry}/v2/") and registry.answers(f"{served.apt_url}/{apt.KEY_FILE}"):
        return served
    return None


def _start(lab: Lab, address: str, known: dict[str, Any]) -> Served:
    root, index, log = mirror_root(lab), load(lab), lab.logs / "mirror-serve.log"
    if not apt.public_key(root).exists():
        raise LabError("the mirror has no package repository yet", hint="inv mirror.fill")
    data: dict[str, Any] = {
        "address": address,
        "root": str(root),
        "apt_port": registry.free_port(address, int(known.get("apt_port", 0))),
        "registry_port": registry.free_port(address, int(known.get("registry_port", 0))),
        "processes": [],
    }
    # Written before and after each start: a kill in between leaves at most one server unknown.
    files.write_json(lab.dir / "served.json", data)
    # The file itself and not the module: it needs the standard library alone, and is there at once.
    argv = [sys.executable, "-I", str(Path(httpd.__file__)), str(root / "apt"), address, str(data["apt_port"])]
    server = spawn(argv, log=log, tied=True)
    data["processes"].append(server.to_dict())
    files.write_json(lab.dir / "served.json", data)
    served = _served(lab, data)
    registry.wait_for(f"{served.apt_url}/{apt.KEY_FILE}", server, log)
    settings = lab.dir / "registry.json"
    process = registry.start(index.tool("registry"), root / "registry", settings, address,
                             int(data["registry_port"]), readonly=True, log=log)  # fmt: skip
    data["processes"].append(process.to_dict())
    files.write_json(lab.dir / "served.json", data)
    return _served(lab, data)
