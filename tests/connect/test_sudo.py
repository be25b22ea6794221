"""Root on a host whose sudo wants a password: against a real SSH server, with a stand-in of sudo.

The real sudo, on a real node: tests/e2e/test_sudo_e2e.py.
"""

import contextlib
import dataclasses
import fcntl
import logging
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from hardwatt.connect import sudo
from hardwatt.connect.endpoint import Endpoint
from hardwatt.core import credentials
from hardwatt.core.errors import LabError, RefusedError, SettingsError
from hardwatt.core.process import Process
from hardwatt.core.wait import wait
from tests.connect import test_ssh
from tests.connect.test_remote_lock import _Streams
from tests.connect.test_ssh import Server

RIGHT = "correct horse"
_SUDO = """\
#!/bin/sh
printf '%s\\n' "$*" >>{folder}/seen
if test "$1" = -n; then
  shift
  if test -e {folder}/free || find {folder}/rules -name 'zz-*' -mmin -15 | grep -q .; then SUDO_UID=1234 exec "$@"; fi
  echo "{refusal}" >&2; exit 1
fi
test "$1 $2 $3" = "-k -S -p" || exit 3
shift 4
while read -r given; do
  if test "$given" = "{right}"; then SUDO_UID=1234 exec "$@"; fi
  echo "Sorry, try again." >&2
done
exit 1
"""


