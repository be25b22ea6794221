"""One description of a command, two views: what ``hardwatt`` and ``invoke`` make of it."""

import argparse
import contextlib
import io
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from invoke import Program

from hardwatt.cli import bundle_commands, console, energy, lab, mirror
from hardwatt.cli.bundle_commands import SHIPPED
from hardwatt.cli.commands import COMMANDS, GROUPS, members
from hardwatt.cli.execution import execute
from hardwatt.cli.registry import CHECKOUT, EXTRA, Command, command
from hardwatt.cli.tasks import namespace
from tests.cli.invoked import ROOT, nothing_is_opened, run

__all__ = ["nothing_is_opened"]
CONTEXTS = {context.name: context for context in namespace().to_contexts()}  # anew: Invoke takes the help out of a task
ALIASES = sorted(described.alias for described in COMMANDS.values() if described.alias)


def hardwatt(*argv: str) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = console.main(argv)
        except SystemExit as ended:
            code = int(ended.code or 0)
    return code, out.getvalue(), err.getvalue()


def test_both_views_have_the_same_commands() -> None:
    assert set(CONTEXTS) == set(COMMANDS)
    _, page, _ = hardwatt("--help")
    listed = {line.split()[0] for line in page.splitlines() if line.startswith("  ") and line[2] not in " -"}
    assert listed == {described.alias or described.name for described in COMMANDS.values()}


@pytest.mark.parametrize("described", COMMANDS.values(), ids=lambda described: described.name)
def test_both_views_have_the_same_words_options_and_help(described: Command) -> None:
    parser, context = console.parser_of(described), CONTEXTS[described.name]
    actions = [action for action in parser._actions if not isinstance(action, argparse._HelpAction)]
    words = [action.dest for action in actions if not action.option_strings]
    assert words == [argument.name for argument in context.positional_args] == [word.name for word in described.words]
    options = {name for action in actions for name in action.option_strings}
    named = [argument for argument in context.args.values() if not argument.positional]
    assert options == {f"--{name}" if len(name) > 1 else f"-{name}" for argument in named for name in argument.names}
    ours = {action.dest: action.help for action in actions}
    assert ours == {argument.attr_name or argument.name: argument.help for argument in context.args.values()}
    assert all(ours.values())
    assert described.summary.endswith((".", "`."))


@pytest.mark.parametrize("described", COMMANDS.values(), ids=lambda described: described.name)
def test_a_command_describes_arguments_that_it_has_and_what_it_needs(described: Command) -> None:
    arguments = {argument.name for argument in (*described.words, *described.options)}
    assert set(described.help) == arguments
    assert set(described.known) <= arguments
    assert set(described.needs) <= {CHECKOUT, EXTRA}
    assert described.takes_lab == (CHECKOUT in described.needs)


