"""Secrets reach the commands that need them and nobody else, and reach those as they were given."""

import ast
import re
import stat
from pathlib import Path

import pytest

from hardwatt.core import credentials, process
from tests.mirror import small

ROOT = Path(__file__).resolve().parents[2]
_SECRET = re.compile(r"[A-Z][A-Z_]*(TOKEN|PASSWORD|SECRET|PASSPHRASE)")


def variables() -> set[str]:
    """Return the environment variables of the code that name a secret."""
    found = set()
    for path in (ROOT / "hardwatt").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and _SECRET.fullmatch(node.value):
                found.add(node.value)
    return found


def test_every_secret_of_the_environment_is_kept_from_children(monkeypatch: pytest.MonkeyPatch) -> None:
    names = variables()
    assert {"HARDWATT_PROMETHEUS_TOKEN", "GITHUB_TOKEN", "GIT_PASSWORD", "HARDWATT_SUDO_PASSWORD"} <= names
    for name in names:
        monkeypatch.setenv(name, "hush")
    assert "hush" not in process.run(["env"]).stdout
    assert "hush" in process.run(["env"], env={"GIT_PASSWORD": "hush"}).stdout


def test_no_module_starts_a_command_past_the_one_door() -> None:
    pattern = re.compile(r"subprocess\.(run|Popen|check_output|call)\(|os\.(system|popen|spawn\w*)\(|create_subprocess")
    allowed = {"hardwatt/core/process.py", "hardwatt/meter/hardwatt_meter.py"}
    users = {
        str(path.relative_to(ROOT)) for path in (ROOT / "hardwatt").rglob("*.py") if pattern.search(path.read_text())
    }
    assert users - allowed == {"hardwatt/connect/ssh.py"} & users


@pytest.mark.parametrize(
    ("given", "taken"),
    [(" pass word ", " pass word "), ("x\n", "x"), ("x\r\n", "x"), ("\tx", "\tx"), ("x\u00a0", "x\u00a0")],
)
def test_blanks_are_part_of_a_password(monkeypatch: pytest.MonkeyPatch, given: str, taken: str) -> None:
    monkeypatch.setenv("GIT_PASSWORD", given)
    assert credentials.ask("GIT_PASSWORD", "the password") == taken


@pytest.mark.parametrize("umask", [0o000, 0o002, 0o022, 0o077])
def test_a_labs_folder_is_its_owners_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    import os

    lab = small.lab(tmp_path)
    before = os.umask(umask)
    try:
        with lab.lock("test"):
            pass
    finally:
        os.umask(before)
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in (lab.dir, lab.dir.parent)} == {0o700}
