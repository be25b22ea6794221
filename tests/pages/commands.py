"""The command lines that pages show: fenced blocks, indented blocks, and inline code that begins with a program."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = (
    "README.md",
    *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md")),
    "experiments/README.md",
    "experiments/arms/README.md",
    "clusters/README.md",
    "benchmarks/README.md",
)
OWN = ("make", "invoke", "hardwatt")
OTHERS = frozenset(
    (".", "cat", "cd", "cp", "curl", "dnf", "du", "export", "flux", "git", "kubeadm", "kubectl", "ls", "nice", "pip",
     "python", "python3", "read", "sha256sum", "source", "ssh", "ssh-copy-id", "ssh-keygen", "sudo")
)  # fmt: skip
"""Programs of others, which a page may show; shells, package managers and tools that are checked no further."""
SHELL = ("", "sh", "bash", "console")
SCRIPTS = ("docs/the-hard-way.md",)
"""Pages whose blocks are scripts for a node, written by `python -m inventory.guide` and tested there."""
_FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(r"(?:^(?: {4,}|\t)\S.*\n)+", re.MULTILINE)
_INLINE = re.compile(r"(?<!`)`([^`]+)`(?!`)")
_PROGRAM = re.compile(r"^(?:\./)?\.?venv/bin/")
_ASSIGNED = re.compile(r"^[A-Z_]+=")


@dataclass(frozen=True)
class Shown:
    """One command as a page shows it."""

    page: str
    text: str
    words: tuple[str, ...]
    whole: bool
    """A line to type, and no mention of a command in a sentence."""

    @property
    def program(self) -> str:
        """The program without the folder of an environment."""
        return _PROGRAM.sub("", self.words[0])

    @property
    def arguments(self) -> list[str]:
        return list(self.words[1:])


def shown(page: str, text: str | None = None) -> list[Shown]:
    """Return every command of a page, in its order."""
    text = (ROOT / page).read_text(encoding="utf-8") if text is None else text
    return [*_blocks(page, text), *_inline(page, text)]


def blocks(text: str) -> Iterator[tuple[str, str]]:
    """Language and content of each fenced block."""
    for match in _FENCE.finditer(text):
        yield match[2], "\n".join(line.removeprefix(match[1]) for line in match[3].splitlines())


def _blocks(page: str, text: str) -> Iterator[Shown]:
    for language, content in blocks(text):
        if language in SHELL and page not in SCRIPTS:
            for line in content.replace("\\\n", " ").splitlines():
                yield from _commands(page, line, whole=True)
    for match in _INDENTED.finditer(_FENCE.sub("", text)):
        lines = [line.strip() for line in match[0].splitlines()]
        if any(_is_own(line) for line in lines):
            for line in lines:
                yield from _commands(page, line, whole=True)


def _inline(page: str, text: str) -> Iterator[Shown]:
    prose = _INDENTED.sub("", _FENCE.sub("", text))
    for match in _INLINE.finditer(prose):
        code = " ".join(match[1].split())
        first = _PROGRAM.sub("", code.split(" ")[0])
        if first in OWN or _PROGRAM.match(code) or (first in OTHERS and " " in code):
            yield from _commands(page, code, whole=" " in code)


def _is_own(line: str) -> bool:
    return bool(line) and (_PROGRAM.match(line) is not None or line.split()[0] in OWN)


def _commands(page: str, line: str, *, whole: bool) -> Iterator[Shown]:
    """Split a line at `&&`, `||`, `|` and `;`; assignments and `nice` before a program are no part of it."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="&|;")
    lexer.whitespace_split, lexer.commenters = True, "#"
    words: list[str] = []
    for word in [*_read(line, lexer), ";"]:
        if set(word) <= set("&|;"):
            while words and (_ASSIGNED.match(words[0]) or words[0] == "nice"):
                words.pop(0)
            if words:
                yield Shown(page, line.strip(), tuple(words), whole)
            words = []
        else:
            words.append(word)


def _read(line: str, lexer: shlex.shlex) -> list[str]:
    try:
        return list(lexer)
    except ValueError as error:
        raise AssertionError(f"{line!r} is no command line: {error}") from None