@pytest.mark.parametrize("described", COMMANDS.values(), ids=lambda described: described.name)
def test_an_option_means_the_same_to_both(described: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every option at once, by its long and by its short name; then none."""
    seen: list[dict[str, object]] = []

    def record(_: Command, given: Mapping[str, object]) -> int:
        seen.append(described.converted(given))
        return 0

    monkeypatch.setattr("hardwatt.cli.tasks.execute", record)
    monkeypatch.setattr("hardwatt.cli.console.execute", record)
    words = ["word" for word in described.words if word.required]
    for form in ("long", "short", "none"):
        line = [described.name, *words]
        for option in described.options if form != "none" else ():
            name = f"-{option.short}" if form == "short" and option.short else option.option
            line += [name] if option.kind is bool else [name, "3"] * (2 if option.many else 1)
        assert hardwatt(*line)[0] == 0
        Program(namespace=namespace(), name="Invoke", binary="invoke").run(["invoke", *line], exit=False)
        first, second = seen
        assert first == second
        seen.clear()


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
        "report --output Y X",
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
    assert hardwatt(*line.split())[0] == 0
    with contextlib.redirect_stdout(io.StringIO()):
        Program(name="Invoke", binary="invoke").run(["invoke", *f"experiment.{line}".split()])
    first, second = asked
    assert first == second


def test_a_comparison_takes_any_number_of_bundles_and_the_older_spelling(asked: list[tuple[str, Any]]) -> None:
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
        ("experiment.reprot", "there is no task experiment.reprot; did you mean experiment.report?"),
        ("quickstart", "there is no command quickstart; did you mean lab.quickstart?"),
        ("lab.first", "lab.first is called lab.quickstart now"),
        ("--hlep", "hardwatt has no option --hlep; did you mean --help?"),
        ("lab.upp --help", "there is no task lab.upp; did you mean lab.up?"),
        ("lab.upp", "there is no task lab.upp; did you mean lab.up?"),
        ("lab.up --onyl node", "lab.up has no option --onyl; did you mean --only?"),
    ],
)
def test_a_mistyped_command_or_option_names_the_nearest(line: str, refused: str) -> None:
    code, out, err = hardwatt(*line.split())
    assert (code, out) == (2, "")
    assert refused in err
    assert "\n  next: " in err


@pytest.mark.parametrize(
    ("line", "refused"),
    [
        ("experiment.run study --pairs many", "--pairs takes a whole number, and 'many' is not one"),
        ("experiment.qualify --minutes=1h", "--minutes takes a number, and '1h' is not one"),
        ("analyse X --confidence high", "--confidence takes a number, and 'high' is not one"),
        ("lab.up --only", "--only needs a value"),
        ("lab.up -o", "--only needs a value"),
        ("experiment.plan study --export --full", "--export needs a value"),
        ("experiment.run", "missing: study"),
        ("compare", "missing: first, second"),
        ("lab.check lab.plan", "lab.check takes no further word lab.plan"),
    ],
)
def test_wrong_usage_is_named_with_the_help_that_answers_it(line: str, refused: str) -> None:
    code, out, err = hardwatt(*line.split())
    assert (code, out) == (2, "")
    reason, following = err.splitlines()
    assert reason == f"error: {refused}"
    program, *words = following.removeprefix("  next: ").split()
    assert (program, hardwatt(*words)[0]) == ("hardwatt", 0)


def test_nothing_is_suggested_where_nothing_is_near() -> None:
    for line in ("qqqq", "table F.csv --xylophone red"):
        code, _, err = hardwatt(*line.split())
        assert (code, "did you mean" in err) == (2, False)


def test_an_option_is_never_guessed_from_its_beginning() -> None:
    """Invoke guesses none; and of ``lab.down --y`` it would be the answer to its question."""
    for line in ("report --out X", "lab.down --y"):
        assert hardwatt(*line.split())[0] == 2


@pytest.mark.parametrize("line", ["lab.up --help", "--help lab.up", "lab.up --only -h", "-h lab.up --no-such-option"])
def test_help_of_a_task_is_printed_in_any_place(line: str) -> None:
    code, out, err = hardwatt(*line.split())
    assert (code, err) == (0, "")
    assert out.startswith("usage: hardwatt lab.up ")
    assert "a step to run alone" in out


@pytest.mark.parametrize("group", GROUPS)
def test_help_of_a_group_lists_its_commands(group: str) -> None:
    names = [described.name for described in members(group)]
    assert names
    for argv in (["--help", group], [group, "--help"], [group, "-h"]):
        for code, out, err in (hardwatt(*argv), run(*argv)):
            assert (code, err) == (0, "")
            assert [line.split()[0] for line in out.splitlines() if line[2:].startswith(f"{group}.")] == names


@pytest.mark.parametrize("group", GROUPS)
def test_a_group_alone_is_wrong_usage_that_names_its_help(group: str) -> None:
    for program, (code, out, err) in (("hardwatt", hardwatt(group)), ("invoke", run(group))):
        assert (code, out) == (2, "")
        assert f"{group} is a group of " in err
        following = err.strip().rpartition("next: ")[2].split()
        assert following[0] == program
        assert (hardwatt if program == "hardwatt" else run)(*following[1:])[0] == 0


def test_help_on_no_task_names_the_nearest() -> None:
    code, out, err = run("--help", "lab.upp")
    assert (code, out) == (2, "")
    assert "there is no task lab.upp; did you mean lab.up?\n  next: invoke --list" in err
    assert run("lab", "up")[0] == 2


def test_without_a_command_the_help_is_named() -> None:
    code, out, err = hardwatt()
    assert (code, out, err) == (2, "", "error: a command is missing\n  next: hardwatt --help\n")


def test_the_page_of_all_commands_names_what_is_missing_here(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "commands that need a checkout and the lab extra:" in hardwatt("--help")[1]
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    page = hardwatt("--help")[1]
    assert "commands that need a checkout and the lab extra (missing here: the lab extra):" in page
    assert "commands that need this package alone:" in page


def test_a_task_runs_from_hardwatt_and_its_exit_code_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from hardwatt.config.lab import Lab
    from hardwatt.config.settings import Settings

    monkeypatch.setattr("hardwatt.config.lab.open_lab", lambda: Lab(Settings(name="t1"), tmp_path, tmp_path))
    monkeypatch.setattr("hardwatt.lifecycle.inspect.check", lambda lab, as_json: 1 if as_json else 0)
    assert [hardwatt("lab.check", *more)[0] for more in ([], ["--as-json"])] == [0, 1]
    assert [run("lab.check", *more)[0] for more in (["--as-json"],)] == [1]


def test_no_further_task_runs_after_one_that_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []

    def record(described: Command, _: object) -> int:
        ran.append(described.name)
        return int(described.name == "lab.plan")

    monkeypatch.setattr("hardwatt.cli.tasks.execute", record)
    assert run("lab.check", "lab.plan", "lab.up")[0] == 1
    assert ran == ["lab.check", "lab.plan"]


def test_an_error_names_another_next_command_except_for_a_single_step(capsys: pytest.CaptureFixture[str]) -> None:
    from hardwatt.core.errors import LabError

    @command("lab.status", arguments={"only": "a step"})
    def fail(*, only: tuple[str, ...] = ()) -> None:
        raise LabError("it fails", hint="invoke lab.status")

    assert execute(fail, {}) == execute(fail, {"only": ["one"]}) == 1
    assert capsys.readouterr().err.split("\n")[1:4:2] == ["  next: invoke lab.up", "  next: invoke lab.status"]


def test_what_completion_offers_is_what_the_commands_accept() -> None:
    from hardwatt.cluster import port_forward
    from hardwatt.config import versions
    from hardwatt.energy import query
    from hardwatt.experiment.plan.study_file import list_studies
    from hardwatt.lifecycle import up

    assert [step.name for step in up.STEPS] == list(lab.STEPS)
    assert list(port_forward.TARGETS) == list(lab.TARGETS)
    assert list(query.EXAMPLES) == list(energy.QUERIES)
    assert set(versions.GROUPS) == set(mirror.GROUPS)
    (study,) = COMMANDS["experiment.run"].words
    assert study.values == list_studies(ROOT)


def test_a_task_without_the_extra_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    code, out, err = hardwatt("lab.up")
    assert (code, out) == (1, "")
    assert "lab.up needs the extra lab of hardwatt, and this environment has no invoke, pyinfra, kubernetes" in err
    assert "next: make setup" in err


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as a wheel has it: alone in a folder."""
    folder = tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT / "hardwatt", folder / "hardwatt", ignore=shutil.ignore_patterns("__pycache__", "data"))
    return folder


