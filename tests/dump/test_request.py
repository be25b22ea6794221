"""The command line of a dump, against the stand-in and over TLS."""

import ssl
import subprocess
import threading
from pathlib import Path

import pytest
from requests.utils import DEFAULT_CA_BUNDLE_PATH

from hardwatt.bundle.reader import Bundle
from hardwatt.config.lab import open_lab
from hardwatt.core.errors import LabError, SettingsError
from hardwatt.dump import request
from hardwatt.dump.client import Client
from hardwatt.dump.errors import UnreachableError
from hardwatt.dump.request import DumpRequest
from hardwatt.instruments.node import CPU
from tests.dump.conftest import T0, Server


def asked(url: str, folder: Path, **more: object) -> DumpRequest:
    words = {
        "match": ["up"], "start": str(T0 / 1000), "end": str(T0 / 1000 + 60), "run": "", "bundle": "", "url": url,
        "token_file": "", "ca_file": "", "source": "rapl", "out": str(folder / "d"), "parallel": 2, "keep_raw": True,
    }  # fmt: skip
    return DumpRequest(**{**words, **more})  # type: ignore[arg-type]


def test_a_dump_by_its_address_with_a_token_file(prometheus: Server, tmp_path: Path) -> None:
    prometheus.add({"__name__": "up"}, T0, 1000, ["1"] * 61)
    (tmp_path / "token").write_text("sesame\n")
    folder = request.dump(open_lab(), asked(prometheus.url, tmp_path, token_file=str(tmp_path / "token")))
    assert Bundle.open(folder).samples("up").collect().height == 61
    assert {seen.get("Authorization") for seen in prometheus.headers_seen} == {"Bearer sesame"}
    stored = b"".join(file.read_bytes() for file in folder.rglob("*") if file.is_file())
    assert b"sesame" not in stored


def test_a_dump_of_all_says_how_the_instruments_agree(
    prometheus: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prometheus.add({"__name__": CPU, "job": "meter"}, T0, 1000, [str(at / 2) for at in range(61)])
    request.dump(open_lab(), asked(prometheus.url, tmp_path, match=[]))
    told = capsys.readouterr()
    assert "longest silence between two scrapes: 1 s; asked for at most 2.5: holds" in told.out + told.err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"start": ""}, "from when on"),
        ({"run": "r1"}, "--run needs --bundle"),
        ({"source": "fake"}, "rapl or modelled"),
        ({"parallel": 0}, "at least 1"),
        ({"ca_file": "/nowhere/ca.pem"}, "no file"),
        ({"token_file": "/nowhere/token"}, "cannot be read"),
    ],
)
def test_what_cannot_be_meant_is_told(tmp_path: Path, more: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        request.dump(open_lab(), asked("http://127.0.0.1:9", tmp_path, **more))


def test_a_certificate_is_checked_against_the_given_authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The given one, not the one that the environment names."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", DEFAULT_CA_BUNDLE_PATH)
    key, certificate = tmp_path / "key.pem", tmp_path / "ca.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-keyout", key, "-out", certificate, "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"],
        check=True, capture_output=True,
    )  # fmt: skip
    server = Server()
    server.add({"__name__": "up"}, T0, 1000, ["1"] * 61)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    url = f"https://localhost:{server.server_address[1]}"
    try:
        folder = request.dump(open_lab(), asked(url, tmp_path, ca_file=str(certificate)))
        assert Bundle.open(folder).samples("up").collect().height == 61
        with Client(url, retries=0) as stranger, pytest.raises(UnreachableError, match="certificate verify failed"):
            stranger.query("1")
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def test_without_an_address_it_is_the_labs_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARDWATT_LAB", "no-such-lab")
    with pytest.raises(LabError, match="the lab no-such-lab has no machine"):
        request.dump(open_lab(), asked("", tmp_path))
