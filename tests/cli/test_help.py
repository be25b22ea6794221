"""Help in any place, and wrong usage: every task, every command of ``hardwatt``, every script."""

import ast
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from invoke import Program

import tasks
from hardwatt.cli import console
from hardwatt.config.lab import Lab
from hardwatt.config.settings import Settings
from tests.cli.invoked import ROOT, nothing_is_opened, run

__all__ = ["nothing_is_opened"]

CONTEXTS = {context.name: context for context in tasks.ns.to_contexts()}
NAMES = sorted(str(name) for name in CONTEXTS)


def places(name: str) -> Iterator[list[str]]:
    """Yield a command line of the task for each place where help can stand."""
    context = CONTEXTS[name]
    words = [f"word-{argument.name}" for argument in context.positional_args]
    for known in range(len(words) + 1):
        yield [name, *words[:known], "--help", "--no-such-option"]
    yield [name, "-h"]
    options = [argument for argument in context.args.values() if not argument.positional]
    given = [f"--{argument.names[0]}" + ("=1" if argument.takes_value else "") for argument in options]
    yield [name, *given, *words, "--help"]
    yield from ([name, f"--{argument.names[0]}", "--help"] for argument in options if argument.takes_value)


@pytest.mark.parametrize("name", NAMES)
def test_every_task_answers_help_in_any_place(name: str) -> None:
    _, expected, _ = run("--help", name)
    assert expected.startswith("Usage: ")
    assert name in expected.splitlines()[0]
    for argv in places(name):
        assert run(*argv) == (0, expected, ""), argv


@pytest.mark.parametrize("name", NAMES)
def test_every_task_refuses_an_option_that_it_does_not_have(name: str) -> None:
    words = [f"word-{argument.name}" for argument in CONTEXTS[name].positional_args]
    for known in range(len(words) + 1):
        option = ("--no-such-option", "--no-such-option=5", "-Z")[known % 3]
        code, out, err = run(name, *words[:known], option)
        assert (code, out) == (2, "")
        assert f"{name} has no option {option.partition('=')[0]}" in err
        assert err.rstrip().endswith(f"next: invoke {name} --help")


def test_no_short_option_stands_where_help_does() -> None:
    assert not [name for name, context in CONTEXTS.items() if "-h" in context.flags]


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ("experiment.run study --pairs many", "--pairs takes a whole number, and 'many' is not one"),
        ("experiment.qualify --minutes=1h", "--minutes takes a number, and '1h' is not one"),
        ("experiment.run", "'study'"),
        ("lab.up --only", "--only needs a value"),
        ("experiment.plan study --export", "--export needs a value"),
        ("experiment.plan study --export --full", "--export needs a value"),
        ("lab.no-such-task", "lab.no-such-task"),
        ("--no-such-option", "--no-such-option"),
        ("lab.down --yes please", "please"),
    ],
)
def test_wrong_usage_is_named_and_ends_with_two(argv: str, words: str) -> None:
    code, out, err = run(*argv.split())
    assert (code, out) == (2, "")
    assert words in err
    assert "next: invoke " in err


def test_a_value_may_begin_with_a_dash(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen: list[object] = []
    monkeypatch.setattr("hardwatt.config.lab.open_lab", lambda: Lab(Settings(name="t1"), tmp_path, tmp_path))
    monkeypatch.setattr("hardwatt.energy.units.convert", lambda *given: seen.append(given))
    Program(name="Invoke", binary="invoke").run(["invoke", "energy.convert", "--quantity=-5J", "--unit", "-x"])
    assert seen == [("-5J", "-x")]
    code, _, err = run("energy.query", "-sum(x)")
    assert code == 2
    assert "--query=VALUE" in err


@pytest.mark.parametrize("command", ["", "report", "analyse", "compare", "table", "verify", "talk"])
def test_hardwatt_answers_help_in_any_place(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    for before in ([], ["some-file"]):
        with pytest.raises(SystemExit) as ended:
            console.main([*([command, *before] if command else []), "--help"])
        assert ended.value.code == 0
        assert capsys.readouterr().out.startswith("usage: hardwatt")
    with pytest.raises(SystemExit) as ended:
        console.main([*([command, "some-file"] if command else []), "--no-such-option"])
    assert ended.value.code == 2


def scripts() -> list[str]:
    """Return what can be run by itself: files with the executable bit, and modules with a main."""
    listed = subprocess.run(["git", "ls-files", "-s"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    found = []
    for line in listed.splitlines():
        mode, name = line.split()[0], line.partition("\t")[2]
        if mode == "100755" or (name.endswith(".py") and (ROOT / name).is_file() and has_main(ROOT / name)):
            found.append(name)
    return found


def has_main(path: Path) -> bool:
    return any(
        isinstance(node, ast.If) and "'__main__'" in ast.dump(node.test) for node in ast.parse(path.read_text()).body
    )


def run_script(script: str, option: str, capsys: pytest.CaptureFixture[str]) -> tuple[object, str, str]:
    if not script.endswith(".py"):
        done = subprocess.run(
            [str(ROOT / script), option], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
        )
        return done.returncode, done.stdout, done.stderr
    sys.argv = [script, option]
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / script), run_name="__main__")
    return ended.value.code or 0, *capsys.readouterr()


@pytest.mark.parametrize("script", scripts())
def test_every_script_answers_help_and_refuses_an_unknown_option(
    script: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [])
    code, out, err = run_script(script, "--help", capsys)
    assert (code, err) == (0, "")
    assert "usage" in out.lower()
    code, out, err = run_script(script, "--no-such-option", capsys)
    assert (code, out) == (2, "")
    assert "usage" in err.lower() or "--no-such-option" in err
    assert not list(tmp_path.iterdir()), "it has written something"
