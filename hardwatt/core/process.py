"""The one door through which every local command goes.

Commands are lists, never shell text. Secrets go through ``stdin`` or ``env``, which are
neither logged nor shown in errors.
"""

import contextlib
import dataclasses
import logging
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hardwatt.core import tied as wrapper
from hardwatt.core.errors import CommandError, LabError
from hardwatt.core.limits import LOCAL
from hardwatt.core.wait import timeout_factor, wait

logger = logging.getLogger("hardwatt.core.process")

_TAIL = 4000
SECRETS = (
    "GITHUB_TOKEN",
    "GIT_PASSWORD",
    "HARDWATT_GIT_PASSWORD",
    "HARDWATT_PROMETHEUS_TOKEN",
    "HARDWATT_SUDO_PASSWORD",
)
"""Variables that reach only the commands that are given them: our own environment's are left out."""


@dataclasses.dataclass(frozen=True)
class Result:
    """Result of a command."""

    argv: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str
    seconds: float


def run(
    argv: Sequence[str | os.PathLike[str]],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: str | None = None,
    timeout: float | None = None,
    check: bool = True,
    log: Path | None = None,
    hint: str = "",
    tied: bool = False,
) -> Result:
    """Run a command to its end and return what it printed.

    ``env`` is added to the environment. With ``log``, both outputs are appended to that file
    instead of being returned, and an error shows the file's last lines. With ``tied``, the command ends
    with this process, also where that is killed.

    Raises ``CommandError`` on a non-zero exit (unless ``check`` is false) and when ``timeout``
    seconds pass (``None``: the limit of local commands); ``LabError`` when the program is not there.
    """
    command = tuple(os.fspath(part) for part in argv)
    limit = LOCAL.whole * timeout_factor() if timeout is None else timeout
    logger.debug("run: %s", shlex.join(command))
    started = time.monotonic()
    try:
        done, stdout, stderr = _run(
            command, cwd=cwd, env=env, stdin=stdin, timeout=limit, log=log, hint=hint, tied=tied
        )
    except FileNotFoundError as error:
        if cwd is not None and not cwd.exists():
            raise LabError(f"the folder {cwd} does not exist", hint=hint) from error
        raise LabError(f"the program {command[0]!r} is not there", hint=hint or "make setup") from error
    result = Result(command, done, stdout, stderr, time.monotonic() - started)
    if check and done != 0:
        raise CommandError(command, done, stdout, stderr, hint=hint)
    return result


def _run(
    command: tuple[str, ...],
    *,
    cwd: Path | None,
    env: Mapping[str, str] | None,
    stdin: str | None,
    timeout: float,
    log: Path | None,
    hint: str,
    tied: bool,
) -> tuple[int, str, str]:
    environment = _environment(env)
    argv = _started(command, environment, tied)
    source = subprocess.DEVNULL if stdin is None else subprocess.PIPE
    late = f"did not end within {timeout:g} s"
    if log is None:
        pipe = subprocess.PIPE
        child = subprocess.Popen(
            argv, cwd=cwd, env=environment, stdin=source, stdout=pipe, stderr=pipe, text=True, errors="replace"
        )
        try:
            stdout, stderr = _communicate(child, stdin, timeout)
        except subprocess.TimeoutExpired as error:
            said = _text(error.stdout), _text(error.stderr)
            raise CommandError(command, None, *said, hint=hint, reason=late) from None
        return child.returncode, stdout, stderr
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as file:
        begin = file.seek(0, os.SEEK_END)
        file.write(f"$ {shlex.join(command)}\n")
        file.flush()
        logged = subprocess.Popen(
            argv, cwd=cwd, env=environment, stdin=source, stdout=file, stderr=subprocess.STDOUT, text=True
        )
        try:
            _communicate(logged, stdin, timeout)
        except subprocess.TimeoutExpired:
            raise CommandError(command, None, "", _tail(log, begin), hint=hint, reason=late) from None
    return logged.returncode, "", "" if logged.returncode == 0 else _tail(log, begin)


def _communicate(child: "subprocess.Popen[str]", stdin: str | None, timeout: float) -> tuple[str, str]:
    """Return what a child printed until its end; whatever comes between, the child is ended and not awaited for long.

    ``subprocess.run`` cannot end a child that became root, and waits for it without a limit.
    """
    try:
        return child.communicate(stdin, timeout)
    except BaseException:
        try:
            child.kill()
        except PermissionError:
            with contextlib.suppress(OSError, subprocess.SubprocessError):
                subprocess.run(root(["kill", "-9", str(child.pid)]), stdin=subprocess.DEVNULL, timeout=10, check=False)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(10)
        for stream in (child.stdin, child.stdout, child.stderr):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        raise


