"""The command ``table`` at a terminal: the design that it prints, and its questions."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def say(lines: Sequence[str]) -> None:
    """Print the design before the statistics begin."""
    print("\n".join(lines), flush=True)


def choose(option: str, question: str, choices: Sequence[str]) -> str:
    """Ask at a terminal which choice is meant; empty elsewhere, and where nothing is typed."""
    if not (sys.stdin and sys.stdin.isatty() and sys.stdout.isatty()):
        return ""
    from hardwatt.analysis.tables.grid import shown
    from hardwatt.core.questions import ask

    print(f"{question} ({option})")
    for number, name in enumerate(choices, start=1):
        print(f"  {number}  {shown(name)}")
    answer = ask("number or name: ")
    if answer not in choices and answer.isdecimal() and 1 <= int(answer[:6]) <= len(choices):
        return choices[int(answer[:6]) - 1]
    return answer
