"""Each command that a page shows works: its program, its task, its options; and where it is harmless, a run of it."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from invoke import Program
from invoke.exceptions import Exit, ParseError
from invoke.parser import Parser, ParserContext

import tasks
from hardwatt.cli import console
from hardwatt.cli.commands import COMMANDS, lookup
from hardwatt.cli.console import SHIPPED
from hardwatt.testing.synthetic_bundle import Spec, make_bundle
from tests.pages.commands import OTHERS, OWN, PAGES, ROOT, SCRIPTS, Shown, blocks, shown

PROGRAMS = Path(sys.executable).parent
EVERY = [one for page in PAGES for one in shown(page)]
MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = set(re.findall(r"^([a-z0-9-]+):(?!=)", MAKEFILE, re.MULTILINE))
VARIABLES = set(re.findall(r"^([A-Z]+) :?=", MAKEFILE, re.MULTILINE))
CONTEXTS = {context.name: context for context in tasks.ns.to_contexts()}
SCRIPT = "--print-completion-script"
CORE = {"--list", "--help", "--version"}
"""Of invoke itself."""
RUN = (
    "invoke energy.convert 394mJ kWh",
    "invoke energy.help",
    "invoke meter.model show",
    "hardwatt table FILE.csv",
    "hardwatt verify BUNDLE",
    "hardwatt compare A B",
)
"""Harmless and quick: run as shown, hardwatt in a folder in which the names of the pages exist."""
_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]+")


def problem(one: Shown) -> str:
    """Return what is wrong with a command; empty where it would be accepted."""
    if one.program == "make":
        return _make(one.arguments)
    if one.program == "invoke":
        return _invoke(one.arguments, whole=one.whole)
    if one.program == "hardwatt":
        return _hardwatt(one.arguments, whole=one.whole)
    if one.program in ("python", "python3"):
        return _python(one.arguments)
    return "" if one.program in OTHERS else f"unknown program {one.program!r}"


def _make(words: list[str]) -> str:
    unknown = [word for word in words if "=" not in word and word not in TARGETS and word not in ("-j", "-k", "-n")]
    unknown += [word for word in words if "=" in word and word.partition("=")[0] not in VARIABLES]
    return f"no target or variable {unknown}" if unknown else ""


def _invoke(words: list[str], *, whole: bool) -> str:
    if words[:1] == [SCRIPT]:
        return "" if words[1:] in (["bash"], ["zsh"], ["fish"]) else f"no completion for {words[1:]}"
    words = [word for word in words if word not in CORE]
    if not words:
        return ""
    if words[0] not in CONTEXTS:
        return f"no task {words[0]!r}"
    mentioned = len(words) == 1
    if mentioned and not whole:
        return ""
    try:
        Parser(initial=ParserContext(), contexts=tasks.ns.to_contexts()).parse_argv(words)
    except (ParseError, Exit, ValueError) as error:
        return "" if mentioned and "required positional" in str(error) else str(error)
    return ""


def _hardwatt(words: list[str], *, whole: bool) -> str:
    said = io.StringIO()
    if len(words) == 1 and lookup(words[0]):
        return ""
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            console.read(words)
    except SystemExit as stopped:
        return said.getvalue() if stopped.code and (whole or words) else ""
    return ""


def _python(words: list[str]) -> str:
    if words[:1] == ["-m"] and len(words) > 1:
        return "" if importlib.util.find_spec(words[1]) else f"no module {words[1]}"
    files = [word for word in words[:1] if word.endswith(".py")]
    return "" if all((ROOT / name).is_file() for name in files) else f"no file {files}"


@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_a_page_is_one_that_its_program_knows(page: str) -> None:
    wrong = [f"{one.text!r}: {found}" for one in EVERY if one.page == page and (found := problem(one))]
    assert not wrong, "\n".join(wrong)


def test_the_pages_show_what_is_looked_for() -> None:
    """A collector that finds nothing would pass every page."""
    found = {(one.page, " ".join((one.program, *one.arguments))) for one in EVERY}
    assert {
        ("README.md", "make lab"),
        ("README.md", "invoke lab.trust 192.0.2.10"),
        ("README.md", "hardwatt compare A B"),
        ("README.md", "invoke --print-completion-script fish"),
        ("README.md", "cp lab.example.toml lab.toml"),
        ("docs/workshop.md", "invoke mirror.export STICK"),
        ("docs/workshop.md", "pip install --no-index --find-links wheels hardwatt"),
        ("docs/energy.md", "invoke energy.convert 394mJ kWh"),
        ("docs/fork.md", "invoke gitops.status"),
        ("experiments/README.md", "invoke experiment.run slow-poll --pairs 3"),
        ("benchmarks/README.md", "python benchmarks/run.py warm"),
    } <= found
    assert sum(one.program in OWN for one in EVERY) > 100


@pytest.mark.parametrize(
    "line",
    [
        "invoke lab.upp",
        "invoke lab.up --nothing",
        "invoke experiment.run push-vs-pull --pears 3",
        "invoke energy.convert",
        "invoke --print-completion-script tcsh",
        "hardwatt tables x.csv",
        "hardwatt table x.csv --colour red",
        "hardwatt compare",
        "make labs",
        "make lab COLOUR=red",
        "python -m hardwatt.nothing",
        "python benchmarks/nothing.py",
        "frobnicate the lab",
    ],
)
def test_a_command_that_does_not_work_is_found(line: str) -> None:
    in_a_block = shown("README.md", f"```\n{line}   # words\n```\n")
    assert [problem(one) != "" for one in in_a_block] == [line not in ("invoke energy.convert", "hardwatt compare")]


def test_lines_are_split_as_a_shell_does() -> None:
    text = "```sh\nread -rs T && export T  # or not\nnice .venv/bin/invoke lab.up | cat; X=1 make test\n```\n"
    assert [(one.program, one.arguments) for one in shown("README.md", text)] == [
        ("read", ["-rs", "T"]),
        ("export", ["T"]),
        ("invoke", ["lab.up"]),
        ("cat", []),
        ("make", ["test"]),
    ]


def options_of_all() -> set[str]:
    known = {flag for context in CONTEXTS.values() for flag in context.flags}
    known |= {flag for context in CONTEXTS.values() for flag in context.inverse_flags}
    known |= {option.option for command in COMMANDS.values() for option in command.options}
    return known | CORE


@pytest.mark.parametrize("page", [page for page in PAGES if page not in SCRIPTS])
def test_an_option_that_stands_alone_belongs_to_a_command(page: str) -> None:
    text = (ROOT / page).read_text()
    alone = {code.split()[0] for code in re.findall(r"`(--[a-z][^`]*)`", text)}
    assert {_OPTION.match(code)[0] for code in alone if _OPTION.match(code)} <= options_of_all()  # type: ignore[index]


def names_of_tasks() -> Iterator[str]:
    first = {one.arguments[0] for one in EVERY if one.program == "invoke" and one.arguments}
    yield from sorted(first & set(CONTEXTS))


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that has the files and bundles which pages name."""
    folder = tmp_path_factory.mktemp("pages")
    rows = [f"{pair},{arm},{pair + place}" for pair in range(1, 8) for place, arm in enumerate(("old", "new"))]
    for name in ("FILE.csv", "mine.csv"):
        (folder / name).write_text("\n".join(["pair,arm,value", *rows]) + "\n")
    shutil.copytree(SHIPPED, folder / "BUNDLE")
    for seed, name in enumerate("AB"):
        make_bundle(folder / name, Spec(pairs=3, seed=seed))
    return folder