@dataclasses.dataclass
class Host:
    end: Endpoint
    folder: Path
    server: Server

    @property
    def rules(self) -> list[Path]:
        return [path for path in (self.folder / "rules").iterdir() if "." not in path.name]

    def stand_in(self, refusal: str) -> None:
        text = _SUDO.format(folder=self.folder, refusal=refusal, right=RIGHT)
        (self.folder / "bin/sudo").write_text(text)
        (self.folder / "bin/visudo").write_text("#!/bin/sh\nexit 0\n")
        for path in (self.folder / "bin").iterdir():
            path.chmod(0o755)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    for name in ("bin", "rules"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    monkeypatch.delenv(sudo.PASSWORD, raising=False)
    monkeypatch.setattr(test_ssh, "_Session", _Streams)
    monkeypatch.setattr(sudo, "RULES", str(tmp_path / "rules"))
    server = Server(tmp_path)
    server.know(server.host_key)
    made = Host(dataclasses.replace(server.endpoint(), user="alice"), tmp_path, server)
    made.stand_in("sudo: a password is required")
    yield made
    sudo._forget_all()
    credentials.forget()
    server.close()


def typed(monkeypatch: pytest.MonkeyPatch, *answers: str) -> list[str]:
    """Give a terminal on which somebody types; return what was asked."""
    asked: list[str] = []
    left = iter(answers)

    def prompt(text: str) -> str:
        asked.append(text)
        return next(left)

    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("getpass.getpass", prompt)
    return asked


def test_root_needs_nothing(host: Host) -> None:
    assert sudo.prefix(dataclasses.replace(host.end, user="root")) == ""
    assert not (host.folder / "seen").exists()


def test_sudo_without_a_password_is_taken_as_it_is(host: Host) -> None:
    (host.folder / "free").touch()
    assert sudo.prefix(host.end) == sudo.prefix(host.end) == "sudo -n "
    assert (host.folder / "seen").read_text().count("-n sh -c") == 1, "asked once"
    assert not host.rules


def test_a_password_is_asked_for_once_and_reaches_no_command_line_file_or_log(
    host: Host, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    asked = typed(monkeypatch, RIGHT)
    assert sudo.prefix(host.end) == sudo.prefix(host.end) == "sudo -n "
    assert asked == ["sudo's password of alice on 127.0.0.1 (not shown, kept nowhere): "]
    (rule,) = host.rules
    assert rule.read_text().startswith("#1234 ALL=(ALL) NOTAFTER=2")
    assert rule.read_text().endswith("Z NOPASSWD: ALL\n")
    assert rule.stat().st_mode & 0o777 == 0o440
    kept = [path for path in host.folder.rglob("*") if path.is_file() and path.name != "sudo"]
    assert kept and not [path for path in kept if RIGHT in path.read_text(errors="replace")]
    assert RIGHT not in caplog.text
    sudo.forget(host.end)
    wait(lambda: host.rules, lambda left: not left, what="end of the rule", timeout=10, delay=0.05)


def test_the_rule_goes_with_the_connection_and_the_right_is_taken_anew(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(sudo.PASSWORD, RIGHT)
    sudo.prefix(host.end)
    (first,) = host.rules
    for transport in host.server._transports:
        transport.close()
    wait(first.exists, lambda there: not there, what="end of the rule", timeout=10, delay=0.05)
    (right,) = sudo._rights.values()
    wait(right.lasts, lambda lasts: not lasts, what="end of the connection", timeout=10, delay=0.05)
    assert sudo.prefix(host.end) == "sudo -n "
    assert len(host.rules) == 1


@pytest.mark.parametrize("lock", [True, False], ids=["with its lock", "from before there were locks"])
def test_a_rule_that_a_reboot_left_is_no_right(host: Host, monkeypatch: pytest.MonkeyPatch, lock: bool) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    left = host.folder / f"rules/zz-hardwatt-{os.getpid() if lock else gone.pid}"
    left.write_text("#1234 ALL=(ALL) NOTAFTER=29991231000000Z NOPASSWD: ALL\n")
    if lock:  # its number is another process's meanwhile
        left.with_name(f"{left.name}.held").touch()
    monkeypatch.setenv(sudo.PASSWORD, RIGHT)
    sudo.prefix(host.end)
    (right,) = sudo._rights.values()
    assert right.session is not None, "a rule of our own is held and renewed"
    assert left not in host.rules and len(host.rules) == 1


def test_the_rule_of_a_command_that_runs_stays(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    other = host.folder / "rules/zz-hardwatt-1"
    other.write_text("#1234 ALL=(ALL) NOTAFTER=29991231000000Z NOPASSWD: ALL\n")
    monkeypatch.setenv(sudo.PASSWORD, RIGHT)
    with other.with_name(f"{other.name}.held").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        sudo.prefix(host.end)
        assert len(host.rules) == 2
        assert other.exists()


def holders(host: Host) -> list[int]:
    """Return the shells that hold a rule of this host."""
    found = []
    for proc in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            words = (proc / "cmdline").read_bytes().split(b"\0")
            if words[:2] == [b"sh", b"-c"] and words[2].startswith(b"PATH=") and str(host.folder).encode() in words[2]:
                found.append(int(proc.name))
    return found


def nothing_left(host: Host, timeout: float) -> None:
    """Wait until neither a rule, nor a file beside it, nor its holder is there."""
    wait(
        lambda: (sorted((host.folder / "rules").iterdir()), holders(host)), lambda left: left == ([], []),
        what="end of the rule", timeout=timeout, delay=0.05,
    )  # fmt: skip


def test_a_rule_goes_with_its_killed_holder(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(sudo.PASSWORD, RIGHT)
    sudo.prefix(host.end)
    for number in holders(host):
        os.kill(number, signal.SIGKILL)
    nothing_left(host, 5)
    (right,) = sudo._rights.values()
    wait(right.lasts, lambda lasts: not lasts, what="end of the right", timeout=5, delay=0.05)
    assert sudo.prefix(host.end) == "sudo -n ", "it is taken anew"
    assert len(host.rules) == 1


def test_a_rule_is_renewed_while_signs_of_life_come(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(sudo.PASSWORD, RIGHT)
    monkeypatch.setattr(sudo, "BEAT", 0.3)
    monkeypatch.setattr(sudo, "RIGHT_SILENCE", 2)
    sudo.prefix(host.end)
    (rule,) = host.rules
    first = rule.read_text()
    wait(rule.read_text, lambda text: text != first, what="renewal", timeout=10, delay=0.05)
    sudo.forget(host.end)
    nothing_left(host, 5)


def test_a_rule_ends_where_this_machine_vanishes_without_a_word(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(sudo.PASSWORD, RIGHT)
    monkeypatch.setattr(sudo, "RIGHT_SILENCE", 0.5)
    sudo.prefix(host.end)
    nothing_left(host, 10)


def test_a_loop_that_nobody_ends_is_ended_by_the_next_start(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """The holder of before renewed in a loop of its own, which outlived it; the loop of a living holder stays."""
    loop = "renew() { : zz-hardwatt; }\nwhile sleep 1; do renew; done"
    with subprocess.Popen(["sh", "-c", f"{loop} & echo $!"], stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        orphan = Process.of(int(starter.stdout.readline()))
        starter.stdout.close()
    parent = host.folder / "sudo"  # what runs under this name is not a loop
    parent.symlink_to("/bin/sh")
    argv = [str(parent), "-c", 'sh -c "$0"; :', f"{loop} & echo $!; wait"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        living = Process.of(int(holder.stdout.readline()))
        assert orphan is not None and living is not None
        monkeypatch.setenv(sudo.PASSWORD, RIGHT)
        sudo.prefix(host.end)
        assert not orphan.alive()
        assert living.alive()
        living.signal(signal.SIGKILL)


def test_a_rule_that_power_loss_left_goes_with_the_next_one(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    old = host.folder / "rules/zz-hardwatt-1"
    old.touch()
    subprocess.run(["touch", "--date=1 hour ago", old], check=True)
    monkeypatch.setenv(sudo.PASSWORD, RIGHT)
    sudo.prefix(host.end)
    assert old not in host.rules and len(host.rules) == 1


def test_a_wrong_password_is_asked_for_again(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = typed(monkeypatch, "wrong", RIGHT)
    assert sudo.prefix(host.end) == "sudo -n "
    assert len(asked) == 2


def test_a_wrong_password_three_times_ends_it(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = typed(monkeypatch, *["wrong"] * 5)
    with pytest.raises(RefusedError, match=r"alice does not become root on 127\.0\.0\.1: Sorry, try again"):
        sudo.prefix(host.end)
    assert len(asked) == sudo.ATTEMPTS
    assert not host.rules


def test_a_wrong_password_in_the_environment_is_tried_once(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(sudo.PASSWORD, "wrong")
    with pytest.raises(RefusedError) as error:
        sudo.prefix(host.end)
    assert sudo.PASSWORD in error.value.hint
    assert (host.folder / "seen").read_text().count("-k -S") == 1


def test_without_a_terminal_the_variable_is_named(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: False)
    with pytest.raises(SettingsError, match=sudo.PASSWORD):
        sudo.prefix(host.end)


def test_a_user_who_may_not_is_not_asked(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = typed(monkeypatch, RIGHT)
    host.stand_in("sudo: sorry, you must have a tty to run sudo")
    with pytest.raises(RefusedError, match="must have a tty"):
        sudo.prefix(host.end)
    assert not asked


def test_a_rule_that_does_not_count_is_said(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(sudo.PASSWORD, RIGHT)
    monkeypatch.setattr(sudo, "RULES", str(host.folder))  # a folder that the stand-in does not look into
    with pytest.raises(LabError, match="does not count") as error:
        sudo.prefix(host.end)
    assert "include" in error.value.hint
    wait(
        lambda: list(host.folder.glob("zz-hardwatt-*")), lambda left: not left, what="end of the rule", timeout=10,
        delay=0.05,
    )  # fmt: skip
