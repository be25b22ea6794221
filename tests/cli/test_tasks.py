"""The command line: the names that the documents promise, exit codes, settings that are wrong."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hardwatt.core.errors import next_after
from tests.cli.invoked import run

ROOT = Path(__file__).resolve().parents[2]
INVOKE = str(Path(sys.executable).parent / "invoke")


def invoke(*argv: str, config: Path | None = None) -> "subprocess.CompletedProcess[str]":
    env = {**os.environ, "HARDWATT_LAB": "never-made"}
    if config:
        env["HARDWATT_CONFIG"] = str(config)
    return subprocess.run(
        [INVOKE, *argv], cwd=ROOT, env=env, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )


@pytest.fixture(scope="module")
def names() -> set[str]:
    done = invoke("--list")
    assert done.returncode == 0, done.stderr
    return set(re.findall(r"^\s+([a-z-]+(?:\.[a-z-]+)+)", done.stdout, re.MULTILINE))


def test_the_documented_commands_exist(names: set[str]) -> None:
    texts = [ROOT / "README.md", ROOT / "Makefile", ROOT / "lab.example.toml", *sorted((ROOT / "docs").glob("*.md"))]
    for folder in ("hardwatt", "deploys", "experiments"):
        texts += [p for suffix in ("py", "md", "toml", "j2") for p in sorted((ROOT / folder).rglob(f"*.{suffix}"))]
    promised = {
        name for text in texts for name in re.findall(r"\binv(?:oke)? ([a-z]+\.[a-z.-]*[a-z])", text.read_text())
    }
    assert promised
    assert not promised - names


def test_a_mistake_in_the_settings_is_an_exit_code_and_a_hint(tmp_path: Path) -> None:
    (tmp_path / "lab.toml").write_text('machin = "ssh"')
    done = invoke("lab.show", config=tmp_path / "lab.toml")
    assert done.returncode == 1
    assert "did you mean 'machine'?" in done.stderr
    assert "next:" in done.stderr
    assert "Traceback" not in done.stderr


def test_nobody_is_there_to_be_asked() -> None:
    done = invoke("lab.down")
    assert done.returncode == 1
    assert "nothing was done" in done.stderr
    assert "--yes" in done.stderr
    assert "Traceback" not in done.stderr


def test_show_prints_what_can_be_read_again(tmp_path: Path) -> None:
    (tmp_path / "lab.toml").write_text('[gitops]\ninterval = "7m"')
    shown = invoke("lab.show", config=tmp_path / "lab.toml")
    (tmp_path / "again.toml").write_text(shown.stdout)
    again = json.loads(invoke("lab.show", "--as-json", config=tmp_path / "again.toml").stdout)
    assert again["gitops"]["interval"] == "7m"
    assert not (ROOT / ".lab" / "never-made").exists()


@pytest.mark.parametrize(
    ("command", "hint", "expected"),
    [
        ("lab.status", "invoke lab.status", "invoke lab.up"),
        ("lab.status", "invoke lab.status; kubectl get pods", "invoke lab.up"),
        ("lab.kubeconfig", "invoke lab.kubeconfig", "invoke lab.up"),
        ("gitops.status", "invoke lab.status", "invoke lab.status"),
        ("lab.status", "invoke lab.check; ssh host true", "invoke lab.check; ssh host true"),
        ("lab.check", "invoke lab.check; ssh host true; or wait", "ssh host true; or wait"),
        ("lab.up", "invoke lab.upgrade", "invoke lab.upgrade"),
        ("lab.down", "invoke lab.down --yes", "invoke lab.down --yes"),
    ],
)
def test_the_next_command_is_another_one(command: str, hint: str, expected: str) -> None:
    assert next_after(command, hint) == expected
    assert "invoke lab.up" not in next_after("lab.up", "invoke lab.up")


@pytest.mark.parametrize(
    "argv",
    [
        ("gitops.status",), ("gitops.reconcile",), ("gitops.resume",), ("gitops.suspend",), ("gitops.show",),
        ("gitops.app", "on"), ("gitops.clone", "never"), ("lab.forward", "prometheus"), ("energy.query", "node"),
        ("lab.kubeconfig",), ("experiment.run", "push-vs-pull"),
    ],
)  # fmt: skip
def test_a_command_without_a_machine_is_one_error_with_another_next_command(
    argv: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lab.toml").write_text('machine = "embedded"\nresults = "never-made"\n')
    monkeypatch.setenv("HARDWATT_LAB", "never-made")
    monkeypatch.setenv("HARDWATT_CONFIG", str(tmp_path / "lab.toml"))
    monkeypatch.chdir(ROOT)
    try:
        code, _, err = run(*argv)
    finally:
        shutil.rmtree(ROOT / ".lab" / "never-made", ignore_errors=True)  # some take its lock
    assert code == 1
    assert "Traceback" not in err
    assert "the lab never-made has no machine\n  next: invoke lab.up" in err


def test_a_command_without_a_machine_ends_so_in_a_process_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "lab.toml").write_text('machine = "embedded"\nresults = "never-made"\n')
    done = invoke("gitops.show", config=tmp_path / "lab.toml")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "the lab never-made has no machine\n  next: invoke lab.up" in done.stderr
