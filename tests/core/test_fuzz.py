"""Readers of foreign files against damaged ones: an answer or an error of ours, and nothing is written outside.

Each case begins with a whole file and changes bytes, cuts, repeats or joins. ``make test`` tries a few hundred cases a
reader with one seed; the long test tries 20,000 with the seed that ``make test-long`` prints.
"""

import gzip
import io
import json
import os
import random
import resource
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from hardwatt.core import untrusted, untrusted_packed, untrusted_tar
from hardwatt.core.errors import LabError
from hardwatt.core.untrusted import Limits
from hardwatt.mirror import imports
from hardwatt.mirror.index import Index

FEW, MANY = 300, 20_000
SEED = int(os.environ.get("HARDWATT_KILL_SEED", "20261201"))
"""Of the long test."""
SMALL = Limits(members=100, total=1 << 20, grace=1 << 16, ratio=50, json=1 << 16)
MOST_MEMORY = 1 << 20
"""KiB of this process."""
Reader = Callable[[Path, Path], object]


def _tar() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in (("SHA256SUMS", b"x" * 600), ("a/" + "b" * 120, b"y"), ("c", b"")):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "../../outside"
        tar.addfile(link)
    return out.getvalue()


_ARTEFACT = {"name": "kubectl", "kind": "tool", "group": "node", "version": "1", "source": "built", "verified": "",
             "digest": f"sha256:{'0' * 64}", "path": "tools/kubectl", "key": "k", "size": 4}  # fmt: skip
_INDEX = json.dumps({"schema": 1, "artefacts": [_ARTEFACT, {**_ARTEFACT, "name": "crane"}]}).encode()
_ZSTD = (0xFD2FB528).to_bytes(4, "little") + b"\x20\x05" + (1 | 5 << 3).to_bytes(3, "little") + b"hello"


def _read_index(file: Path, folder: Path) -> object:
    folder.mkdir()
    (folder / "index.json").write_bytes(file.read_bytes())
    return Index.read(folder)


def _read_packed(file: Path, folder: Path) -> object:
    with untrusted_packed.Packed(file, SMALL) as packed:
        return sum(len(piece) for piece in packed.pieces())


READERS: dict[str, tuple[bytes, Reader]] = {
    "tar": (_tar(), lambda file, folder: untrusted_tar.unpack(file, folder, limits=SMALL)),
    "tar.gz": (gzip.compress(_tar(), mtime=0), lambda file, folder: untrusted_tar.unpack(file, folder, limits=SMALL)),
    "gzip": (gzip.compress(b"one line\n" * 900, mtime=0), _read_packed),
    "zstd": (_ZSTD * 3, lambda file, _: untrusted_packed.zstd_bound(file.read_bytes(), "x")),
    "JSON": (_INDEX, lambda file, _: untrusted.read_json(file, limits=SMALL)),
    "index": (_INDEX, _read_index),
    "sums": (b"".join(b"0" * 64 + b"  a/%d\n" % number for number in range(9)),
             lambda file, _: imports.read_sums(file.read_bytes())),
}  # fmt: skip


def damaged(chance: random.Random, whole: bytes) -> bytes:
    """Return a changed copy of a file; now and then the file itself."""
    data = bytearray(whole)
    for _ in range(chance.choice((0, 1, 1, 2, 8))):
        place = chance.randrange(len(data) + 1)
        kind = chance.randrange(5)
        if kind == 0:
            del data[place:]
        elif kind == 1:
            data[place:place] = data[place : place + chance.choice((1, 16, 512))]
        elif kind == 2:
            data[place : place + chance.choice((1, 8, 512))] = chance.randbytes(chance.choice((0, 1, 8)))
        elif kind == 3:
            data[place : place + 1] = chance.choice((b"\0", b"\xff", b"/", b"..", b"\n", b"9", b"\xed\xb3\xbf", b"{"))
        else:
            data += whole[: chance.choice((1, 100, len(whole)))]
    return bytes(data)


def attack(name: str, cases: int, seed: int, folder: Path) -> int:
    """Give a reader damaged files; return how many of them it refused."""
    whole, reader = READERS[name]
    chance, refused = random.Random(f"{seed} {name}"), 0
    for case in range(cases):
        place = folder / str(case)
        place.mkdir()
        (place / "file").write_bytes(damaged(chance, whole))
        try:
            reader(place / "file", place / "target")
        except LabError as error:
            refused += 1
            assert len(str(error)) < 2000
        except Exception as error:
            raise AssertionError(f"{name}, case {case} of seed {seed}") from error
        assert {path.name for path in place.iterdir()} <= {"file", "target"}
        assert not any(path.is_symlink() for path in place.rglob("*"))
        untouched = folder / "outside"
        assert not untouched.exists()
        _clear(place)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < MOST_MEMORY
    return refused


def _clear(place: Path) -> None:
    for path in sorted(place.rglob("*"), key=lambda path: -len(path.parts)):
        path.rmdir() if path.is_dir() else path.unlink()
    place.rmdir()


@pytest.mark.parametrize("name", READERS)
def test_a_damaged_file_ends_in_an_answer_or_an_error(name: str, tmp_path: Path) -> None:
    refused = attack(name, FEW, 1, tmp_path)
    assert FEW // 10 < refused <= FEW, "some are whole and most are not"


@pytest.mark.long
@pytest.mark.parametrize("name", READERS)
def test_many_damaged_files(name: str, tmp_path: Path) -> None:
    assert attack(name, MANY, SEED, tmp_path)
