"""Tar archives of strangers: a strict reader that knows regular files and folders only."""

import dataclasses
import re
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path

from hardwatt.core.errors import VerifyError
from hardwatt.core.untrusted import AGAIN, LIMITS, Limits, Names, show, write_new
from hardwatt.core.untrusted_packed import Packed

_BLOCK = 512
_HEADER_BYTES = 64 << 10
"""The largest extended header that is accepted."""
_OCTAL_MAX = 8**11 - 1
"""The largest size that a plain header can say."""
_KINDS = {
    b"1": "a hard link", b"2": "a symbolic link", b"3": "a device", b"4": "a device", b"6": "a pipe",
    b"S": "a sparse file", b"K": "a link", b"V": "a volume label", b"M": "a part of another archive",
}  # fmt: skip
_FILES, _FOLDER = (b"0", b"\0"), b"5"
_RECORD = re.compile(rb"([1-9][0-9]{0,5}) ([^=\n]+)=")


@dataclasses.dataclass(frozen=True)
class Member:
    """One file or folder."""

    name: str
    folder: bool
    size: int


@dataclasses.dataclass
class _Extended:
    """Name and size of a member by the extended headers before it; ``None`` where they give none."""

    name: str | None = None
    size: int | None = None


def unpack(archive: Path, folder: Path, *, limits: Limits = LIMITS) -> list[str]:
    """Unpack a tar (plain or gzip) into the new folder ``folder``; return the files' names.

    Raises ``VerifyError`` naming the member that is refused; what was unpacked before it stays in
    ``folder``, which the caller discards.
    """
    what = show(archive.name)
    files: list[str] = []
    names = Names(what, limits)
    folder.mkdir(parents=True)
    with Packed(archive, limits) as packed:
        for member in members(packed, what):
            if member.folder and member.name in (".", "./"):
                continue  # the archive's own top folder
            name = member.name.removesuffix("/") if member.folder else member.name
            target = folder.joinpath(*names.add(name, folder=member.folder))
            if member.folder:
                target.mkdir(parents=True, exist_ok=True)
                continue
            packed.require(member.size)
            target.parent.mkdir(parents=True, exist_ok=True)
            write_new(packed, target, member.size)
            packed.exactly(-member.size % _BLOCK)
            files.append(str(target.relative_to(folder)))
        _require_end(packed, what)
    return files


def _require_end(packed: Packed, what: str) -> None:
    """Read an archive to its last byte, so that gzip compares its sum. Raises ``VerifyError`` for further data."""
    for piece in packed.pieces():
        if piece.strip(b"\0"):
            raise VerifyError(f"{what} holds data after its end", hint=AGAIN)


def members(packed: Packed, what: str) -> Iterator[Member]:
    """Yield the members of a tar; the caller reads each file's blocks before the next member.

    Raises ``VerifyError`` for everything that is not a regular file or a folder, for headers that
    contradict each other, and for an archive without its end.
    """
    extended = _Extended()
    while (block := packed.exactly(_BLOCK)) != bytes(_BLOCK):
        info = _header(block, what)
        if info.type in (b"x", b"g", b"L"):
            data = _extension(packed, info, what)
            if info.type == b"L":
                _set(extended, "path", data.rstrip(b"\0"), what)
            else:
                _pax(extended, data, what, everywhere=info.type == b"g")
            continue
        yield _member(info, extended, what)
        extended = _Extended()
    if extended != _Extended():
        raise VerifyError(f"{what} ends after a header without its member", hint=AGAIN)


def _header(block: bytes, what: str) -> tarfile.TarInfo:
    try:
        return tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except (tarfile.TarError, ValueError) as error:
        raise VerifyError(f"{what} is not a whole tar archive: {show(str(error))}",
                          hint="get it again from its maker; tar and tar.gz are accepted") from None  # fmt: skip


def _extension(packed: Packed, info: tarfile.TarInfo, what: str) -> bytes:
    if not 0 < info.size <= _HEADER_BYTES:
        raise VerifyError(f"{what} holds an extended header of {info.size} bytes", hint=AGAIN)
    data = packed.exactly(info.size)
    packed.exactly(-info.size % _BLOCK)
    return data


def _pax(extended: _Extended, data: bytes, what: str, *, everywhere: bool) -> None:
    """Read the records ``LENGTH KEY=VALUE`` of a pax header."""
    wrong = VerifyError(f"{what} holds a damaged extended header", hint=AGAIN)
    while data:
        prefix = _RECORD.match(data)
        if not prefix:
            raise wrong
        length = int(prefix[1])
        if not prefix.end() < length <= len(data) or data[length - 1] != ord("\n"):
            raise wrong
        key, value = prefix[2].decode("utf-8", "replace"), data[prefix.end() : length - 1]
        data = data[length:]
        if key.startswith("GNU.sparse") or key in ("linkpath", "hdrcharset"):
            raise VerifyError(f"{what} holds an extended header {show(key)}", hint=AGAIN)
        if key in ("path", "size"):
            if everywhere:
                raise VerifyError(f"{what} gives all its members one {key}", hint=AGAIN)
            _set(extended, key, value, what)


def _set(extended: _Extended, key: str, value: bytes, what: str) -> None:
    """Keep a name or size for the next member; a second one would be another reader's answer."""
    name, size = extended.name, extended.size
    if key == "path" and name is None:
        extended.name = value.decode("utf-8", "surrogateescape")
    elif key == "size" and size is None and re.fullmatch(rb"[0-9]{1,18}", value):
        extended.size = int(value)
    else:
        raise VerifyError(f"{what} holds two names or sizes, or a wrong one, for one member", hint=AGAIN)


def _member(info: tarfile.TarInfo, extended: _Extended, what: str) -> Member:
    name = info.name if extended.name is None else extended.name
    folder = info.type == _FOLDER
    refused = "" if folder or info.type in _FILES else _KINDS.get(info.type, "of an unknown type")
    if not refused and not folder and info.mode & (stat.S_ISUID | stat.S_ISGID):
        refused = "a program that changes its user"
    if refused:
        raise VerifyError(f"{what} holds {show(name)}, which is {refused}: regular files and folders are accepted",
                          hint=AGAIN)  # fmt: skip
    size = info.size if extended.size is None else extended.size
    if size < 0 or (size != info.size and size <= _OCTAL_MAX) or (folder and size):
        raise VerifyError(f"{what} gives {show(name)} the sizes {info.size} and {size}", hint=AGAIN)
    return Member(name, folder, size)
