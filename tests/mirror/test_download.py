"""Downloads against a stand-in for upstream on loopback."""

import hashlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from hardwatt.core.errors import VerifyError
from hardwatt.mirror.download import DownloadError, Upstream, fetch
from tests.mirror.standin import Standin, serving

URL = "https://dl.example.org/release/v1/tool"
PATH = "/dl.example.org/release/v1/tool"
BODY = bytes(range(256)) * 5000
SUM = hashlib.sha256(BODY).hexdigest()


@pytest.fixture
def standin() -> Iterator[Standin]:
    with serving() as running:
        running.files[PATH] = BODY
        yield running


def test_right_file_is_installed_once(standin: Standin, tmp_path: Path) -> None:
    target = tmp_path / "a" / "tool"
    upstream = Upstream(standin.base)
    assert fetch(URL, target, SUM, upstream=upstream)
    assert target.read_bytes() == BODY
    assert not fetch(URL, target, SUM, upstream=upstream)
    assert len(standin.asked) == 1
    assert [path.name for path in target.parent.iterdir()] == ["tool"]


def test_wrong_checksum_is_deleted(standin: Standin, tmp_path: Path) -> None:
    standin.files[PATH] = BODY + b"x"
    with pytest.raises(VerifyError, match="deleted") as caught:
        fetch(URL, tmp_path / "tool", SUM, upstream=Upstream(standin.base))
    assert SUM in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_wrong_checksum_keeps_the_right_file_away_from_a_name_that_held_another(
    standin: Standin, tmp_path: Path
) -> None:
    (tmp_path / "tool").write_bytes(b"older")
    assert fetch(URL, tmp_path / "tool", SUM, upstream=Upstream(standin.base))
    assert (tmp_path / "tool").read_bytes() == BODY


def test_truncated_body_is_resumed_by_range(standin: Standin, tmp_path: Path) -> None:
    standin.cut[PATH] = 700_000
    target = tmp_path / "tool"
    with pytest.raises(DownloadError, match="580000 bytes are missing"):
        fetch(URL, target, SUM, upstream=Upstream(standin.base))
    assert not target.exists()
    assert fetch(URL, target, SUM, upstream=Upstream(standin.base))
    assert target.read_bytes() == BODY
    assert standin.asked[-1][2] == "bytes=700000-"


def test_a_wrong_half_is_fetched_anew(standin: Standin, tmp_path: Path) -> None:
    (tmp_path / "tool.part").write_bytes(b"not the beginning")
    assert fetch(URL, tmp_path / "tool", SUM, upstream=Upstream(standin.base))
    assert (tmp_path / "tool").read_bytes() == BODY


def test_a_server_without_ranges_sends_all(standin: Standin, tmp_path: Path) -> None:
    standin.no_ranges = True
    (tmp_path / "tool.part").write_bytes(BODY[:1000])
    assert fetch(URL, tmp_path / "tool", SUM, upstream=Upstream(standin.base))
    assert (tmp_path / "tool").read_bytes() == BODY


def test_a_complete_part_is_only_renamed(standin: Standin, tmp_path: Path) -> None:
    (tmp_path / "tool.part").write_bytes(BODY)
    assert fetch(URL, tmp_path / "tool", SUM, upstream=Upstream(standin.base))
    assert (tmp_path / "tool").read_bytes() == BODY


def test_missing_file_names_the_address(standin: Standin, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="answered 404"):
        fetch(URL + "x", tmp_path / "tool", SUM, upstream=Upstream(standin.base))


def test_slow_server_is_given_up(standin: Standin, tmp_path: Path) -> None:
    standin.slow.add(PATH)
    with pytest.raises(DownloadError, match="stopped sending"):
        fetch(URL, tmp_path / "tool", SUM, upstream=Upstream(standin.base, seconds=0.2))


def test_probe_says_whether_upstream_answers(standin: Standin) -> None:
    assert Upstream(standin.base).reachable(URL) == ""
    # Any answer of upstream's own counts, also for a path that it does not have.
    assert Upstream(standin.base).reachable(URL + "x") == ""
    with socket.socket() as taken:  # bound and not listening: refused at once
        taken.bind(("127.0.0.1", 0))
        why = Upstream(f"http://127.0.0.1:{taken.getsockname()[1]}").reachable(URL)
    assert "refused" in why


def test_probe_does_not_wait_for_a_host_that_keeps_silent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        why = Upstream(f"http://127.0.0.1:{silent.getsockname()[1]}").reachable(URL, seconds=0.2)
    assert why
