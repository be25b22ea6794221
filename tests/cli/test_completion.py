"""Completion at a shell: what is offered, and that the scripts which are printed offer it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from hardwatt.cli import console
from hardwatt.cli.commands import COMMANDS
from hardwatt.cli.completion import SCRIPTS
from hardwatt.cli.experiment import studies
from hardwatt.cli.lab import STEPS
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
        ("experiment.run", "push-vs-pull"),
        ("experiment.plan push", "push-vs-pull"),
        ("experiment.run --quick", "push-vs-pull"),
        ("experiment.run --pairs 3", "push-vs-pull"),
        ("lab.up --only", "kubeconfig"),
        ("lab.up --only ku", "kubeconfig"),
        ("lab.up -o", "kubeconfig"),
        ("lab.up --only=ku", "--only=kubeconfig"),
        ("lab.check lab.up --only node --only", "gitops"),
        ("gitops.app", "off"),
        ("lab.forward gr", "grafana"),
        ("energy.query", "namespace-sum"),
        ("meter.model show --name", "generic"),
        ("mirror.fill --only", "ci"),
        ("lab.check", "lab.up"),
        ("lab.forward grafana", "lab.status"),
        ("--print-completion-script", "fish"),
        ("--help lab", "lab.machine"),
        ("--list", "experiment"),
        ("", "lab.up"),
        ("'", "lab.up"),
    ],
)
def test_invoke_offers_tasks_and_options_of_a_half_typed_line(line: str, offered: str) -> None:
    code, out, err = run("--complete", "--", "invoke", *line.split())
    assert (code, err) == (0, "")
    assert offered in out.split()


@pytest.mark.parametrize("line", ["experiment.run --pairs", "lab.trust", "experiment.dump --out", "experiment.talk"])
def test_invoke_offers_no_task_where_a_value_or_a_file_stands(line: str) -> None:
    """Nothing but what the last word itself may become: then the shell completes names of files."""
    _, out, _ = run("--complete", "--", "invoke", *line.split())
    assert set(out.split()) <= {line.split()[-1]}


ALL = {described.alias or described.name for described in COMMANDS.values()}


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ([], ALL),
        (["rep"], ALL),
        (["lab."], ALL),
        (["experiment.run", "--quick", ""], set(studies())),
        (["experiment.run", "--pairs", "3", "pu"], set(studies())),
        (["experiment.run", "push-vs-pull", ""], set()),
        (["experiment.run", "--pairs", ""], set()),
        (["lab.up", "--only", ""], set(STEPS)),
        (["lab.up", "-o", "k"], set(STEPS)),
        (["lab.up", "--only", "="], set(STEPS)),
        (["lab.up", "--only", "=", "k"], set(STEPS)),
        (["lab.up", "--only=k"], {f"--only={step}" for step in STEPS}),
        (["lab.up", "--only", "node", "--on"], {"--only", "--help"}),
        (["lab.up", "--nothing=k"], set()),
        (["gitops.app", ""], {"on", "off"}),
        (["analyse", "X", "--outcome", ""], {"node_cpu_seconds", "node_joules"}),
        (["--print-completion-script", ""], {"bash", "zsh", "fish"}),
        (["--help", ""], ALL),
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
    lines = capsys.readouterr().out.splitlines()
    assert (set(lines), len(lines)) == (offered, len(offered))


@pytest.mark.parametrize(
    ("program", "line", "replies"),
    [
        ("hardwatt", "hardwatt comp", ["compare"]),
        ("hardwatt", "hardwatt table F.csv --bas", ["--baseline"]),
        ("hardwatt", "hardwatt verify ", []),
        ("hardwatt", "hardwatt lab.up --only ku", ["kubeconfig"]),
        ("hardwatt", "hardwatt gitops.app ", ["off", "on"]),
        ("hardwatt", "hardwatt experiment.run push-", ["push-vs-pull"]),
        ("invoke", "invoke experiment.run push-", ["push-vs-pull"]),
        ("invoke", "invoke gitops.app o", ["off", "on"]),
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
