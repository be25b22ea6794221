"""A stand-in for GitHub: its API and git over HTTPS with a test authority, and git over SSH for deploy keys.

What it answers is what GitHub documents for these paths; anything else is a 404 and is remembered. git is real
(``git http-backend`` and ``git upload-pack``).
"""

import base64
import contextlib
import dataclasses
import datetime
import http.server
import ipaddress
import json
import os
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paramiko
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

OWNER, NAME, TOKEN = "ada", "lab", "ghp_standin0123456789"


def certificates(folder: Path, address: str) -> tuple[Path, Path]:
    """Return an authority's certificate, and certificate and key of a server ``localhost`` in one file."""
    made = {}
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address(address))]
    now = datetime.datetime.now(datetime.UTC)
    authority = ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
    for name in ("ca", "server"):
        key = authority if name == "ca" else ec.generate_private_key(ec.SECP256R1())
        subject = issuer if name == "ca" else x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=name == "ca", path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
        )
        signed = builder.sign(authority, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        made[name] = folder / f"{name}.pem"
        made[name].write_bytes(signed if name == "ca" else signed + private)
    return made["ca"], made["server"]


@dataclasses.dataclass
class StandIn:
    """One GitHub with one account, and what a test may change of it."""

    folder: Path
    address: str
    port: int = 0
    """HTTPS, for this machine alone."""
    cluster_port: int = 0
    """HTTPS, at ``address``."""
    ssh_port: int = 0
    ca: Path = Path()
    push: bool = True
    admin: bool = True
    down: bool = False
    writable: bool = True
    """Whether git itself takes a push: the API may say yes, and a protected branch no."""
    calls: list[str] = dataclasses.field(default_factory=list)
    keys: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    host_key: paramiko.RSAKey = dataclasses.field(default_factory=lambda: paramiko.RSAKey.generate(2048))

    @property
    def hostname(self) -> str:
        """An address with a port is not for flux (see ``Gitops.hostname``)."""
        return f"localhost:{self.port}"

    @property
    def ssh_hostname(self) -> str:
        return f"{self.address}:{self.ssh_port}"

    @property
    def url(self) -> str:
        return f"https://{self.address}:{self.cluster_port}/{OWNER}/{NAME}.git"

    @property
    def repository(self) -> Path:
        return self.folder / OWNER / f"{NAME}.git"

    def make(self) -> None:
        subprocess.run(["git", "init", "--quiet", "--bare", "--initial-branch=main", str(self.repository)], check=True)
        subprocess.run(["git", "-C", str(self.repository), "config", "http.receivepack", "true"], check=True)

    def told(self) -> dict[str, Any]:
        rights = {"pull": True, "push": self.push, "admin": self.admin}
        return {
            "id": 1, "name": NAME, "full_name": f"{OWNER}/{NAME}", "private": True, "visibility": "private",
            "default_branch": "main", "archived": False, "owner": {"login": OWNER}, "permissions": rights,
        }  # fmt: skip

    def api(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        """Answer one request; the token has been looked at."""
        match (method, path):
            case ("GET", "/meta"):
                return 200, {"ssh_keys": [f"ssh-rsa {self.host_key.get_base64()}"]}
            case ("GET", "/user"):
                return 200, {"login": OWNER}
            case ("POST", "/user/repos") if body["name"] == NAME:
                self.make()
                return 201, self.told()
            case ("GET", "/repos/ada/lab") if self.repository.exists():
                return 200, self.told()
            case ("GET", "/repos/ada/lab/keys"):
                return 200, self.keys
            case ("POST", "/repos/ada/lab/keys"):
                self.keys.append({"id": len(self.keys) + 1, **body})
                return 201, self.keys[-1]
            case ("DELETE", _) if path.startswith("/repos/ada/lab/keys/"):
                self.keys[:] = [key for key in self.keys if str(key["id"]) != path.rpartition("/")[2]]
                return 204, None
        return 404, {"message": "Not Found"}


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are two writes: else an answer may wait for an acknowledgement
    standin: StandIn

    def log_message(self, *_: object) -> None:
        return None

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _any(self) -> None:
        body, known = self._body(), self.standin
        path, _, query = self.path.partition("?")
        known.calls.append(f"{self.command} {path}")
        if known.down:
            self._answer(503, b"", {})
        elif path.startswith("/api/v3/"):
            given = self.headers.get("Authorization", "").partition(" ")[2]
            status, found = (
                known.api(self.command, path.removeprefix("/api/v3"), json.loads(body or b"null"))
                if given == TOKEN
                else (401, {"message": "Bad credentials"})
            )
            self._answer(
                status, b"" if found is None else json.dumps(found).encode(), {"Content-Type": "application/json"}
            )
        else:
            self._git(path, query, body)

    def _git(self, path: str, query: str, body: bytes) -> None:
        given = base64.b64decode(self.headers.get("Authorization", "").partition(" ")[2]).decode().partition(":")
        if given[2] != TOKEN:
            self._answer(401, b"", {"WWW-Authenticate": 'Basic realm="GitHub"'})
            return
        if "git-receive-pack" in path + query and not self.standin.writable:
            self._answer(403, b"Write access to repository not granted.", {"Content-Type": "text/plain"})
            return
        env = {
            "PATH": os.environ["PATH"], "GIT_PROJECT_ROOT": str(self.standin.folder), "GIT_HTTP_EXPORT_ALL": "1",
            "REQUEST_METHOD": self.command, "PATH_INFO": path, "QUERY_STRING": query, "REMOTE_USER": given[0],
            "CONTENT_TYPE": self.headers.get("Content-Type", ""), "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
        }  # fmt: skip
        done = subprocess.run(["git", "http-backend"], input=body, env=env, capture_output=True, check=True)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        self._answer(int(headers.pop("Status", "200").split()[0]), content, headers)

    do_GET = do_POST = do_DELETE = do_PATCH = _any  # noqa: N815 - http.server's names


class _DeployKeys(paramiko.ServerInterface):
    """Lets in whose key is a deploy key; serves git of the one repository and nothing else."""

    def __init__(self, standin: StandIn) -> None:
        self.standin = standin
        self.key: dict[str, Any] = {}

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        known = {one["key"].split()[1]: one for one in self.standin.keys}
        self.key = known.get(key.get_base64(), {})
        return paramiko.common.AUTH_SUCCESSFUL if self.key else paramiko.common.AUTH_FAILED

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return paramiko.common.OPEN_SUCCEEDED

    def check_channel_env_request(self, channel: paramiko.Channel, name: bytes, value: bytes) -> bool:
        return True

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        verb, _, path = command.decode().partition(" ")
        allowed = ["git-upload-pack"] if self.key["read_only"] else ["git-upload-pack", "git-receive-pack"]
        if verb not in allowed or path.strip("'/").removesuffix(".git") != f"{OWNER}/{NAME}":
            return False
        threading.Thread(target=_serve, args=(channel, verb, self.standin.repository), daemon=True).start()
        return True


def _serve(channel: paramiko.Channel, verb: str, repository: Path) -> None:
    argv = ["git", verb.removeprefix("git-"), str(repository)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as process:
        assert process.stdin and process.stdout
        feeder = threading.Thread(target=_feed, args=(channel, process.stdin), daemon=True)
        feeder.start()
        # A client that has what it needs goes away in the middle.
        with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
            while data := process.stdout.read(1 << 15):
                channel.sendall(data)
            channel.send_exit_status(process.wait())
        with contextlib.suppress(OSError, EOFError, paramiko.SSHException):  # it tells the client, who may be gone
            channel.close()
        feeder.join()


def _feed(channel: paramiko.Channel, pipe: Any) -> None:
    with contextlib.suppress(OSError), pipe:  # either end may be gone
        while data := channel.recv(1 << 15):
            pipe.write(data)


def _ssh(standin: StandIn, listener: socket.socket) -> None:
    with contextlib.suppress(OSError):  # closed at the end
        while True:
            connection, _ = listener.accept()
            transport = paramiko.Transport(connection)
            transport.add_server_key(standin.host_key)
            # a client that only looks at the host key goes away in the middle
            with contextlib.suppress(paramiko.SSHException, EOFError, OSError):
                transport.start_server(event=threading.Event(), server=_DeployKeys(standin))


@contextlib.contextmanager
def served(folder: Path, address: str) -> Iterator[StandIn]:
    """Serve a GitHub to this machine over HTTPS, and at ``address`` over SSH, on free ports."""
    standin = StandIn(folder / "repositories", address)
    standin.ca, server_pem = certificates(folder, address)
    handler = type("Handler", (_Handler,), {"standin": standin})
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server_pem)
    servers = [http.server.ThreadingHTTPServer((host, 0), handler) for host in ("127.0.0.1", address)]
    for server in servers:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    listener = socket.create_server((address, 0))
    standin.port, standin.cluster_port = (server.server_address[1] for server in servers)
    standin.ssh_port = listener.getsockname()[1]
    for server in servers:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    threading.Thread(target=_ssh, args=(standin, listener), daemon=True).start()
    try:
        yield standin
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()
        listener.close()