def run(words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a program of the environment as a page says: found on PATH, the checkout's code."""
    assert (PROGRAMS / words[0]).is_file(), f"{words[0]} is missing in {PROGRAMS}: run make setup"
    environment = {**os.environ, "PATH": f"{PROGRAMS}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    environment["HARDWATT_LAB"] = "never-made"
    return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.parametrize("line", RUN)
def test_a_harmless_command_runs_as_shown(line: str, named: Path) -> None:
    assert line in {" ".join((one.program, *one.arguments)) for one in EVERY}, "no page shows it any more"
    words = line.split()
    done = run(words, named if words[0] == "hardwatt" else ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_help_of_every_shown_task_is_printed() -> None:
    """In this process, because a process a task takes a second each; one as a page says it."""
    for name in names_of_tasks():
        said = io.StringIO()
        with contextlib.redirect_stdout(said), pytest.raises(SystemExit) as stopped:
            Program(namespace=tasks.ns, name="invoke", binary="invoke").run(["invoke", "--help", name])
        assert not stopped.value.code, name
        assert name in said.getvalue()
    done = run(["invoke", "--help", "lab.up"], ROOT)
    assert done.returncode == 0, done.stderr
    assert "lab.up" in done.stdout


@pytest.mark.parametrize("name", sorted(command.alias for command in COMMANDS.values() if command.alias))
def test_help_of_every_hardwatt_command_is_printed(name: str, tmp_path: Path) -> None:
    done = run(["hardwatt", name, "--help"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"hardwatt {name}" in done.stdout


def test_scripts_for_a_node_are_shell() -> None:
    for page in SCRIPTS:
        for language, content in blocks((ROOT / page).read_text()):
            if language == "sh":
                done = subprocess.run(["bash", "-n"], input=content, capture_output=True, text=True, check=False)
                assert not done.returncode, f"{page}: {done.stderr}\n{content}"


@pytest.mark.parametrize("page", ["README.md", "docs/workshop.md"])
def test_a_page_says_how_its_programs_come_onto_the_path_before_it_shows_one(page: str) -> None:
    text = (ROOT / page).read_text()
    first = min(
        match.start() for match in re.finditer(r"(`|^ *)(invoke [a-z]+\.|hardwatt [a-z]+ )", text, re.MULTILINE)
    )
    assert 0 <= text.find(". .venv/bin/activate") < first
