"""Verified downloads: a file is under its name only when its checksum was the declared one."""

import contextlib
import dataclasses
import http.client
import os
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from hardwatt.core import files
from hardwatt.core.errors import LabError, VerifyError

_PIECE = 1 << 20
CONNECT_SECONDS = 15.0
"""No byte for this long: the download is given up (what came is kept, and resumed)."""
PROBE_SECONDS = 4.0
_RETRY = "run the same command again: what came is kept, and the rest is fetched"


class DownloadError(LabError):
    """A file could not be fetched; nothing wrong is left behind."""


@dataclasses.dataclass(frozen=True)
class Upstream:
    """Addresses and limits of the requests to upstream."""

    base: str = ""
    """Base URL that stands in for upstream's hosts: ``https://HOST/PATH`` becomes ``BASE/HOST/PATH``."""
    seconds: float = CONNECT_SECONDS

    def address(self, url: str) -> str:
        """Return the address to ask for upstream's ``url``."""
        if not self.base:
            return url
        parts = urlsplit(url)
        query = f"?{parts.query}" if parts.query else ""
        return f"{self.base.rstrip('/')}/{parts.netloc}{parts.path}{query}"

    def reachable(self, url: str, *, seconds: float = PROBE_SECONDS) -> str:
        """Ask once whether upstream answers at all; return "" or why not.

        Any HTTP answer counts. The name look-up may block for long, so the question is asked in a
        thread that is left behind when its time is over.
        """
        answers: list[str] = []
        address = self.address(url)

        def ask() -> None:
            try:
                with _open(_request(address, method="HEAD"), seconds):
                    answers.append("")
            except urllib.error.HTTPError as error:
                # A proxy that may not let us through answers too, in upstream's place.
                answers.append("" if error.code in (403, 404, 405) and _own_answer(error) else str(error))
            except (OSError, http.client.HTTPException) as error:
                answers.append(_reason(error))

        thread = threading.Thread(target=ask, daemon=True)
        thread.start()
        thread.join(seconds)
        host = urlsplit(address).netloc
        if not answers:
            return f"{host} did not answer within {seconds:.0f} s"
        return f"{host}: {answers[0]}" if answers[0] else ""


def _own_answer(error: urllib.error.HTTPError) -> bool:
    """Return whether a refusal comes from the host that we asked, not from a proxy before it."""
    return "proxy-authenticate" not in error.headers and not urllib.request.getproxies()


def _request(address: str, *, method: str = "GET", start: int = 0) -> urllib.request.Request:
    if urlsplit(address).scheme not in ("http", "https"):
        raise DownloadError(f"{address} is not an http or https address", hint="mend mirror.upstream in lab.toml")
    headers = {"Range": f"bytes={start}-"} if start else {}
    return urllib.request.Request(address, method=method, headers=headers)  # noqa: S310 (checked above)


def _open(request: urllib.request.Request, seconds: float) -> http.client.HTTPResponse:
    response: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=seconds)  # noqa: S310 (_request)
    if request.type == "https" and urlsplit(response.geturl()).scheme != "https":
        response.close()
        raise DownloadError(f"{request.full_url} leads to {response.geturl()}, which is not encrypted",
                            hint="find out who answers at that address")  # fmt: skip
    return response


def _reason(error: BaseException) -> str:
    reason = getattr(error, "reason", None)
    return str(reason or error) or type(error).__name__


def fetch(url: str, target: Path, sha256: str, *, upstream: Upstream = Upstream()) -> bool:
    """Bring upstream's ``url`` to ``target``, verified; return whether anything was fetched.

    The bytes go to ``TARGET.part`` first; a later call resumes there. Only when the whole file has
    the sum ``sha256`` (hexadecimal) is it synced and renamed, so ``target`` is never a wrong file.

    Raises ``VerifyError`` where the sum differs (the file is then deleted), ``DownloadError``
    where it cannot be fetched.
    """
    if target.exists() and files.sha256(target) == sha256:
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    resumed = part.exists()
    address = upstream.address(url)
    _bring(address, part, upstream.seconds)
    checksum = files.sha256(part)
    if checksum != sha256 and resumed:
        # What an earlier run left may be the wrong half: once more, from the first byte.
        part.unlink()
        _bring(address, part, upstream.seconds)
        checksum = files.sha256(part)
    if checksum != sha256:
        part.unlink()
        raise VerifyError(f"{address} has SHA-256 {checksum}, but the lock says {sha256}; it was deleted",
                          hint="invoke mirror.fill in mode build makes it here instead")  # fmt: skip
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.replace(target)
    files.sync_folder(target.parent)
    return True


def read(url: str, *, upstream: Upstream = Upstream(), limit: int = 1 << 20) -> bytes:
    """Return the content of a small file of upstream's. Raises ``DownloadError``."""
    address = upstream.address(url)
    with _failures(address), _open(_request(address), upstream.seconds) as response:
        return response.read(limit)


def _bring(address: str, part: Path, seconds: float) -> None:
    """Fetch ``address`` into ``part``, from the byte on that is missing."""
    have = part.stat().st_size if part.exists() else 0
    request = _request(address, start=have)
    with _failures(address):
        try:
            response = _open(request, seconds)
        except urllib.error.HTTPError as error:
            if error.code == 416 and have:  # nothing is missing
                return
            raise
        with response:
            _copy(response, part, append=have > 0 and response.status == 206)


def _copy(response: http.client.HTTPResponse, part: Path, *, append: bool) -> None:
    with part.open("ab" if append else "wb") as file:
        missing = response.length
        while piece := response.read(_PIECE):
            file.write(piece)
            if missing is not None:
                missing -= len(piece)
        # With a piece size given, http.client ends silently at a connection that broke.
        if missing:
            raise http.client.IncompleteRead(b"", missing)


@contextlib.contextmanager
def _failures(address: str) -> Iterator[None]:
    """Turn what the network does into one clear error."""
    try:
        yield
    except urllib.error.HTTPError as error:
        raise DownloadError(f"{address} answered {error.code} {error.reason}", hint=_RETRY) from None
    except TimeoutError:
        raise DownloadError(f"{address} stopped sending", hint=_RETRY) from None
    except http.client.IncompleteRead as error:
        raise DownloadError(f"{address} broke off, {error.expected} bytes are missing", hint=_RETRY) from None
    except (urllib.error.URLError, ConnectionError, http.client.HTTPException) as error:
        raise DownloadError(f"{address} cannot be fetched: {_reason(error)}", hint=_RETRY) from None
