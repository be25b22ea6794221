"""SSH to a node with paramiko; the host key is always checked against the lab's own file."""

import base64
import contextlib
import dataclasses
import logging
import re
import shlex
import subprocess
import threading
import time
from collections.abc import Iterator
from types import TracebackType

import paramiko
from paramiko.pkey import UnknownKeyType

from hardwatt.connect import ssh_routes, unreachable
from hardwatt.connect.endpoint import Endpoint
from hardwatt.connect.host_keys import Refuse, changed, fingerprint, known_keys, require_known
from hardwatt.connect.ssh_session import LateError, Session, outputs
from hardwatt.core.errors import CommandError, LabError, RefusedError, WaitError
from hardwatt.core.limits import REMOTE, Limits
from hardwatt.core.process import Result

logger = logging.getLogger("hardwatt.connect.ssh")
# what it has to say is in the errors here; without a handler Python would print its tracebacks
logging.getLogger("paramiko").addHandler(logging.NullHandler())
_CHANGED = re.compile(r"IDENTIFICATION HAS CHANGED.*?(SHA256:[A-Za-z0-9+/]+)", re.DOTALL)
"""What OpenSSH says of a key that is not the known one; the fingerprint is the offered one's."""
_LATE = re.compile(r"^(Authentication timeout|Key-exchange timed out|No existing session)")
"""What paramiko says where a limit of its own passed."""


def private_key(endpoint: Endpoint) -> paramiko.PKey:
    """Return the key that logs in to the node.

    paramiko by itself tries each kind of key on the file, and reports the last kind's complaint in place of a refused
    login. Raises ``LabError`` for a file that is no key, or is encrypted.
    """
    try:
        return paramiko.PKey.from_path(endpoint.key)
    except (TypeError, ValueError, OSError, paramiko.SSHException, UnknownKeyType) as error:
        raise unreachable.bad_key(endpoint, error) from error


