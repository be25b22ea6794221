"""Bytes of a file to text: compression and encoding, recognised by the bytes and never by the file's name."""

from __future__ import annotations

import codecs
import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hardwatt.core.errors import LabError
from hardwatt.core.untrusted import show
from hardwatt.core.untrusted_packed import zstd_bound

MOST_BYTES: Final = 1 << 30
"""Of the unpacked text; a table that is larger is not read."""
ENCODINGS: Final = ("utf-8", "utf-16", "utf-16-le", "utf-16-be", "latin-1", "cp1252")
_BOMS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_NOT_TEXT: Final = {
    b"PK\x03\x04": "a zip archive or a spreadsheet: save the sheet as CSV",
    b"PAR1": "a Parquet file: write it as CSV first",
    b"SQLite format 3": "an SQLite database: export the table as CSV first",
    b"%PDF": "a PDF document",
    b"\x89PNG": "a picture",
    b"BZh": "packed with bzip2: unpack it first (bunzip2)",
    b"\xfd7zXZ": "packed with xz: unpack it first (unxz)",
}


@dataclass(frozen=True)
class Decoded:
    """The text of a file and how it was encoded."""

    text: str
    encoding: str
    byte_order_mark: bool
    compression: str
    """``gzip``, ``zstd`` or empty."""


def decode(path: Path, encoding: str = "") -> Decoded:
    """Read a file as text.

    Raises `LabError` if the file is missing, too large, packed in another way or not text.
    """
    data, compression = _unpacked(path)
    for magic, reason in _NOT_TEXT.items():
        if data.startswith(magic):
            raise LabError(f"{path} is not a text table: it is {reason}")
    text, name, marked = _text(path, data, encoding)
    if "\0" in text:
        raise LabError(f"{path} is not a text table: it has zero bytes", hint="export the table as CSV in UTF-8")
    if not text.strip():
        raise LabError(f"{path} is empty")
    return Decoded(text, name, marked, compression)


def _unpacked(path: Path) -> tuple[bytes, str]:
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        raise LabError(f"there is no table at {path}") from None
    except IsADirectoryError:
        raise LabError(f"{path} is a directory", hint="name the file in it") from None
    except OSError as error:
        raise LabError(f"{path} cannot be read: {error.strerror}") from None
    compression = ""
    if data.startswith(b"\x1f\x8b"):
        data, compression = _gunzipped(path), "gzip"
    elif data.startswith(b"\x28\xb5\x2f\xfd"):
        data, compression = _unzstd(path, data), "zstd"
    if len(data) > MOST_BYTES:
        raise LabError(f"{path} has more than {MOST_BYTES >> 20} MiB of text", hint="keep the columns that are needed")
    return data, compression


def _gunzipped(path: Path) -> bytes:
    try:
        with gzip.open(path) as file:
            return file.read(MOST_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise LabError(f"{path} is a damaged gzip file: {error}", hint="get the file again") from None


def _unzstd(path: Path, data: bytes) -> bytes:
    """Unpack with polars, which reads zstd: the standard library of Python 3.11 does not."""
    from hardwatt.bundle.frames import pl

    # a small file may promise far more than memory holds, and polars has no limit
    if zstd_bound(data, show(path.name)) > MOST_BYTES:
        raise LabError(f"{path} has more than {MOST_BYTES >> 20} MiB of text", hint="keep the columns that are needed")
    try:
        lines = pl.read_csv(
            data, has_header=False, separator="\x1f", quote_char=None, infer_schema=False, new_columns=["line"]
        )
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = str(error).partition("\n")[0][:120]
        raise LabError(f"{path} cannot be unpacked: {reason}", hint=f"unzstd {path}, then the unpacked file") from None
    return "\n".join(line or "" for line in lines["line"].to_list()).encode()


def _text(path: Path, data: bytes, asked: str) -> tuple[str, str, bool]:
    """Return text, encoding and whether a byte order mark stands at its start."""
    if asked:
        return _as_asked(path, data, asked)
    for mark, name in _BOMS:
        if data.startswith(mark):
            return _strict(path, data[len(mark) :], name), name, True
    if wide := _without_mark(data[:4096]):
        return _strict(path, data, wide), wide, False
    try:
        return data.decode(), "utf-8", False
    except UnicodeDecodeError:
        pass
    # 0x80 to 0x9f are control characters in Latin-1 and letters or quotes in Windows' extension of it.
    name = "cp1252" if any(0x80 <= byte <= 0x9F for byte in set(data)) else "latin-1"
    return _strict(path, data, name), name, False


def _as_asked(path: Path, data: bytes, asked: str) -> tuple[str, str, bool]:
    if asked.lower() not in ENCODINGS:
        raise LabError(f"unknown encoding {asked!r}; known: {', '.join(ENCODINGS)}")
    text = _strict(path, data, asked.lower())
    return text.removeprefix("\ufeff"), asked.lower(), text.startswith("\ufeff")


def _without_mark(start: bytes) -> str:
    """Return the UTF-16 that lacks its mark, whose every second byte is zero in Latin text; else empty."""
    if len(start) < 4:
        return ""
    even, odd = start[0::2].count(0), start[1::2].count(0)
    half = len(start) // 2
    return "utf-16-le" if odd > 0.7 * half and not even else "utf-16-be" if even > 0.7 * half and not odd else ""


def _strict(path: Path, data: bytes, name: str) -> str:
    try:
        return data.decode(name)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise LabError(
            f"{path}, line {line}: the bytes are not {name}", hint=f"name the encoding: --encoding {ENCODINGS[-2]}"
        ) from None
