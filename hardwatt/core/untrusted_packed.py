"""Packed files of strangers: read as they are or through gzip, with limits on bytes and ratio."""

import gzip
import io
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hardwatt.core.errors import VerifyError
from hardwatt.core.untrusted import AGAIN, LIMITS, PIECE, Limits, open_regular, show

_PACKED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd", b"PK\x03\x04": "zip"}


class Packed:
    """A file that is read as it is or through gzip, with limits on bytes and ratio."""

    def __init__(self, path: Path, limits: Limits = LIMITS) -> None:
        """Open ``path``. Raises ``VerifyError`` for a compression that is not accepted."""
        self._what, self._limits = show(path.name), limits
        self._raw = open_regular(path)
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
            piece = self._file.read(min(size, PIECE))
        except (OSError, EOFError, zlib.error) as error:
            raise VerifyError(
                f"{self._what} is damaged: {show(str(error))}", hint="get it again from its maker"
            ) from None
        self.count += len(piece)
        self.require(0)
        return piece

    def stream(self) -> io.BufferedReader:
        """Return the unpacked bytes as a file that is read by lines too; the limits hold."""
        return io.BufferedReader(_Raw(self), PIECE)

    def exactly(self, size: int) -> bytes:
        """Return ``size`` bytes (a few blocks). Raises ``VerifyError`` at an early end."""
        data = b""
        while len(data) < size and (piece := self.read(size - len(data))):
            data += piece
        if len(data) < size:
            raise VerifyError(f"{self._what} is not a whole tar archive: it is cut off after {self.count} bytes",
                              hint="get it again from its maker")  # fmt: skip
        return data

    def pieces(self) -> Iterator[bytes]:
        """Yield all bytes."""
        while piece := self.read(PIECE):
            yield piece


class _Raw(io.RawIOBase):
    """A packed file as Python's own buffered reader takes it."""

    def __init__(self, packed: Packed) -> None:
        self._packed = packed

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        piece = self._packed.read(len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)


_ZSTD_BLOCK = 128 << 10
"""Bytes that a compressed block of zstd unpacks to at most (RFC 8878)."""
_SKIPPABLE = range(0x184D2A50, 0x184D2A60)


def zstd_bound(data: bytes, what: str) -> int:
    """Return how many bytes a zstd file can unpack to at most; nothing is unpacked. Raises ``VerifyError``."""
    bound, place = 0, 0
    try:
        while place < len(data):
            magic, place = int.from_bytes(data[place : place + 4], "little"), place + 4
            if magic in _SKIPPABLE:
                place += 4 + int.from_bytes(data[place : place + 4], "little")
                continue
            if magic != 0xFD2FB528:
                raise IndexError
            size, place = _zstd_blocks(data, place)
            bound += size
    except IndexError:
        raise VerifyError(f"{what} is not a whole zstd file: it is damaged before byte {place}",
                          hint="get it again from its maker") from None  # fmt: skip
    return bound


def _zstd_blocks(data: bytes, place: int) -> tuple[int, int]:
    """Return the bound of one frame and the place behind it."""
    descriptor, place = data[place], place + 1
    single, checksum = descriptor & 0x20, descriptor & 0x04
    dictionary, content = (0, 1, 2, 4)[descriptor & 3], (1 if single else 0, 2, 4, 8)[descriptor >> 6]
    place += (0 if single else 1) + dictionary
    # what the frame says of its size holds: the decoder refuses more
    said = int.from_bytes(data[place : place + content], "little") + (256 if content == 2 else 0)
    place += content
    bound, last = 0, False
    while not last:
        header = data[place] | data[place + 1] << 8 | data[place + 2] << 16
        last, kind, size = bool(header & 1), header >> 1 & 3, header >> 3
        if kind == 3:
            raise IndexError
        place += 3 + (1 if kind == 1 else size)
        bound += _ZSTD_BLOCK if kind == 2 else size
    if place > len(data):
        raise IndexError
    return min(bound, said) if content else bound, place + (4 if checksum else 0)
