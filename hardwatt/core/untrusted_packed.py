"""Packed files of strangers: read as they are or through gzip, with limits on bytes and ratio."""

import gzip
import os
import zlib
from collections.abc import Iterator
from pathlib import Path

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
