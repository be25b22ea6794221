import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hardwatt.core import process as core_process
from hardwatt.core.errors import CommandError, LabError
from hardwatt.core.limits import Limits
from hardwatt.core.wait import wait


def test_output_is_returned() -> None:
    result = core_process.run([sys.executable, "-c", "import sys; print('out'); print('err', file=sys.stderr)"])
    assert (result.stdout, result.stderr, result.returncode) == ("out\n", "err\n", 0)


def test_a_failure_shows_command_code_and_output() -> None:
    with pytest.raises(CommandError) as caught:
        core_process.run(["sh", "-c", "echo reason >&2; exit 3"], hint="do that")
    assert caught.value.returncode == 3
    assert "reason" in str(caught.value)
    assert "next: do that" in str(caught.value)


def test_a_failure_may_be_wanted() -> None:
    assert core_process.run(["sh", "-c", "exit 3"], check=False).returncode == 3


def test_stdin_and_environment_are_not_shown_in_errors() -> None:
    with pytest.raises(CommandError) as caught:
        core_process.run(["sh", "-c", "cat >/dev/null; exit 1"], stdin="secret-1", env={"TOKEN": "secret-2"})
    assert "secret" not in str(caught.value)


def test_nothing_to_read_from_stdin() -> None:
    assert core_process.run(["cat"]).stdout == ""


def test_a_missing_program_is_named() -> None:
    with pytest.raises(LabError, match="no-such-program"):
        core_process.run(["no-such-program"])


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="folder"):
        core_process.run(["true"], cwd=tmp_path / "none")


def test_time_runs_out() -> None:
    with pytest.raises(CommandError, match=r"did not end within 0\.1 s: sleep 20") as caught:
        core_process.run(["sleep", "20"], timeout=0.1, hint="do that")
    assert caught.value.hint == "do that"


def test_a_command_without_a_limit_of_its_own_has_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core_process, "LOCAL", Limits(whole=0.2))
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with pytest.raises(CommandError, match=r"did not end within 0\.2 s"):
        core_process.run(["cat", fifo])
    with pytest.raises(CommandError, match=r"did not end within 0\.2 s"):
        core_process.run(["cat", fifo], log=tmp_path / "log")


def test_a_child_that_keeps_the_output_open_is_not_waited_for() -> None:
    started = time.monotonic()
    with pytest.raises(CommandError, match="said this"):
        core_process.run(["sh", "-c", "echo said this; sleep 7 & exit 0"], timeout=0.3)
    assert time.monotonic() - started < 5


def test_a_child_that_became_another_user_s_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []
    real = subprocess.run

    def kill(child: object) -> None:
        raise PermissionError

    def sudo(argv: list[str], **_: object) -> None:
        asked.append(argv)
        real(argv[2:], check=False)

    monkeypatch.setattr("subprocess.Popen.kill", kill)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr("subprocess.run", sudo)
    with pytest.raises(CommandError, match="did not end within"):
        core_process.run(["sleep", "7"], timeout=0.1)
    assert asked[0][:4] == ["sudo", "-n", "kill", "-9"]


_STARTS = """
import sys, time
from pathlib import Path
from hardwatt.core import process
if sys.argv[1] == "spawn":
    process.spawn(["sleep", "61"], log=Path(sys.argv[2]), tied=True)
    print("started", flush=True)
    time.sleep(60)
argv = ["sh", "-c", "echo started; exec sleep 61"]
if sys.argv[1] == "beside an agent":
    from hardwatt.gitops import flux_cli
    argv = flux_cli.with_key(argv, Path(sys.argv[2] + ".key"))
process.run(argv, log=Path(sys.argv[2]), tied=True)
"""


@pytest.mark.parametrize("how", ["run", "spawn", "beside an agent"])
def test_a_tied_command_ends_with_its_killed_starter(tmp_path: Path, how: str) -> None:
    log = tmp_path / "log"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{log}.key"], check=True)
    argv = [sys.executable, "-c", _STARTS, how, str(log)]
    with subprocess.Popen(argv, cwd=Path(__file__).parents[2], stdout=subprocess.DEVNULL) as starter:

        def child() -> list[int]:
            found = subprocess.run(
                ["pgrep", "-x", "-P", str(starter.pid), "sleep"], capture_output=True, text=True, check=False
            )
            return [int(number) for number in found.stdout.split()]

        (number,) = wait(child, bool, what="child", timeout=20, delay=0.05)
        process = core_process.Process.of(number)
        assert process is not None
        starter.kill()
    wait(process.alive, lambda alive: not alive, what="end of the child", timeout=10, delay=0.05)


def test_a_tied_program_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="no-such-program"):
        core_process.run(["no-such-program"], tied=True)
    with pytest.raises(LabError, match="no-such-program"):
        core_process.spawn(["no-such-program"], log=tmp_path / "log", tied=True)


def test_a_log_is_appended_to_and_quoted(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "x.log"
    core_process.run(["echo", "first"], log=log)
    with pytest.raises(CommandError, match="second") as told:
        core_process.run(["sh", "-c", "echo second; exit 1"], log=log)
    assert "first" in log.read_text()
    assert "first" not in told.value.stderr, "what another command said is not this one's"


def test_a_spawned_process_is_found_again_and_stopped(tmp_path: Path) -> None:
    process = core_process.spawn(["sleep", "30"], log=tmp_path / "log")
    again = core_process.Process.from_dict(process.to_dict())
    assert again.alive()
    again.stop(grace=2)
    assert not again.alive()


def test_a_deaf_process_is_killed(tmp_path: Path) -> None:
    code = (
        "import signal,time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(30)"
    )
    process = core_process.spawn([sys.executable, "-c", code], log=tmp_path / "log")
    wait((tmp_path / "log").read_text, lambda text: "\nready" in text, what="deaf process", timeout=10, delay=0.02)
    process.stop(grace=0.2)
    assert not process.alive()


def test_a_number_that_another_process_has_now_is_left_alone() -> None:
    with subprocess.Popen(["sleep", "30"]) as child:
        real = core_process.Process.of(child.pid)
        assert real is not None
        stranger = core_process.Process(real.pid, real.started - 1)
        assert not stranger.alive()
        stranger.stop()
        assert child.poll() is None
        child.kill()


def test_root_uses_sudo_without_asking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert core_process.root(["ip", "link"]) == ["sudo", "-n", "ip", "link"]
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert core_process.root(["ip", "link"]) == ["ip", "link"]


def test_every_variable_of_a_secret_is_kept_from_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a page or an option names as a variable for a secret reaches no command that was not given it."""
    package = Path(core_process.__file__).parents[1]
    words = set(re.findall(r"[A-Z][A-Z_]+_(?:TOKEN|PASSWORD)\b", "".join(p.read_text() for p in package.rglob("*.py"))))
    assert {"HARDWATT_PROMETHEUS_TOKEN", "GITHUB_TOKEN"} <= words
    for word in words:
        monkeypatch.setenv(word, "open-sesame")
    assert "open-sesame" not in core_process.run(["env"]).stdout
