"""Files that are either the old ones or the new ones, never half of each."""

import hashlib
import json
import os
import shlex
import tempfile
from pathlib import Path
from typing import Any

from hardwatt.core.errors import LabError

WINDOWS = os.name == "nt"
"""Reports are read and made there too: it has no file modes, and a folder cannot be opened to be synced."""


def write_atomic(path: Path, data: str | bytes, *, mode: int = 0o644) -> None:
    """Write ``data`` to ``path`` by a temporary file beside it, fsync and rename.

    The file has ``mode`` from its first byte on, so that a secret is never readable by others.
    """
    if path.is_dir():
        away = shlex.join(["mv", str(path), f"{path}.folder"])
        raise LabError(f"{path} is a folder, and a file is to be written there", hint=f"{away}, then the same command")
    path.parent.mkdir(parents=True, exist_ok=True)
    content = data.encode() if isinstance(data, str) else data
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            if not WINDOWS:
                os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make renames in ``folder`` durable."""
    if WINDOWS:
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sha256(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_json(path: Path, default: Any = None) -> Any:
    """Return the parsed file, or ``default`` where there is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return default


def write_json(path: Path, value: Any, *, mode: int = 0o644) -> None:
    """Write ``value`` as JSON with sorted keys, atomically."""
    write_atomic(path, json.dumps(value, indent=2, sort_keys=True) + "\n", mode=mode)
