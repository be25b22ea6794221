import subprocess
import sys
from pathlib import Path

import pytest

from hardwatt import door
from hardwatt.errors import CommandError, LabError


def test_output_is_returned() -> None:
    result = door.run([sys.executable, "-c", "import sys; print('out'); print('err', file=sys.stderr)"])
    assert (result.stdout, result.stderr, result.returncode) == ("out\n", "err\n", 0)


def test_a_failure_shows_command_code_and_output() -> None:
    with pytest.raises(CommandError) as caught:
        door.run(["sh", "-c", "echo reason >&2; exit 3"], hint="do that")
    assert caught.value.returncode == 3
    assert "reason" in str(caught.value)
    assert "next: do that" in str(caught.value)


def test_a_failure_may_be_wanted() -> None:
    assert door.run(["sh", "-c", "exit 3"], check=False).returncode == 3


def test_stdin_and_environment_are_not_shown_in_errors() -> None:
    with pytest.raises(CommandError) as caught:
        door.run(["sh", "-c", "cat >/dev/null; exit 1"], stdin="secret-1", env={"TOKEN": "secret-2"})
    assert "secret" not in str(caught.value)


def test_nothing_to_read_from_stdin() -> None:
    assert door.run(["cat"]).stdout == ""


def test_a_missing_program_is_named() -> None:
    with pytest.raises(LabError, match="no-such-program"):
        door.run(["no-such-program"])


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="folder"):
        door.run(["true"], cwd=tmp_path / "none")


def test_time_runs_out() -> None:
    with pytest.raises(CommandError, match="did not end in time"):
        door.run(["sleep", "20"], timeout=0.1)


def test_a_log_is_appended_to_and_quoted(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "x.log"
    door.run(["echo", "first"], log=log)
    with pytest.raises(CommandError, match="second") as told:
        door.run(["sh", "-c", "echo second; exit 1"], log=log)
    assert "first" in log.read_text()
    assert "first" not in told.value.stderr, "what another command said is not this one's"


def test_a_spawned_process_is_found_again_and_stopped(tmp_path: Path) -> None:
    process = door.spawn(["sleep", "30"], log=tmp_path / "log")
    again = door.Process.from_dict(process.to_dict())
    assert again.alive()
    again.stop(grace=2)
    assert not again.alive()


def test_a_deaf_process_is_killed(tmp_path: Path) -> None:
    code = (
        "import signal,time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(30)"
    )
    process = door.spawn([sys.executable, "-c", code], log=tmp_path / "log")
    from hardwatt.wait import wait

    wait((tmp_path / "log").read_text, lambda text: "\nready" in text, what="deaf process", timeout=10, delay=0.02)
    process.stop(grace=0.2)
    assert not process.alive()


def test_a_number_that_another_process_has_now_is_left_alone() -> None:
    with subprocess.Popen(["sleep", "30"]) as child:
        real = door.Process.of(child.pid)
        assert real is not None
        stranger = door.Process(real.pid, real.started - 1)
        assert not stranger.alive()
        stranger.stop()
        assert child.poll() is None
        child.kill()


def test_root_uses_sudo_without_asking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert door.root(["ip", "link"]) == ["sudo", "-n", "ip", "link"]
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert door.root(["ip", "link"]) == ["ip", "link"]
