"""One description of a command, two views: what ``hardwatt`` and ``invoke`` make of it."""

import contextlib
import io
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hardwatt.cli import bundle_commands, console
from hardwatt.cli.bundle_commands import COMMANDS, SHIPPED
from hardwatt.cli.namespace import namespace
from hardwatt.cli.registry import Command
from tests.cli.invoked import ROOT, nothing_is_opened, run

__all__ = ["nothing_is_opened"]
CONTEXTS = {context.name: context for context in namespace().to_contexts()}  # anew: Invoke takes the help out of a task


def hardwatt(*argv: str) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = console.main(argv)
        except SystemExit as ended:
            code = int(ended.code or 0)
    return code, out.getvalue(), err.getvalue()


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_both_views_have_the_same_words_options_and_help(command: Command) -> None:
    parser = console._commands(console._parser())[command.name]
    context = CONTEXTS[f"experiment.{command.name}"]
    words = [action.dest for action in parser._actions if not action.option_strings]
    assert words == [argument.name for argument in context.positional_args] == [word.name for word in command.words]
    options = {name for action in parser._actions for name in action.option_strings if name.startswith("--")}
    assert options - {"--help"} <= set(context.flags)
    ours = {action.dest: action.help for action in parser._actions if action.dest != "help"}
    assert ours == {argument.name: argument.help for argument in context.args.values()}
    assert all(ours.values())
    assert command.summary.endswith(".")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    """Replace what the commands call by a record of what it was called with."""
    from hardwatt.report import render

    seen: list[tuple[str, Any]] = []

    def record(name: str) -> Callable[..., str]:
        def called(*args: Any, **kwargs: Any) -> str:
            seen.append((name, (args, kwargs)))
            return name

        return called

    for name in ("report", "comparison", "table"):
        monkeypatch.setattr(render, name, record(name))
    return seen


@pytest.mark.parametrize(
    "line",
    [
        "report",
        "report shipped",
        "report X --output Y --sci Z",
        "analyse X --confidence 0.9 --margin=2 --without-flagged",
        "compare A B",
        "compare A B C D",
        "compare A B C --output Y",
        "compare --output Y A B C",
        "table F.csv --unit J --baseline old",
    ],
)
def test_a_line_means_the_same_to_both(
    line: str, asked: list[tuple[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from invoke import Program

    assert hardwatt(*line.split())[0] == 0
    with contextlib.redirect_stdout(io.StringIO()):
        Program(name="Invoke", binary="invoke").run(["invoke", *f"experiment.{line}".split()])
    first, second = asked
    assert first == second


def test_a_comparison_takes_any_number_of_bundles_and_the_older_spelling(asked: list[tuple[str, Any]]) -> None:
    from invoke import Program

    for line in ("A B C D", "A B --also C --also D", "--first A --second B --also C D"):
        with contextlib.redirect_stdout(io.StringIO()):
            Program(name="Invoke", binary="invoke").run(["invoke", "experiment.compare", *line.split()])
    assert [args[0] for _, (args, _) in asked] == [[Path(name) for name in "ABCD"]] * 3


def test_a_word_left_out_is_the_shipped_bundle(asked: list[tuple[str, Any]]) -> None:
    assert hardwatt("report")[0] == 0
    ((_, (args, _)),) = asked
    assert args == (SHIPPED,) == (bundle_commands.bundle_folder("shipped"),)


def test_a_word_too_many_is_refused_by_both() -> None:
    assert hardwatt("verify", "A", "B")[0] == 2
    code, _, err = run("experiment.verify", "A", "B")
    assert (code, "experiment.verify takes no further word" in err) == (2, True)


@pytest.mark.parametrize(
    ("line", "refused"),
    [
        ("reprot", "there is no command reprot; did you mean report?"),
        ("comparre A B", "there is no command comparre; did you mean compare?"),
        ("report --outptu X", "report has no option --outptu; did you mean --output?"),
        ("table F.csv --basline=old", "table has no option --basline; did you mean --baseline?"),
        ("lab.upp", "there is no task lab.upp; did you mean lab.up?"),
        ("lab.up --onyl node", "lab.up has no option --onyl; did you mean --only?"),
    ],
)
def test_a_mistyped_command_or_option_names_the_nearest(line: str, refused: str) -> None:
    code, out, err = hardwatt(*line.split())
    assert (code, out) == (2, "")
    assert refused in err
    assert "\n  next: " in err


def test_nothing_is_suggested_where_nothing_is_near() -> None:
    for line in ("qqqq", "table F.csv --colour red"):
        code, _, err = hardwatt(*line.split())
        assert (code, "did you mean" in err) == (2, False)


def test_a_task_is_handed_on_to_invoke() -> None:
    code, out, _ = hardwatt("lab.up", "--help")
    assert code == 0
    assert out.startswith("Usage: invoke [--core-opts] lab.up ")


def test_a_task_without_the_extra_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    code, out, err = hardwatt("lab.up")
    assert (code, out) == (1, "")
    assert "lab.up needs the extra lab of hardwatt, and this environment has no invoke, pyinfra, kubernetes" in err
    assert "next: make setup" in err


def test_a_task_outside_a_checkout_says_so(tmp_path: Path) -> None:
    """The package as a wheel has it: alone in a folder, and started from there."""
    shutil.copytree(ROOT / "hardwatt", tmp_path / "hardwatt", ignore=shutil.ignore_patterns("__pycache__", "data"))
    for argv in (["lab.up"], ["experiment.run", "push-vs-pull"]):
        done = subprocess.run(
            [sys.executable, "-m", "hardwatt.cli.console", *argv],
            cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stdout) == (1, "")
        assert f"{argv[0]} works on a lab and needs a checkout of hardwatt" in done.stderr
        assert "Traceback" not in done.stderr
