"""The file that the meter records to: lines that are only ever appended, in memory, of a bounded size.

Standard library only, Python 3.6 syntax: it runs on the node. ``hardwatt.bundle.recording`` reads the file and
documents what its lines hold.
"""

import json
import os
import zlib
from typing import Any, Dict

FORMAT = "hardwatt-record"
VERSION = 1
EARLIER = ".1"
"""Suffix of the file before the present one."""
AT_BOUND = "the file is renamed to NAME.1, which replaces an earlier NAME.1, and a new file begins"
HEAD = 65536

Line = Dict[str, Any]


def encode(line: Line) -> bytes:
    """Return a line of the file: CRC-32 of its text in eight hexadecimal digits, a space, compact JSON, a newline."""
    text = json.dumps(line, separators=(",", ":"), ensure_ascii=True).encode()
    return b"%08x %s\n" % (zlib.crc32(text) & 0xFFFFFFFF, text)


def decode(raw: bytes) -> Line:
    """Return a line that ``encode`` made, without its newline; raise ValueError where it is not one."""
    crc, _, text = raw.partition(b" ")
    if len(crc) != 8 or int(crc, 16) != zlib.crc32(text) & 0xFFFFFFFF:
        raise ValueError("the checksum of the line is wrong")
    line = json.loads(text.decode("ascii"))
    if not isinstance(line, dict):
        raise ValueError("the line is not an object")
    return line


class RecordFile:
    """Appends lines to one file. Two files of half the bound each are kept, the older as ``NAME.1``."""

    def __init__(self, path: str, bound_bytes: int, header: Line) -> None:
        self.path, self.bound, self.header = path, bound_bytes, dict(header)
        self.handle, self.size, self.number = -1, 0, 0

    def open(self) -> bool:
        """Continue the file of the process before, or begin a new file; return True if it is continued.

        A last line without its newline was torn by a crash: it is cut off. A file of another boot or format is kept
        as the earlier file.
        """
        os.makedirs(os.path.dirname(self.path), exist_ok=True)
        before = self.read_header()
        same = {key: before.get(key) for key in ("format", "version", "boot", "bound_bytes")}
        if same == {"format": FORMAT, "version": VERSION, "boot": self.header["boot"], "bound_bytes": self.bound}:
            self.number = int(before["number"])
            self.handle = os.open(self.path, os.O_RDWR | os.O_APPEND)
            self.size = self.cut_torn_line()
            return True
        if os.path.exists(self.path) and os.path.getsize(self.path):
            os.rename(self.path, self.path + EARLIER)
        self.begin()
        return False

    def read_header(self) -> Line:
        """Return the first line of the file that is there; nothing where it cannot be used."""
        try:
            with open(self.path, "rb") as file:
                first = file.readline(HEAD)
            return decode(first[:-1]) if first.endswith(b"\n") else {}
        except (OSError, ValueError):
            return {}

    def cut_torn_line(self) -> int:
        """Cut what follows the last newline; return the size of what stays. The header line always stays."""
        size = os.fstat(self.handle).st_size
        position = size
        while position > 0:
            start = max(0, position - HEAD)
            newline = os.pread(self.handle, position - start, start).rfind(b"\n")
            if newline >= 0:
                position = start + newline + 1
                break
            position = start
        if position < size:
            os.ftruncate(self.handle, position)
        return position

    def begin(self) -> None:
        """Begin an empty file with its header."""
        self.number += 1
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        if self.handle >= 0:
            os.close(self.handle)
        self.handle, self.size = handle, 0
        self.write(b"")

    def header_line(self) -> Line:
        """Return the first line of the file."""
        first = {"k": "file", "format": FORMAT, "version": VERSION, "number": self.number}
        first.update({"bound_bytes": self.bound, "at_bound": AT_BOUND})
        first.update(self.header)
        return first

    def fits(self, size: int) -> bool:
        """Return True if the present file has room for so many bytes."""
        return self.size + size <= self.bound // 2

    def turn(self) -> None:
        """Keep the present file as the earlier one and begin a new file."""
        os.rename(self.path, self.path + EARLIER)
        self.begin()

    def write(self, data: bytes) -> None:
        """Append whole lines; where the memory is full, take back what was written of them and raise OSError."""
        if not self.size:
            data = encode(self.header_line()) + data
        written = 0
        try:
            written = os.write(self.handle, data)
            if written != len(data):
                raise OSError("short write to " + self.path)
        except OSError:
            os.ftruncate(self.handle, self.size)
            raise
        self.size += written

    def close(self) -> None:
        """Close the file."""
        if self.handle >= 0:
            os.close(self.handle)
            self.handle = -1

    def __del__(self) -> None:
        """Close the file of a writer that nobody holds any more."""
        self.close()