class Route(paramiko.ProxyCommand):
    """The way through a jump host. paramiko closes it more than once, and never waits for its end."""

    _said: str | None = None

    def close(self) -> None:
        self.process.terminate()

    def recv(self, size: int) -> bytes:
        try:
            data: bytes = super().recv(size)
        except TimeoutError:
            if self.process.poll() is None:
                raise
            return b""  # without it paramiko waits on for a greeting from a command that has ended
        return data

    def last_words(self) -> str:
        """End the route and return what ssh printed on it."""
        if self._said is None:
            self.close()
            try:
                _, said = self.process.communicate(timeout=10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                _, said = self.process.communicate()
            self._said = "; ".join(said.decode(errors="replace").split("\n")).strip("; \r")
        return self._said


def _broke(error: Exception) -> bool:
    """Return whether the error is paramiko's own, and neither a refused login nor the socket's."""
    return type(error) is paramiko.SSHException


class Ssh:
    """A connection to one node, used as a context manager."""

    def __init__(self, endpoint: Endpoint, *, timeout: float = 0, limits: Limits = REMOTE) -> None:
        """``timeout`` replaces the limit for connecting."""
        self._endpoint = endpoint
        self._client = paramiko.SSHClient()
        self._limits = limits.patient()
        self._timeout = timeout or self._limits.connect
        self._way_there: Route | None = None

    def __enter__(self) -> "Ssh":
        endpoint = self._endpoint
        if endpoint.jump:  # what ssh says on the way is harder to read
            require_known(endpoint)
        known_keys(endpoint.known_hosts)  # one error that names a line which paramiko cannot read
        if endpoint.known_hosts.exists():
            self._client.load_host_keys(str(endpoint.known_hosts))
        self._client.set_missing_host_key_policy(Refuse())
        started = time.monotonic()
        try:
            self._client.connect(
                endpoint.address, endpoint.port, endpoint.user, sock=self._way(),
                pkey=private_key(endpoint), allow_agent=False, look_for_keys=False,
                timeout=self._timeout, banner_timeout=self._timeout, auth_timeout=self._timeout,
            )  # fmt: skip
        except paramiko.BadHostKeyException as error:
            self._close()
            raise RefusedError(
                f"the host key of {endpoint.address} has changed: known is "
                f"{fingerprint(error.expected_key)}, offered is {fingerprint(error.key)}",
                hint=f"find out why; if the machine was really made anew: invoke lab.trust {endpoint.address}",
            ) from error
        except (paramiko.SSHException, OSError, LabError) as error:
            said = self._close()
            if isinstance(error, LabError):
                raise
            if endpoint.jump and (offered := _CHANGED.search(said)):
                raise changed(endpoint, offered.group(1)) from error
            late = _LATE.search(str(error)) is not None
            if not said and (late or (_broke(error) and time.monotonic() - started > self._timeout)):
                raise unreachable.mute(endpoint, self._timeout) from error
            raise unreachable.explained(endpoint, error, said) from error
        return self

    def _way(self) -> Route | None:
        """Return the connection through the jump host, if there is one; its host key is checked as strictly."""
        endpoint = self._endpoint
        command = ssh_routes.proxy_command(endpoint, f"{endpoint.address}:{endpoint.port}")
        self._way_there = Route(command) if command else None
        return self._way_there

    def _close(self) -> str:
        """Close the connection, and wait for the end of the way through a jump host; return what ssh said there."""
        transport = self._client.get_transport()
        self._client.close()
        if self._way_there is not None:
            if transport is not None:
                transport.join(10)  # it reads from the way until then
            said = self._way_there.last_words()
            self._way_there = None
            return said
        return ""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()

    def run(
        self,
        command: str,
        *,
        stdin: str | bytes | None = None,
        timeout: float = 0,
        check: bool = True,
    ) -> Result:
        """Run a shell command on the node; secrets go through ``stdin``.

        ``timeout`` replaces the limit for silence. Raises ``CommandError`` on a non-zero exit (unless ``check`` is
        false), and where the node accepts the command too late, is silent for too long or takes too long in all.
        """
        logger.debug("ssh %s: %s", self._endpoint.name, command)
        started = time.monotonic()
        argv = ("ssh", self._endpoint.name, command)
        limits = dataclasses.replace(self._limits, silence=timeout or self._limits.silence)
        try:
            channel = self._accepted(command)
            channel.settimeout(limits.silence)
            if stdin is not None:
                channel.sendall(stdin.encode() if isinstance(stdin, str) else stdin)
            channel.shutdown_write()
            stdout, stderr = outputs(channel, limits, started)
            if not channel.status_event.wait(limits.silence):
                raise LateError(f"did not end within {limits.silence:.0f} s after its output")
            code = channel.recv_exit_status()
        except LateError as error:
            late = f"on {self._where} {error}"
            raise CommandError(argv, None, reason=late, hint=unreachable.by_hand(self._endpoint)) from None
        except TimeoutError as error:
            late = f"on {self._where} printed nothing for {limits.silence:.0f} s"
            raise CommandError(argv, None, reason=late, hint=unreachable.by_hand(self._endpoint)) from error
        except (paramiko.SSHException, OSError) as error:
            raise unreachable.broken(self._endpoint, error) from error
        if check and code != 0:
            raise CommandError(argv, code, stdout, stderr)
        return Result(argv, code, stdout, stderr, time.monotonic() - started)

    @contextlib.contextmanager
    def session(self, command: str, *, what: str, stdin: str = "") -> Iterator[Session]:
        """Run a command on the node while the context lasts; give the lines that it prints, as they come.

        Its standard input begins with ``stdin`` (a secret, perhaps) and stays open until the end of the context; the
        command has to end with it. ``what`` names the command in an error.
        """
        try:
            channel = self._accepted(command)
            channel.settimeout(self._limits.first_answer)
            channel.sendall(stdin.encode())
        except LateError as error:
            raise WaitError(f"{what} on {self._where} {error}", hint=unreachable.by_hand(self._endpoint)) from None
        except (paramiko.SSHException, OSError) as error:
            raise unreachable.broken(self._endpoint, error) from error
        held = Session(
            channel, f"{what} on {self._where}", self._limits.first_answer, unreachable.by_hand(self._endpoint)
        )
        try:
            yield held
        finally:
            held.end()

    def _accepted(self, command: str) -> paramiko.Channel:
        """Return the channel of a command that the node has begun.

        paramiko waits for that without end; the connection is closed where it lasts too long. Raises ``LateError``.
        """
        transport = self._client.get_transport()
        if transport is None:
            raise paramiko.SSHException("there is no connection")
        limit = self._limits.first_answer
        late = threading.Event()

        def close() -> None:
            late.set()
            transport.close()

        timer = threading.Timer(limit, close)
        timer.daemon = True
        timer.start()
        try:
            channel = transport.open_session(timeout=limit + 5)
            channel.exec_command(command)
        except (paramiko.SSHException, OSError, EOFError) as error:
            if late.is_set():
                raise LateError(f"was not accepted within {limit:.0f} s") from error
            raise
        finally:
            timer.cancel()
            timer.join()
        if late.is_set():
            raise LateError(f"was not accepted within {limit:.0f} s")
        return channel

    @property
    def _where(self) -> str:
        endpoint = self._endpoint
        return f"{endpoint.user}@{endpoint.address}:{endpoint.port}" + (
            f" through {endpoint.jump}" if endpoint.jump else ""
        )

    def read(self, path: str) -> bytes:
        """Return a file of the node."""
        return base64.b64decode(self.run(f"base64 {shlex.quote(path)}").stdout)

    def put(self, data: bytes, path: str, *, mode: int = 0o644) -> None:
        """Write a file on the node: beside its place first, then renamed."""
        target = shlex.quote(path)
        temporary = shlex.quote(f"{path}.hardwatt-new")
        self.run(
            f"umask 077 && cat > {temporary} && chmod {mode:o} {temporary} && mv -f {temporary} {target}",
            stdin=data,
        )