BLOCKED = """
import sys
for name in ("pyinfra", "kubernetes", "invoke", "paramiko", "prometheus_api_client", "yaml", "isal"):
    sys.modules[name] = None
from hardwatt.cli.console import main
sys.exit(main(sys.argv[1:]))
"""


def alone(folder: Path, *argv: str) -> "subprocess.CompletedProcess[str]":
    """Run ``hardwatt`` of a bare wheel: no checkout, and nothing of the extra can be imported."""
    return subprocess.run(
        [sys.executable, "-c", BLOCKED, *argv], cwd=folder, env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_a_bare_wheel_runs_what_needs_nothing_and_lists_the_rest(wheel: Path) -> None:
    page = alone(wheel, "--help")
    assert (page.returncode, page.stderr) == (0, "")
    assert "commands that need a checkout and the lab extra (missing here: a checkout" in page.stdout
    assert alone(wheel, "energy.convert", "3600J", "Wh").stdout == "3600 J = 1 Wh\n"
    assert alone(wheel, "energy.help").stdout.startswith("Joule for beginners")
    assert "usage: hardwatt lab.up" in alone(wheel, "lab.up", "--help").stdout
    offered = alone(wheel, "--complete", "lab.up", "--only", "")
    assert (offered.stdout.split(), offered.stderr) == (list(lab.STEPS), "")


@pytest.mark.parametrize("name", sorted(name for name, described in COMMANDS.items() if described.needs))
def test_a_task_outside_a_checkout_says_so(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("hardwatt.cli.execution._CHECKOUT", tmp_path)
    code, out, err = hardwatt(name, *("word" for word in COMMANDS[name].words if word.required))
    assert (code, out) == (1, "")
    assert f"{name} works on a lab and needs a checkout of hardwatt" in err
    assert f"next: in a checkout: make setup, then .venv/bin/invoke {name}; without one: hardwatt --help" in err


def test_a_wheel_is_no_checkout(wheel: Path) -> None:
    for argv in (["lab.up"], ["experiment.run", "push-vs-pull"]):
        done = alone(wheel, *argv)
        assert (done.returncode, done.stdout) == (1, "")
        assert f"{argv[0]} works on a lab and needs a checkout of hardwatt" in done.stderr
        assert "Traceback" not in done.stderr
