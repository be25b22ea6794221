"""Completion at a shell: what is offered, and that the scripts which are printed offer it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from hardwatt.cli import console
from hardwatt.cli.completion import SCRIPTS
from tests.cli.invoked import ROOT, nothing_is_opened, run

__all__ = ["nothing_is_opened"]
PROGRAMS = Path(sys.executable).parent


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("lab.", "lab.up"),
        ("exp", "experiment.run"),
        ("lab.up --on", "--only"),
        ("lab.up -", "--only"),
        ("experiment.run push-vs-pull --pa", "--pairs"),
        ("experiment.run --pairs 3 --fu", "--full"),
        ("experiment.compare A B C --out", "--output"),
        ("lab.check lab.down --ke", "--keep-packages"),
        ("--lis", "--list"),
    ],
)
def test_invoke_offers_tasks_and_options_of_a_half_typed_line(line: str, offered: str) -> None:
    code, out, err = run("--complete", "--", "invoke", *line.split())
    assert (code, err) == (0, "")
    assert offered in out.split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ([], {"report", "analyse", "compare", "table", "verify", "talk"}),
        (["rep"], {"report", "analyse", "compare", "table", "verify", "talk"}),
        (["--pr"], {"--help", "--print-completion-script"}),
        (["compare", "A", "--o"], {"--help", "--output"}),
        (["verify", ""], set()),
        (["table", "file"], set()),
        (["no-such-command", "--o"], {"--help", "--print-completion-script"}),
    ],
)
def test_hardwatt_offers_commands_and_options(
    words: list[str], offered: set[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert console.main(["--complete", *words]) == 0
    assert set(capsys.readouterr().out.split()) == offered


@pytest.mark.parametrize(
    ("program", "line", "replies"),
    [
        ("hardwatt", "hardwatt comp", ["compare"]),
        ("hardwatt", "hardwatt table F.csv --bas", ["--baseline"]),
        ("hardwatt", "hardwatt verify ", []),
        ("invoke", "invoke lab.up --on", ["--only"]),
        ("invoke", "invoke lab.machine.s", ["lab.machine.shell", "lab.machine.start", "lab.machine.stop"]),
    ],
)
def test_bash_completes_with_the_script_that_is_printed(program: str, line: str, replies: list[str]) -> None:
    *_, typed = words = line.split(" ")
    script = f"""source <({program} --print-completion-script bash)
        COMP_WORDS=({" ".join(repr(word) for word in words)}); COMP_CWORD={len(words) - 1}
        _complete_{program} {program} {typed!r}
        printf '%s\\n' "${{COMPREPLY[@]}}"; complete -p {program}"""
    environment = {**os.environ, "PATH": f"{PROGRAMS}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(["bash", "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    *found, registered = [text for text in done.stdout.splitlines() if text]
    assert sorted(found) == replies
    assert registered == f"complete -o default -F _complete_{program} {program}"


def test_every_shell_has_a_script_of_both_programs(capsys: pytest.CaptureFixture[str]) -> None:
    assert sorted(SCRIPTS) == ["bash", "fish", "zsh"]
    for shell in SCRIPTS:
        with pytest.raises(SystemExit) as ended:
            console.main(["--print-completion-script", shell])
        assert not ended.value.code
        assert "hardwatt --complete" in capsys.readouterr().out
        code, out, _ = run("--print-completion-script", shell)
        assert (code, "--complete" in out) == (0, True)
    with pytest.raises(SystemExit) as ended:
        console.main(["--print-completion-script", "tcsh"])
    assert ended.value.code == 2


def test_the_readme_has_one_line_of_completion_for_each_shell() -> None:
    lines = re.findall(r"^.*invoke --print-completion-script (\w+).*$", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert sorted(lines) == ["bash", "fish", "zsh"]
