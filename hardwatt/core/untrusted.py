"""Files of strangers: names, limits and copies, for archives that no known checksum covers.

An archive is a list of names and bytes, and nothing more. Regular files and folders are accepted;
links, devices and everything else are refused, so no name can lead out of the target folder. Modes,
owners and times of an archive are ignored. Sizes are checked before the bytes are read.

``untrusted_packed`` reads a file that may be gzipped. ``untrusted_tar`` reads tar headers one block at a time,
without ``tarfile``: neither the extraction nor the parser of extended headers sees foreign bytes, so no patch
release of Python is required. Downloads with a pinned checksum are opened elsewhere.
"""

import dataclasses
import hashlib
import io
import json
import os
import re
import shutil
import stat
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from hardwatt.core.errors import LabError, VerifyError
from hardwatt.core.files import WINDOWS

AGAIN = "do not use this file unless its maker explains it; get it again from its maker"
PIECE = 1 << 20
_NAME_BYTES, _PART_BYTES = 1024, 255
_SHOWN = 200
_DRIVE = re.compile(r"[A-Za-z]:")


class Readable(Protocol):
    """Bytes that are read in pieces."""

    def read(self, size: int, /) -> bytes:
        """Return at most ``size`` bytes; none at the end."""


@dataclasses.dataclass(frozen=True)
class Limits:
    """Upper bounds for one archive or folder."""

    members: int = 50_000
    total: int = 32 << 30
    """Bytes of all files, unpacked."""
    ratio: int = 200
    """Unpacked bytes per packed byte; checked beyond ``grace``."""
    grace: int = 32 << 20
    """Bytes."""
    json: int = 8 << 20
    """Bytes of one JSON file."""


LIMITS = Limits()


