"""Ctrl-C and Ctrl-D at every question, on a terminal of its own: each ends the command, in words, at once."""

import ast
import contextlib
import os
import pty
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import paramiko
import pytest

ROOT = Path(__file__).resolve().parents[2]
INVOKE = [str(Path(sys.executable).parent / "invoke")]
CTRL_C, CTRL_D = b"\x03", b"\x04"
LIMIT = 30.0
"""Seconds for a command to ask: the machine may be busy."""
AT_ONCE = 5.0
"""Seconds from the key to the end."""
ASKS_FOR_A_SECRET = """
from invoke import Collection, Program
from hardwatt.core import credentials
from hardwatt.cli.registry import command
from hardwatt.cli.tasks import task_of
from hardwatt.bundle.frames import pl

@command("word")
def word(lab):
    credentials.ask("HARDWATT_NEVER_SET", "the password")

made = Collection("made")
made.add_task(task_of(word), name="word")
Program(namespace=made).run(["invoke", "word"])
"""
CLEANS_UP = """
import time
from invoke import Collection, Program
from hardwatt.cli.registry import command
from hardwatt.cli.tasks import task_of
from hardwatt.bundle.frames import pl

@command("work")
def work(lab):
    try:
        print("working", flush=True)
        time.sleep(60)
    finally:
        print("cleaning up", flush=True)
        time.sleep(60)

made = Collection("made")
made.add_task(task_of(work), name="work")
Program(namespace=made).run(["invoke", "work"])
"""


def typed(
    argv: list[str], keys: Mapping[str, bytes], *, env: Mapping[str, str] | None = None, cwd: Path = ROOT
) -> tuple[int, str, float]:
    """Run a command on a terminal; press each key once its text is there. Return exit code, output, and the seconds
    from the last key to the end."""
    pid, terminal = pty.fork()
    if pid == 0:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # it may be inherited as ignored
        os.chdir(cwd)
        os.execvpe(argv[0], argv, {**os.environ, "HARDWATT_LAB": "never-made", "PYTHONPATH": str(ROOT), **(env or {})})
    output, waiting, end, pressed = b"", list(keys.items()), time.monotonic() + LIMIT, 0.0
    try:
        while time.monotonic() < end:
            if select.select([terminal], [], [], 0.05)[0]:
                try:
                    output += os.read(terminal, 4096)
                except OSError:  # the other end is closed
                    break
            if waiting and waiting[0][0].encode() in output:
                time.sleep(0.1)  # the question is printed before it is waited for
                os.write(terminal, waiting.pop(0)[1])
                pressed = time.monotonic()
                end = pressed + (LIMIT if waiting else AT_ONCE)
        else:
            os.kill(pid, signal.SIGKILL)
            pytest.fail(f"it goes on: {output.decode()}")
        seconds = time.monotonic() - pressed
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), output.decode(), seconds
    finally:
        os.close(terminal)


@pytest.mark.parametrize("task", ["lab.down", "lab.machine.destroy"])
def test_ctrl_c_at_the_question_of_lab_down_ends_it(task: str) -> None:
    code, output, _ = typed([*INVOKE, task], {"[y/N]": CTRL_C})
    assert code == 130
    assert "nothing was changed" in output
    assert "Traceback" not in output


def test_ctrl_d_at_the_question_of_lab_down_ends_it() -> None:
    code, output, _ = typed([*INVOKE, "lab.down"], {"[y/N]": CTRL_D})
    assert code == 1
    assert "nothing was done" in output
    assert "Traceback" not in output


class HostKeyOnly(paramiko.ServerInterface):
    """An SSH server that nobody can log in to."""


@pytest.fixture
def unknown_host(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Give the environment of a lab whose host offers a key that nobody knows."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            transport = paramiko.Transport(connection)
            transport.add_server_key(paramiko.ECDSAKey.generate())
            with contextlib.suppress(EOFError, OSError, paramiko.SSHException):  # whoever asked hangs up
                transport.start_server(server=HostKeyOnly())
            transport.join(10)

        thread = threading.Thread(target=serve)
        thread.start()
        config = tmp_path / "lab.toml"
        config.write_text(f'machine = "ssh"\n[host]\naddress = "127.0.0.1"\nport = {listener.getsockname()[1]}\n')
        yield {"HARDWATT_CONFIG": str(config), "HOME": str(tmp_path)}
        thread.join(10)


@pytest.mark.parametrize(("key", "code", "words"), [
    (CTRL_C, 130, "nothing was changed"),
    (CTRL_D, 1, "stays unknown"),
])  # fmt: skip
def test_a_key_at_the_question_of_lab_trust_ends_it(
    unknown_host: dict[str, str], key: bytes, code: int, words: str
) -> None:
    ended, output, _ = typed([*INVOKE, "lab.trust", "127.0.0.1"], {"Is it the same?": key}, env=unknown_host)
    assert ended == code
    assert words in output
    assert "Traceback" not in output
    assert not (ROOT / ".lab" / "never-made" / "known_hosts").exists()


@pytest.mark.parametrize(("key", "code", "words"), [
    (CTRL_C, 130, "interrupted"),
    (CTRL_D, 1, "the password is empty"),
])  # fmt: skip
def test_a_key_at_the_prompt_of_a_password_ends_it(key: bytes, code: int, words: str) -> None:
    ended, output, _ = typed([sys.executable, "-c", ASKS_FOR_A_SECRET], {"kept nowhere): ": key})
    assert ended == code
    assert words in output
    assert "Traceback" not in output


def test_a_second_ctrl_c_ends_what_the_first_one_left_running() -> None:
    code, output, _ = typed([sys.executable, "-c", CLEANS_UP], {"working": CTRL_C, "cleaning up": CTRL_C})
    assert code == 130
    assert "Traceback" not in output


def test_ctrl_c_ends_hardwatt_itself(tmp_path: Path) -> None:
    table = tmp_path / "endless.csv"
    os.mkfifo(table)
    run = (
        "import sys; from hardwatt.cli import console; print('here', flush=True); sys.exit(console.main(sys.argv[1:]))"
    )
    code, output, _ = typed([sys.executable, "-c", run, "table", str(table)], {"here": CTRL_C}, cwd=tmp_path)
    assert code == 130
    assert "interrupted" in output
    assert "Traceback" not in output


def test_polars_is_imported_in_one_place() -> None:
    """Its import has the kernel restart what Ctrl-C interrupts; ``hardwatt.bundle.frames`` takes that back."""
    wrong = []
    for path in sorted((ROOT / "hardwatt").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if any(name.partition(".")[0] == "polars" for name in names):
                wrong.append(str(path.relative_to(ROOT)))
    assert wrong == ["hardwatt/bundle/frames.py"]
