"""Root on a host whose sudo wants a password: against a real SSH server, with a stand-in of sudo.

The real sudo, on a real node: tests/e2e/test_sudo_e2e.py.
"""

import dataclasses
import logging
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from hardwatt import secret, sudo
from hardwatt.endpoint import Endpoint
from hardwatt.errors import LabError, RefusedError, SettingsError
from hardwatt.wait import wait
from tests.core import test_ssh
from tests.core.test_hostlock import _Streams
from tests.core.test_ssh import Server

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
        return list((self.folder / "rules").iterdir())

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
    secret.forget()
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


def test_a_rule_that_a_reboot_left_is_no_right(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    left = host.folder / f"rules/zz-hardwatt-{gone.pid}"
    left.write_text("#1234 ALL=(ALL) NOTAFTER=29991231000000Z NOPASSWD: ALL\n")
    monkeypatch.setenv(sudo.PASSWORD, RIGHT)
    sudo.prefix(host.end)
    (right,) = sudo._rights.values()
    assert right.connection is not None, "a rule of our own is held and renewed"
    assert left not in host.rules and len(host.rules) == 1


def test_the_rule_of_a_command_that_runs_stays(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    other = host.folder / f"rules/zz-hardwatt-{os.getpid()}"
    other.write_text("#1234 ALL=(ALL) NOTAFTER=29991231000000Z NOPASSWD: ALL\n")
    monkeypatch.setenv(sudo.PASSWORD, RIGHT)
    sudo.prefix(host.end)
    assert len(host.rules) == 2
    assert other.exists()


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