def show(value: object) -> str:
    """Return a foreign value for a message: quoted, short, without control characters."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def parts(name: object, *, what: str = "the archive") -> tuple[str, ...]:
    """Return the parts of a relative path that a stranger named. Raises ``VerifyError``.

    Refused: absolute paths, ``..``, empty parts, backslashes, drive letters, characters that do not
    print, names that are not UTF-8 or too long. A leading ``./`` is dropped.
    """
    if not isinstance(name, str) or not name:
        raise VerifyError(f"{what} holds {show(name)}, which is not a file name", hint=AGAIN)
    path = tuple(name.removeprefix("./").split("/"))
    why = ""
    if not _is_text(name):
        why = "is not UTF-8"
    elif not name.isprintable():
        why = "holds control characters"
    elif name.startswith("/"):
        why = "is absolute"
    elif "\\" in name or _DRIVE.match(name):
        why = "holds a separator or a drive of Windows"
    elif any(part in ("", ".", "..") for part in path):
        why = "does not stay below its folder"
    elif len(name.encode()) > _NAME_BYTES or any(len(part.encode()) > _PART_BYTES for part in path):
        why = "is too long"
    if why:
        raise VerifyError(f"{what} holds the name {show(name)}, which {why}", hint=AGAIN)
    return path


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


class Names:
    """The names seen in one archive: each file once, no two that a file system may take for one."""

    def __init__(self, what: str, limits: Limits = LIMITS) -> None:
        self._what, self._limits = what, limits
        self._seen: dict[str, tuple[str, bool, int]] = {}
        self._count = 0

    def add(self, name: object, *, folder: bool = False) -> tuple[str, ...]:
        """Check the next name and return its parts. Raises ``VerifyError``."""
        self._count += 1
        if self._count > self._limits.members:
            raise VerifyError(f"{self._what} holds more than {self._limits.members} members", hint=AGAIN)
        checked = parts(name, what=self._what)
        for depth in range(1, len(checked) + 1):
            path, is_folder = "/".join(checked[:depth]), folder or depth < len(checked)
            known = self._seen.setdefault(_folded(path), (path, is_folder, self._count))
            if known[:2] != (path, is_folder) or (not is_folder and known[2] != self._count):
                raise VerifyError(f"{self._what} holds {show(path)} twice or beside {show(known[0])}", hint=AGAIN)
        return checked


def _folded(path: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


def files_in(folder: Path, limits: Limits = LIMITS) -> list[str]:
    """Return the relative paths of all files of a foreign folder, sorted.

    Raises ``VerifyError`` for links, devices and names that are refused.
    """
    what = f"the folder {show(str(folder))}"
    files: list[str] = []
    names, waiting = Names(what, limits), [""]
    while waiting:
        base = waiting.pop()
        with os.scandir(folder / base) as entries:
            for entry in entries:
                relative = f"{base}{entry.name}"
                is_folder = entry.is_dir(follow_symlinks=False)
                if not is_folder and not entry.is_file(follow_symlinks=False):
                    raise VerifyError(f"{what} holds {show(relative)}, which is a link or not a regular file",
                                      hint=AGAIN)  # fmt: skip
                names.add(relative, folder=is_folder)
                if is_folder:
                    waiting.append(f"{relative}/")
                else:
                    files.append(relative)
    return sorted(files)


def inside(folder: Path, name: object, *, what: str = "the archive") -> Path:
    """Return the regular file ``name`` below ``folder``, never through a link. Raises ``VerifyError``."""
    path = folder
    checked = parts(name, what=what)
    for depth, part in enumerate(checked, start=1):
        path = path / part
        try:
            mode = path.lstat().st_mode
        except OSError:
            raise VerifyError(f"{what} lacks {'/'.join(checked)}", hint="get it again from its maker") from None
        if not (stat.S_ISREG(mode) if depth == len(checked) else stat.S_ISDIR(mode)):
            raise VerifyError(f"{what} holds {show(name)}, which is a link or not a regular file", hint=AGAIN)
    return path


def take(source: Path, target: Path, *, mode: int = 0o644) -> tuple[str, int]:
    """Copy a foreign file to the new file ``target``; return the SHA-256 (hexadecimal) and size of what was copied."""
    with open_regular(source) as content:
        return write_new(content, target, os.fstat(content.fileno()).st_size, mode=mode)


def sha256(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a foreign file, never read through a link."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def open_regular(path: Path) -> io.BufferedReader:
    """Open a foreign file for reading, never through a link. Raises ``VerifyError`` unless it is a regular file."""
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        file = os.fdopen(os.open(path, flags), "rb")
    except OSError as error:
        raise VerifyError(f"{show(str(path))} cannot be read: {error.strerror}", hint=AGAIN) from error
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise VerifyError(f"{show(str(path))} is not a regular file", hint=AGAIN)
    return file


def write_new(content: Readable, target: Path, size: int, *, mode: int = 0o644) -> tuple[str, int]:
    """Write ``size`` bytes to a file that is new and ours, and make them durable."""
    if size > shutil.disk_usage(target.parent).free:
        raise LabError(f"the disk of {target.parent} is full: {size} bytes are needed",
                       hint="free some space, then run the same command again")  # fmt: skip
    digest, left = hashlib.sha256(), size
    handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
    with os.fdopen(handle, "wb") as file:
        while left:
            piece = content.read(min(left, PIECE))
            if not piece:
                raise VerifyError(f"{show(target.name)} is cut off, {left} bytes are missing",
                                  hint="get it again from its maker")  # fmt: skip
            digest.update(piece)
            file.write(piece)
            left -= len(piece)
        file.flush()
        if not WINDOWS:
            os.fchmod(file.fileno(), mode)
        os.fsync(file.fileno())
    return digest.hexdigest(), size


def read_json(path: Path, *, what: str = "", limits: Limits = LIMITS) -> Any:
    """Return the value of a foreign JSON file. Raises ``VerifyError``; a key twice in one object is refused."""
    what = what or show(path.name)
    with open_regular(path) as file:
        data = file.read(limits.json + 1)
    if len(data) > limits.json:
        raise VerifyError(f"{what} is larger than {limits.json} bytes", hint=AGAIN)
    try:
        return json.loads(data.decode("utf-8"), object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        why = "is nested too deeply" if isinstance(error, RecursionError) else show(str(error))
        raise VerifyError(f"{what} is not JSON: {why}", hint=AGAIN) from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    unique = dict(pairs)
    if len(unique) != len(pairs):
        raise ValueError("a key is there twice")
    return unique


def mapping(value: object, what: str) -> Mapping[str, Any]:
    """Return ``value`` if it is a JSON object. Raises ``VerifyError``."""
    if not isinstance(value, dict):
        raise VerifyError(f"{what} is {show(value)}, not an object", hint=AGAIN)
    return value


def listing(value: object, what: str) -> list[Any]:
    """Return ``value`` if it is a JSON list. Raises ``VerifyError``."""
    if not isinstance(value, list):
        raise VerifyError(f"{what} is {show(value)}, not a list", hint=AGAIN)
    return value
