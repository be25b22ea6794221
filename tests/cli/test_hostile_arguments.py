"""Each argument of each command: taken as it is given, or refused by our own error; the registry is walked."""

import contextlib
import io
from pathlib import Path

import pytest

from hardwatt.cli import commands, console, execution
from hardwatt.cli.registry import Argument, Command
from tests.config.test_hostile_settings import NASTY

WORDS = {case: text for case, text in NASTY.items() if "\0" not in text}
"""Text that a command line can hold: no zero."""
ALL = list(commands.COMMANDS.values())
ARGUMENTS = [(command, argument) for command in ALL for argument in (*command.words, *command.options)]
ALONE = [command for command in ALL if not command.needs]


def line(command: Command, argument: Argument, text: str) -> list[str]:
    """Return a command line in which one argument has this text, and the others what they need."""
    words = [text if word is argument else "1" for word in command.words if word.required or word is argument]
    words = ["--", *words] if words else []
    return [*([f"{argument.option}={text}"] if argument in command.options else []), *words]


def test_the_registry_is_walked() -> None:
    names = {command.name for command in ALL}
    assert {"lab.up", "mirror.import", "experiment.report", "energy.query"} <= names
    assert len(ARGUMENTS) > 60


@pytest.mark.parametrize("case", WORDS)
def test_an_argument_is_taken_as_it_is_or_refused(case: str) -> None:
    text = WORDS[case]
    for command, argument in ARGUMENTS:
        if argument.kind is bool:
            continue
        errors = io.StringIO()
        try:
            with contextlib.redirect_stderr(errors):
                given = vars(console.parser_of(command).parse_args(line(command, argument, text)))
        except SystemExit as ended:
            assert ended.code == 2
            shown = errors.getvalue()
            assert "error: " in shown and "Traceback" not in shown and shown.replace("\n", "").isprintable(), shown
            assert argument.kind in (int, float)
        else:
            value = given[argument.name]
            value = value[0] if isinstance(value, list) else value
            assert str(value) == str(argument.kind(text)), (command.name, argument.name)


@pytest.mark.parametrize("case", WORDS)
@pytest.mark.parametrize("command", ALONE, ids=lambda command: command.name)
def test_a_command_that_needs_no_lab_ends_with_an_error_of_ours(
    command: Command, case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("HOME", str(here))
    for argument in command.words:
        given = {word.name: "nothing" for word in command.words if word.required} | {argument.name: WORDS[case]}
        if argument.many:
            given[argument.name] = (WORDS[case],)  # type: ignore[assignment]
        code = execution.execute(command, given)
        shown = "".join(capsys.readouterr())
        assert code in (0, 1, 2), (command.name, argument.name)
        assert "Traceback" not in shown
        assert shown.replace("\n", "").replace("\t", "").isprintable()
    assert [path.name for path in tmp_path.iterdir()] == ["here"]
