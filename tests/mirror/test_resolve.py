"""Resolving the lock against a stand-in for upstream and for a registry."""

import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from hardwatt.config import versions
from hardwatt.core.errors import LabError
from hardwatt.mirror.download import Upstream
from hardwatt.mirror.resolve import resolve
from tests.mirror.standin import Standin, serving

A, B, C = "a" * 64, "b" * 64, "c" * 64
TEXT = """\
schema = 1
go = "1.2.3"
revision = 1

[source.one]
version = "1.0.0"     # a comment that stays
kind = "file"
family = "one"
url = "https://example.org/{version}/{arch}/one"
sums = "{url}.sha256"
binaries = { one = "" }
sha256 = "unresolved"

[source.two]
version = "2.0.0"
kind = "archive"
family = "two"
url = "https://example.org/two_{arch}.tgz"
sums = "https://example.org/checksums.txt"
binaries = { two = "two" }
sha256 = "unresolved"

[image.one]
group = "node"
source = "one"
repository = "registry.example.org/one"
tag = "v{version}"
upstream = "v1.0.0"
digest = "unresolved"

[foreign.three]
repository = "registry.example.org/three"
tag = "unresolved"
digest = "unresolved"
"""


@pytest.fixture
def standin() -> Iterator[Standin]:
    with serving() as running:
        running.files["/example.org/1.0.0/amd64/one.sha256"] = f"{A}\n".encode()
        running.files["/example.org/1.0.0/arm64/one.sha256"] = f"{B}  one\n".encode()
        running.files["/example.org/checksums.txt"] = (
            f"{C}  other.tgz\n{A}  two_amd64.tgz\n{B} *two_arm64.tgz\n".encode()
        )
        yield running


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "versions.lock.toml").write_text(TEXT)
    return tmp_path / "versions.lock.toml"


def test_published_sums_are_written_with_their_place(standin: Standin, path: Path) -> None:
    assert resolve(path, upstream=Upstream(standin.base), today="2026-12-01") == ["one", "two"]
    lock = versions.load(path)
    assert lock.sources["one"].sha256 == {"amd64": A, "arm64": B}
    assert lock.sources["two"].sha256 == {"amd64": A, "arm64": B}
    assert lock.sources["one"].place.startswith("https://example.org/1.0.0/amd64/one.sha256, read on 2026-12-01")
    assert "# a comment that stays" in path.read_text()
    assert resolve(path, upstream=Upstream(standin.base)) == []


def test_what_upstream_does_not_list_stays_unresolved(
    standin: Standin, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    standin.files["/example.org/checksums.txt"] = f"{C}  other.tgz\n".encode()
    assert resolve(path, upstream=Upstream(standin.base)) == ["one"]
    assert versions.load(path).sources["two"].sha256 == {}
    assert "two stays unresolved" in capsys.readouterr().err


def test_digests_come_from_the_registry(standin: Standin, path: Path) -> None:
    asked: list[str] = []

    def digest(reference: str) -> str:
        asked.append(reference)
        return f"sha256:{A}"

    resolve(path, upstream=Upstream(standin.base), digest=digest)
    assert asked == ["registry.example.org/one:v1.0.0"]  # a tag that nobody named is not asked for
    data = tomllib.loads(path.read_text())
    assert data["image"]["one"]["digest"] == f"sha256:{A}"
    assert data["foreign"]["three"]["digest"] == "unresolved"


def test_without_a_network_the_lock_stays(path: Path) -> None:
    with pytest.raises(LabError, match="upstream is not reachable") as caught:
        resolve(path, upstream=Upstream("http://127.0.0.1:1"))
    assert "connected machine" in caught.value.hint
    assert path.read_text() == TEXT
