"""Tar archives, folders and JSON of strangers: what is refused, and that nothing is written outside."""

import gzip
import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from hardwatt.core.errors import LabError, VerifyError
from hardwatt.core.untrusted import Limits, files_in, inside, parts, read_json, show, take
from hardwatt.core.untrusted_tar import unpack

Member = tuple[str, bytes, dict[str, object]]


def member(name: str, data: bytes = b"x", **fields: object) -> Member:
    return name, data, fields


def link(name: str, to: str, kind: bytes = tarfile.SYMTYPE) -> Member:
    return member(name, b"", type=kind, linkname=to)


def tar(path: Path, *members: Member, form: int = tarfile.PAX_FORMAT) -> Path:
    with tarfile.open(path, "w", format=form, errors="surrogateescape") as archive:
        for name, data, fields in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            for key, value in fields.items():
                setattr(info, key, value)
            archive.addfile(info, io.BytesIO(data))
    return path


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def inside_of(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


CHAIN = [
    member("d", b"", type=tarfile.DIRTYPE),
    link("a", "d"),
    link("b", "a/.."),
    link("c", "b/.."),
    member("c/outside.txt"),
]
"""A chain of links of the kind that ``tarfile``'s data filter passed."""

LONG_CHAIN = [
    *(member("/".join(["d" * 200] * n), b"", type=tarfile.DIRTYPE) for n in range(1, 6)),
    link("/".join(["d" * 200] * 5) + "/up", "/".join([".."] * 5)),
    link("escape", "/".join(["d" * 200] * 5) + "/up/.."),
    member("escape/outside.txt"),
]

HOSTILE: dict[str, tuple[list[Member], str]] = {
    "an absolute name": ([member("/outside.txt")], "is absolute"),
    "parents": ([member("../outside.txt")], "does not stay below"),
    "parents inside": ([member("a/../../outside.txt")], "does not stay below"),
    "a folder of parents": ([member("..", b"", type=tarfile.DIRTYPE)], "does not stay below"),
    "an empty part": ([member("a//b")], "does not stay below"),
    "a dot": ([member("a/./b")], "does not stay below"),
    "the top as a file": ([member(".")], "does not stay below"),
    "a backslash": ([member("..\\outside.txt")], "Windows"),
    "a drive": ([member("C:outside.txt")], "Windows"),
    "a newline": ([member("a\nb")], "control characters"),
    "an escape": ([member("\x1b[2Jx")], "control characters"),
    "a C1 escape": ([member("\x9b2Jx")], "control characters"),
    "a mark of direction": ([member("a\u202egpj.exe")], "control characters"),
    "a long name": ([member("a" * 300)], "too long"),
    "a long path": ([member("/".join(["a" * 100] * 20))], "too long"),
    "a symbolic link": ([link("a", "b")], "a symbolic link"),
    "a link out": ([link("a", "/etc"), member("a/passwd")], "a symbolic link"),
    "a hard link": ([member("b"), link("a", "b", tarfile.LNKTYPE)], "a hard link"),
    "a chain of links": (CHAIN, "a symbolic link"),
    "a long chain of links": (LONG_CHAIN, "a symbolic link"),
    "a character device": ([member("a", b"", type=tarfile.CHRTYPE, devmajor=1, devminor=3)], "a device"),
    "a block device": ([member("a", b"", type=tarfile.BLKTYPE)], "a device"),
    "a pipe": ([member("a", b"", type=tarfile.FIFOTYPE)], "a pipe"),
    "an unknown type": ([member("a", type=b"Z")], "of an unknown type"),
    "a contiguous file": ([member("a", type=b"7")], "of an unknown type"),
    "setuid": ([member("a", mode=0o4755)], "changes its user"),
    "setgid": ([member("a", mode=0o2755)], "changes its user"),
    "a name twice": ([member("a"), member("a", b"other")], "twice"),
    "a name twice, spelt otherwise": ([member("a"), member("./a", b"other")], "twice"),
    "letters of another case": ([member("Data/a"), member("data/a")], "twice or beside"),
    "sharp s": ([member("straße"), member("STRASSE")], "twice or beside"),
    "other code points": ([member("caf\u00e9"), member("cafe\u0301")], "twice or beside"),
    "a file that is a folder": ([member("a"), member("a/b")], "twice or beside"),
    "a folder that is a file": ([member("a/b"), member("a")], "twice or beside"),
    "a sparse file": ([member("a", pax_headers={"GNU.sparse.major": "1", "GNU.sparse.name": "b"})], "GNU.sparse"),
    "a size that lies": ([member("a", b"x" * 600, pax_headers={"size": "100"})], "sizes"),
    "a size below zero": ([member("a", pax_headers={"size": "-1"})], "a wrong one"),
    "a size in words": ([member("a", pax_headers={"size": "1e3"})], "a wrong one"),
    "a link in a header": ([member("a", pax_headers={"linkpath": "/etc"})], "linkpath"),
    "another character set": ([member("a", pax_headers={"hdrcharset": "BINARY"})], "hdrcharset"),
    "a large header": ([member("a", pax_headers={"comment": "x" * 100_000})], "extended header"),
}  # fmt: skip


@pytest.mark.parametrize("packed", [False, True], ids=["tar", "tar.gz"])
@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_tar_is_refused_and_writes_nothing_outside(tmp_path: Path, case: str, packed: bool) -> None:
    members, said = HOSTILE[case]
    archive = tar(tmp_path / "x.tar", *members)
    if packed:
        archive.write_bytes(gzip.compress(archive.read_bytes(), mtime=0))
    with pytest.raises(VerifyError, match=said) as caught:
        unpack(archive, tmp_path / "deep" / "in")
    assert inside_of(tmp_path) == {"x.tar", "deep"} and inside_of(tmp_path / "deep") == {"in"}
    assert not [p for p in (tmp_path / "deep").rglob("*") if p.is_symlink() or p.lstat().st_mode & 0o7000]
    assert all(c.isprintable() or c == "\n" for c in str(caught.value))
    assert caught.value.hint


def test_a_name_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    archive = tar(tmp_path / "x.tar", member("a\udcff"), form=tarfile.GNU_FORMAT)
    with pytest.raises(VerifyError, match="not UTF-8"):
        unpack(archive, tmp_path / "in")


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("packed", [False, True])
def test_an_honest_tar_is_unpacked_with_modes_of_ours(tmp_path: Path, form: int, packed: bool) -> None:
    deep = "/".join(["folder-" + "n" * 50] * 3) + "/file"
    archive = tar(
        tmp_path / "x.tar",
        member("./", b"", type=tarfile.DIRTYPE),
        member("sub", b"", type=tarfile.DIRTYPE, mode=0o2777),
        member("sub/a", b"a" * 5000, mode=0o777, uid=1, gid=1),
        member("./b", b""),
        member(deep, b"deep"),
        form=form,
    )
    if packed:
        archive.write_bytes(gzip.compress(archive.read_bytes(), mtime=0))
    unpack(archive, tmp_path / "in")
    assert tree(tmp_path / "in") == {"sub/a": b"a" * 5000, "b": b"", deep: b"deep"}
    assert {p.stat().st_mode & 0o7777 for p in (tmp_path / "in").rglob("*") if p.is_file()} == {0o644}
    assert not (tmp_path / "in" / "sub").stat().st_mode & 0o7022


def test_of_two_extended_headers_for_one_member_none_is_believed(tmp_path: Path) -> None:
    whole = tar(tmp_path / "x.tar", member("harmless", pax_headers={"path": "first"})).read_bytes()
    (tmp_path / "x.tar").write_bytes(whole[:1024] + whole)
    with pytest.raises(VerifyError, match="two names"):
        unpack(tmp_path / "x.tar", tmp_path / "in")


def test_a_header_for_all_members_cannot_name_them(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w", pax_headers={"path": "all"}) as archive:
        archive.addfile(tarfile.TarInfo("a"))
    with pytest.raises(VerifyError, match="all its members"):
        unpack(tmp_path / "x.tar", tmp_path / "in")


def test_limits_are_checked_before_the_bytes_are_read(tmp_path: Path) -> None:
    many = tar(tmp_path / "many.tar", *(member(f"{n}") for n in range(11)))
    with pytest.raises(VerifyError, match="more than 10 members"):
        unpack(many, tmp_path / "1", limits=Limits(members=10))
    large = tar(tmp_path / "large.tar", member("a", b"x" * 9000))
    with pytest.raises(VerifyError, match="more than 5000 bytes"):
        unpack(large, tmp_path / "2", limits=Limits(total=5000))
    assert tree(tmp_path / "2") == {}
    bomb = tmp_path / "bomb.tar.gz"
    bomb.write_bytes(gzip.compress(tar(tmp_path / "b.tar", member("a", bytes(3_000_000))).read_bytes()))
    with pytest.raises(VerifyError, match="unpacks to more than"):
        unpack(bomb, tmp_path / "3", limits=Limits(ratio=10, grace=100_000))
    assert tree(tmp_path / "3") == {}


def test_a_size_that_no_disk_has_is_refused_before_reading(tmp_path: Path) -> None:
    info = tarfile.TarInfo("a")
    info.size = 7 << 30
    (tmp_path / "x.tar").write_bytes(info.tobuf() + bytes(1024))
    with pytest.raises(VerifyError, match="cut off"):
        unpack(tmp_path / "x.tar", tmp_path / "in", limits=Limits(total=1 << 50))
    info.size = 1 << 60
    (tmp_path / "y.tar").write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    with pytest.raises(LabError, match="is full"):
        unpack(tmp_path / "y.tar", tmp_path / "in2", limits=Limits(total=1 << 61))
    info.size = -512  # a reader that goes back by it never ends
    (tmp_path / "z.tar").write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    with pytest.raises(VerifyError, match="sizes"):
        unpack(tmp_path / "z.tar", tmp_path / "in3")


@pytest.mark.parametrize(
    ("start", "kind"),
    [(b"\xfd7zXZ\0", "xz"), (b"BZh9", "bzip2"), (b"\x28\xb5\x2f\xfd", "zstd"), (b"PK\x03\x04", "zip")],
)
def test_another_compression_is_named(tmp_path: Path, start: bytes, kind: str) -> None:
    (tmp_path / "x").write_bytes(start + bytes(2000))
    with pytest.raises(VerifyError, match=f"packed with {kind}"):
        unpack(tmp_path / "x", tmp_path / "in")


def damaged(data: bytes) -> list[bytes]:
    """Return ``data`` cut at many places, and with bytes of its headers changed; the same list each time."""
    cuts = [data[:n] for n in range(0, len(data), 397)]
    changed = [
        data[:at] + bytes([(data[at] + by) % 256]) + data[at + 1 :]
        for at in range(0, min(len(data), 2048), 13)
        for by in (1, 208)
    ]
    return cuts + changed


@pytest.mark.parametrize("pack", [bytes, lambda data: gzip.compress(data, mtime=0)], ids=["tar", "tar.gz"])
def test_a_damaged_tar_ends_with_an_error_or_inside_its_folder(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    long = "n" * 120 + "/file"
    whole = pack(tar(tmp_path / "x.tar", member("a"), member(long, b"y" * 700), member("c/d")).read_bytes())
    refused, number = 0, 0
    for number, data in enumerate(damaged(whole)):
        (tmp_path / "x.tar").write_bytes(data)
        try:
            unpack(tmp_path / "x.tar", tmp_path / "deep" / f"{number}")
        except LabError:
            refused += 1
    assert inside_of(tmp_path) == {"x.tar", "deep"}
    assert inside_of(tmp_path / "deep") <= {str(n) for n in range(number + 1)}
    assert refused > number / 2


def test_a_foreign_folder_is_read_without_following_links(tmp_path: Path) -> None:
    (tmp_path / "in" / "sub").mkdir(parents=True)
    (tmp_path / "in" / "sub" / "a").write_text("a")
    (tmp_path / "secret").write_text("secret")
    assert files_in(tmp_path / "in") == ["sub/a"]
    assert inside(tmp_path / "in", "sub/a").read_text() == "a"
    for name in ("../secret", "sub", "nothing", "", None, 3, ["sub/a"], str(tmp_path / "secret")):
        with pytest.raises(VerifyError):
            inside(tmp_path / "in", name)
    (tmp_path / "in" / "file").symlink_to(tmp_path / "secret")
    (tmp_path / "in" / "folder").symlink_to(tmp_path)
    for name in ("file", "folder/secret"):
        with pytest.raises(VerifyError, match="a link or not a regular file"):
            inside(tmp_path / "in", name)
    with pytest.raises(VerifyError, match="a link"):
        files_in(tmp_path / "in")
    with pytest.raises(VerifyError, match="cannot be read"):
        take(tmp_path / "in" / "file", tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(VerifyError, match="not a regular file"):
        read_json(tmp_path / "pipe")


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"\xff", b"[" * 100_000, b'{"a": 1, "a": 2}', b"1" * 5000, b'"\\ud800', b" " * 2000 + b"1"],
    ids=["empty", "cut", "not UTF-8", "nested", "a key twice", "a long number", "cut in a word", "large"],
)
def test_json_that_cannot_be_read_is_one_error(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.json").write_bytes(data)
    with pytest.raises(VerifyError, match=r"x\.json"):
        read_json(
            tmp_path / "x.json", limits=Limits(json=150_000 if len(data) > 50_000 else 1999 if b" " in data else 9999)
        )


def test_a_foreign_value_is_shown_short_and_without_control_characters() -> None:
    assert show("\x1b[31m\x9b\n\u202e").isprintable()
    assert len(show("x" * 10_000)) < 300
    assert parts("./a/b") == ("a", "b")


def test_a_gzip_is_read_to_its_end(tmp_path: Path) -> None:
    whole = gzip.compress(tar(tmp_path / "a.tar", member("a", b"x" * 700)).read_bytes(), mtime=0)
    wrong = [whole[:-8] + bytes([whole[-8] ^ 1]) + whole[-7:], whole[:-1] + bytes([whole[-1] ^ 1]), whole + b"more"]
    for number, data in enumerate([whole[:-1], whole[:-4], whole[:-7], whole[:-8], *wrong]):
        (tmp_path / "x.tar.gz").write_bytes(data)
        with pytest.raises(VerifyError, match="is damaged"):
            unpack(tmp_path / "x.tar.gz", tmp_path / f"{number}")
    (tmp_path / "x.tar.gz").write_bytes(whole)
    assert unpack(tmp_path / "x.tar.gz", tmp_path / "whole") == ["a"]


@pytest.mark.parametrize("packed", [False, True])
def test_data_after_the_end_of_a_tar_is_refused(tmp_path: Path, packed: bool) -> None:
    data = tar(tmp_path / "a.tar", member("a")).read_bytes()
    for number, after in enumerate((b"more", data)):
        (tmp_path / "x").write_bytes(gzip.compress(data + after, mtime=0) if packed else data + after)
        with pytest.raises(VerifyError, match="holds data after its end"):
            unpack(tmp_path / "x", tmp_path / f"{number}")
    (tmp_path / "x").write_bytes(gzip.compress(data + bytes(5000), mtime=0) if packed else data + bytes(5000))
    assert unpack(tmp_path / "x", tmp_path / "padded") == ["a"]
