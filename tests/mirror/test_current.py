"""Artefacts of the mirror count as they were recorded, and what the lock says of its sums is how they were read."""

import dataclasses
import hashlib
import http.client
from pathlib import Path
from types import SimpleNamespace

import pytest

from hardwatt.mirror import download, resolve
from hardwatt.mirror.download import DownloadError, Upstream
from hardwatt.mirror.index import Artefact
from hardwatt.mirror.plan import Job, is_current

CONTENT = b"the whole program"
JOB = Job("tool", "kubectl", "node", "kubernetes", "kubectl", "1", "key")


def artefact(**changed: object) -> Artefact:
    digest = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
    whole = Artefact("kubectl", "tool", "node", "1", "built", "", digest, "tools/kubectl", "key", len(CONTENT))
    return dataclasses.replace(whole, **changed)  # type: ignore[arg-type]


@pytest.mark.parametrize("source", ["built", "downloaded", "imported"])
@pytest.mark.parametrize(
    ("content", "size", "current"),
    [
        (CONTENT, len(CONTENT), True),
        (CONTENT, 0, True),  # an index of an older version has no sizes
        (CONTENT[:4], len(CONTENT), False),
        (CONTENT[:4], 0, False),
        (b"", len(CONTENT), False),
        (b"", 0, False),
        (CONTENT + b"\0", len(CONTENT), False),
    ],
)
def test_a_cut_off_tool_is_made_again(tmp_path: Path, content: bytes, size: int, current: bool, source: str) -> None:
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools/kubectl").write_bytes(content)
    assert is_current(JOB, artefact(size=size, source=source), tmp_path) is current


@pytest.mark.parametrize(
    ("base", "said"),
    [
        ("", "read on 2026-12-01 over HTTPS"),
        ("https://proxy.example.org/up", "read on 2026-12-01 from proxy.example.org over HTTPS"),
        ("http://proxy.example.org:8080", "read on 2026-12-01 from proxy.example.org:8080 over HTTP"),
        ("http://192.0.2.1", "read on 2026-12-01 from 192.0.2.1 over HTTP"),
    ],
)
def test_the_lock_says_how_a_sum_was_read(base: str, said: str) -> None:
    address = "https://dl.k8s.io/v1/kubectl.sha256"
    assert resolve._place(address, Upstream(base), "2026-12-01") == f"{address}, {said}"


def test_a_sum_over_https_that_was_read_over_http_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = SimpleNamespace(geturl=lambda: "http://192.0.2.1/sum", close=lambda: None, spec=http.client.HTTPResponse)
    monkeypatch.setattr("urllib.request.urlopen", lambda request, timeout: answer)
    with pytest.raises(DownloadError, match="not encrypted"):
        download.read("https://dl.k8s.io/sum")