def with_us(command: Sequence[str]) -> list[str]:
    """Return the command as one that ends with this process.

    Linux forgets that where a program of another group's rights follows: then it goes behind that program.
    """
    return [sys.executable, "-I", "-S", os.fspath(wrapper.__file__), str(os.getpid()), *command]


def _started(command: Sequence[str], environment: Mapping[str, str], tied: bool) -> Sequence[str]:
    """Return the command as it is started. Raises ``FileNotFoundError`` for a tied one as its own start would."""
    if tied and shutil.which(command[0], path=environment.get("PATH")) is None:
        raise FileNotFoundError(command[0])
    return with_us(command) if tied else command


def _environment(env: Mapping[str, str] | None) -> dict[str, str]:
    return {**{name: value for name, value in os.environ.items() if name not in SECRETS}, **(env or {})}


def _text(output: bytes | str | None) -> str:
    return output.decode(errors="replace") if isinstance(output, bytes) else output or ""


def _tail(log: Path, begin: int = 0) -> str:
    """Return the end of a log from ``begin`` on: what commands before this one said is not this one's."""
    with log.open("rb") as file:
        file.seek(max(begin, file.seek(0, os.SEEK_END) - _TAIL))
        return f"{file.read().decode(errors='replace')}\n(the whole log: {log})"


def root(argv: Sequence[str | os.PathLike[str]]) -> list[str]:
    """Return the command as root would run it: with ``sudo -n`` where we are not root.

    The set-up asks for the password once; nothing here ever stops to ask.
    """
    command = [os.fspath(part) for part in argv]
    return command if os.geteuid() == 0 else ["sudo", "-n", *command]


@dataclasses.dataclass(frozen=True)
class Process:
    """A process that we started, told apart from a later one with the same number."""

    pid: int
    started: int
    """Start time in clock ticks since boot (field 22 of /proc/PID/stat)."""

    @classmethod
    def of(cls, pid: int) -> "Process | None":
        """Return the process with this number, or None where there is none or only a zombie."""
        fields = _stat(pid)
        if fields is None or fields[0] == "Z":
            return None
        return cls(pid, int(fields[19]))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Process":
        return cls(int(data["pid"]), int(data["started"]))

    def to_dict(self) -> dict[str, int]:
        return dataclasses.asdict(self)

    def alive(self) -> bool:
        """Return whether this very process still runs."""
        _reap()
        return Process.of(self.pid) == self

    def signal(self, number: int) -> None:
        """Send a signal, unless the process has ended."""
        if self.alive():
            try:
                os.kill(self.pid, number)
            except PermissionError:
                run(root(["kill", f"-{number}", str(self.pid)]), check=False)
            except ProcessLookupError:
                return

    def stop(self, grace: float = 10.0) -> None:
        """Ask the process to end, and end it after ``grace`` seconds."""
        self.signal(signal.SIGTERM)
        try:
            wait(self.alive, lambda alive: not alive, what=f"end of process {self.pid}",
                 timeout=grace, delay=0.05)  # fmt: skip
        except LabError:
            self.signal(signal.SIGKILL)
            wait(self.alive, lambda alive: not alive, what=f"end of process {self.pid}",
                 timeout=10, delay=0.05)  # fmt: skip


def _stat(pid: int) -> list[str] | None:
    """Return the fields of /proc/PID/stat from the state on (the name may hold spaces)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text.rpartition(")")[2].split()


def spawn(
    argv: Sequence[str | os.PathLike[str]],
    *,
    log: Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    tied: bool = False,
) -> Process:
    """Start a command in a session of its own, so that it outlives us; output goes to ``log``.

    With ``tied``, it ends with the calling thread, also where this process is killed.
    """
    command = [os.fspath(part) for part in argv]
    logger.debug("spawn: %s", shlex.join(command))
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as file:
        file.write(f"$ {shlex.join(command)}\n")
        file.flush()
        try:
            environment = _environment(env)
            child = subprocess.Popen(
                _started(command, environment, tied), cwd=cwd, env=environment,
                stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT,
                start_new_session=True,
            )  # fmt: skip
        except FileNotFoundError as error:
            raise LabError(f"the program {command[0]!r} is not there", hint="make setup") from error
    process = Process.of(child.pid)
    if process is None:
        raise CommandError(command, child.wait(), "", _tail(log))
    _children.append(child)
    return process


_children: list[subprocess.Popen[bytes]] = []


def _reap() -> None:
    """Take the status of our own children that have ended, so that none stays a zombie."""
    _children[:] = [child for child in _children if child.poll() is None]
