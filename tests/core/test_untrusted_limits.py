"""Limits on what a small foreign file may become: raw answers, zstd, an archive's images, a table on a terminal."""

import gzip
import json
from pathlib import Path

import polars as pl
import pytest

from hardwatt.analysis.tables import decode
from hardwatt.bundle.reader import _bodies
from hardwatt.core.errors import LabError, VerifyError
from hardwatt.core.untrusted import Limits
from hardwatt.core.untrusted_packed import Packed, zstd_bound
from hardwatt.energy import query

SMALL = Limits(grace=1 << 16, ratio=20)
HEAD = {"url": "u", "status": 200, "at": 1.0, "seconds": 1.0}


def zstd(text: bytes, folder: Path) -> bytes:
    """Return ``text`` packed by polars, a line of text at a time."""
    path = folder / "t.zst"
    frame = pl.DataFrame({"line": text.decode().split("\n")})
    frame.write_csv(path, include_header=False, compression="zstd")
    return path.read_bytes()


@pytest.mark.parametrize("size", [1 << 17, 1 << 20, 1 << 23])
def test_a_small_file_that_unpacks_to_far_more_is_refused(tmp_path: Path, size: int) -> None:
    (tmp_path / "x.gz").write_bytes(gzip.compress(b"\n" * size))
    with Packed(tmp_path / "x.gz", SMALL) as packed, pytest.raises(VerifyError, match="unpacks to more than"):
        packed.stream().read()


def test_lines_and_bytes_of_a_packed_file_are_read_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "x.gz").write_bytes(gzip.compress(b"one\ntwo\nthree"))
    with Packed(tmp_path / "x.gz") as packed:
        stream = packed.stream()
        assert (stream.readline(), stream.read(2), stream.read()) == (b"one\n", b"tw", b"o\nthree")


@pytest.mark.parametrize("count", [-1, 1.5, "9", True, None])
def test_a_body_has_a_whole_number_of_bytes(tmp_path: Path, count: object) -> None:
    (tmp_path / "x.gz").write_bytes(gzip.compress(json.dumps({**HEAD, "bytes": count}).encode() + b"\nbody\n"))
    with Packed(tmp_path / "x.gz") as packed, pytest.raises(ValueError, match="bytes"):
        _bodies(packed.stream())


@pytest.mark.parametrize("cut", [5, 9, 30])
def test_a_cut_off_zstd_file_is_refused_before_it_is_unpacked(tmp_path: Path, cut: int) -> None:
    data = zstd(b"a,b\n1,2\n" * 40_000, tmp_path)
    assert zstd_bound(data, "x") >= 8 * 40_000 - 2
    with pytest.raises(VerifyError, match="not a whole zstd file"):
        zstd_bound(data[:cut], "x")


@pytest.mark.parametrize("blocks", [9000, 20_000])
def test_a_zstd_file_that_promises_more_than_memory_holds_is_refused(tmp_path: Path, blocks: int) -> None:
    repeated = (1 << 1 | (128 << 10) << 3).to_bytes(3, "little") + b"\0"
    last = (1 | 1 << 1 | 1 << 3).to_bytes(3, "little") + b"\0"
    data = (0xFD2FB528).to_bytes(4, "little") + b"\x00\x58" + repeated * blocks + last
    (tmp_path / "t.csv.zst").write_bytes(data)
    with pytest.raises(LabError, match="MiB of text"):
        decode._unpacked(tmp_path / "t.csv.zst")


def test_foreign_names_of_columns_drive_no_terminal() -> None:
    shown = query.table([{"a\x1b[2J": "b\x9b", "[red]x": "\u202e"}])
    assert shown.replace("\n", "").isprintable()
    assert "[red]x" in shown
