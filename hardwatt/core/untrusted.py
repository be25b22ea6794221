"""Files of strangers: names, limits and copies, for archives that no known checksum covers.

An archive is a list of names and bytes, and nothing more. Regular files and folders are accepted;
links, devices and everything else are refused, so no name can lead out of the target folder. Modes,
owners and times of an archive are ignored. Sizes are checked before the bytes are read.

``untrusted_tar`` reads tar headers one block at a time, without ``tarfile``: neither the extraction nor the
parser of extended headers sees foreign bytes, so no patch release of Python is required. Downloads with a
pinned checksum are opened elsewhere.
"""

import dataclasses
import gzip
import hashlib
import io
import json
import os
import re
import shutil
import stat
import unicodedata
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hardwatt.core.errors import LabError, VerifyError
from hardwatt.core.files import WINDOWS

AGAIN = "do not use this file unless its maker explains it; get it again from its maker"
_PIECE = 1 << 20
_NAME_BYTES, _PART_BYTES = 1024, 255
_SHOWN = 200
_DRIVE = re.compile(r"[A-Za-z]:")
_PACKED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd", b"PK\x03\x04": "zip"}


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
    found = tuple(name.removeprefix("./").split("/"))
    why = ""
    if not _is_text(name):
        why = "is not UTF-8"
    elif not name.isprintable():
        why = "holds control characters"
    elif name.startswith("/"):
        why = "is absolute"
    elif "\\" in name or _DRIVE.match(name):
        why = "holds a separator or a drive of Windows"
    elif any(part in ("", ".", "..") for part in found):
        why = "does not stay below its folder"
    elif len(name.encode()) > _NAME_BYTES or any(len(part.encode()) > _PART_BYTES for part in found):
        why = "is too long"
    if why:
        raise VerifyError(f"{what} holds the name {show(name)}, which {why}", hint=AGAIN)
    return found


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
        found = parts(name, what=self._what)
        for depth in range(1, len(found) + 1):
            path, is_folder = "/".join(found[:depth]), folder or depth < len(found)
            known = self._seen.setdefault(_folded(path), (path, is_folder, self._count))
            if known[:2] != (path, is_folder) or (not is_folder and known[2] != self._count):
                raise VerifyError(f"{self._what} holds {show(path)} twice or beside {show(known[0])}", hint=AGAIN)
        return found


def _folded(path: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


def files_in(folder: Path, limits: Limits = LIMITS) -> list[str]:
    """Return the relative paths of all files of a foreign folder, sorted.

    Raises ``VerifyError`` for links, devices and names that are refused.
    """
    what, found = f"the folder {show(str(folder))}", []
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
                    found.append(relative)
    return sorted(found)


def inside(folder: Path, name: object, *, what: str = "the archive") -> Path:
    """Return the regular file ``name`` below ``folder``, never through a link. Raises ``VerifyError``."""
    path = folder
    found = parts(name, what=what)
    for depth, part in enumerate(found, start=1):
        path = path / part
        try:
            mode = path.lstat().st_mode
        except OSError:
            raise VerifyError(f"{what} lacks {'/'.join(found)}", hint="get it again from its maker") from None
        if not (stat.S_ISREG(mode) if depth == len(found) else stat.S_ISDIR(mode)):
            raise VerifyError(f"{what} holds {show(name)}, which is a link or not a regular file", hint=AGAIN)
    return path


def take(source: Path, target: Path, *, mode: int = 0o644) -> tuple[str, int]:
    """Copy a foreign file to the new file ``target``; return the SHA-256 (hexadecimal) and size of what was copied."""
    with _opened(source) as content:
        return _write(content, target, os.fstat(content.fileno()).st_size, mode=mode)


def sha256(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a foreign file, never read through a link."""
    with _opened(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _opened(path: Path) -> io.BufferedReader:
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        file = os.fdopen(os.open(path, flags), "rb")
    except OSError as error:
        raise VerifyError(f"{show(str(path))} cannot be read: {error.strerror}", hint=AGAIN) from error
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise VerifyError(f"{show(str(path))} is not a regular file", hint=AGAIN)
    return file


def _write(content: "io.BufferedReader | Packed", target: Path, size: int, *, mode: int = 0o644) -> tuple[str, int]:
    """Write ``size`` bytes to a file that is new and ours, and make them durable."""
    if size > shutil.disk_usage(target.parent).free:
        raise LabError(f"the disk of {target.parent} is full: {size} bytes are needed",
                       hint="free some space, then run the same command again")  # fmt: skip
    digest, left = hashlib.sha256(), size
    handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
    with os.fdopen(handle, "wb") as file:
        while left:
            piece = content.read(min(left, _PIECE))
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
    with _opened(path) as file:
        data = file.read(limits.json + 1)
    if len(data) > limits.json:
        raise VerifyError(f"{what} is larger than {limits.json} bytes", hint=AGAIN)
    try:
        return json.loads(data.decode("utf-8"), object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        why = "is nested too deeply" if isinstance(error, RecursionError) else show(str(error))
        raise VerifyError(f"{what} cannot be read as JSON: {why}", hint=AGAIN) from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is there twice")
    return found


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


class Packed:
    """A file that is read as it is or through gzip, with limits on bytes and ratio."""

    def __init__(self, path: Path, limits: Limits = LIMITS) -> None:
        """Open ``path``. Raises ``VerifyError`` for a compression that is not accepted."""
        self._what, self._limits = show(path.name), limits
        self._raw = _opened(path)
        start = self._raw.read(6)
        self._raw.seek(0)
        kind = next((name for magic, name in _PACKED.items() if start.startswith(magic)), "")
        if kind not in ("", "gzip"):
            self._raw.close()
            raise VerifyError(
                f"{self._what} is packed with {kind}", hint="unpack it first: tar and tar.gz are accepted"
            )
        self.gzipped = kind == "gzip"
        self._file = gzip.GzipFile(fileobj=self._raw) if self.gzipped else self._raw
        self._size = os.fstat(self._raw.fileno()).st_size
        self.count = 0
        """Bytes that were read, unpacked."""

    def __enter__(self) -> "Packed":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._raw.close()

    def require(self, size: int) -> None:
        """Raise ``VerifyError`` if ``size`` further bytes would be too many; nothing is read."""
        limit = self._limits.total
        if self.gzipped:
            limit = min(limit, max(self._limits.grace, self._size * self._limits.ratio))
        if self.count + size > limit:
            raise VerifyError(f"{self._what} unpacks to more than {limit} bytes", hint=AGAIN)

    def read(self, size: int) -> bytes:
        """Return at most ``size`` bytes. Raises ``VerifyError``."""
        try:
            piece = self._file.read(min(size, _PIECE))
        except (OSError, EOFError, zlib.error) as error:
            raise VerifyError(
                f"{self._what} is damaged: {show(str(error))}", hint="get it again from its maker"
            ) from None
        self.count += len(piece)
        self.require(0)
        return piece

    def exactly(self, size: int) -> bytes:
        """Return ``size`` bytes (a few blocks). Raises ``VerifyError`` at an early end."""
        found = b""
        while len(found) < size and (piece := self.read(size - len(found))):
            found += piece
        if len(found) < size:
            raise VerifyError(f"{self._what} is not a whole tar archive: it is cut off after {self.count} bytes",
                              hint="get it again from its maker")  # fmt: skip
        return found

    def pieces(self) -> Iterator[bytes]:
        """Yield all bytes."""
        while piece := self.read(_PIECE):
            yield piece
