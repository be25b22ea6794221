"""The hard way, readable: what the deploys do to a host, as text for a terminal and as a guide to follow by hand."""

import re
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

NOTE = "/usr/local/lib/hardwatt/note"
"""What writes down for ``lab.down`` what is about to be changed; a person who follows by hand does without it."""
LONG = 90
"""Lines of a file beyond which its place in the checkout is named instead."""


def lines(explained: Sequence[dict[str, Any]]) -> Iterable[str]:
    """Yield the steps with their reasons and commands, for a terminal."""
    for number, step in enumerate(explained, start=1):
        yield f"{number}. {step['title']} (deploys/{step['step']}.py)"
        yield from textwrap.wrap(step["why"].replace("``", "`"), 100, initial_indent="   ", subsequent_indent="   ")
        for operation in step["operations"]:
            yield f"   - {operation['name'].partition(' | ')[2]}"
            for command in operation["commands"]:
                yield from (f"       {line}" for line in shell(command))


def shell(command: dict[str, str]) -> list[str]:
    """Return a command as lines that a shell takes; a file is written by a here-document."""
    if "run" in command:
        return command["run"].splitlines()
    if "source" in command:
        return [f"install -D -m 644 {command['source']} {command['write']}"]
    if not command["content"]:
        return [f": >{command['write']}"]
    body = command["content"].rstrip("\n").split("\n")
    if len(body) > LONG:
        return [f"# write {command['write']}: {len(body)} lines"]
    return [f"cat >{command['write']} <<'END'", *body, "END"]


def guide(explained: Sequence[dict[str, Any]], first: int = 1) -> Iterable[str]:
    """Yield the steps as Markdown, without what only ``lab.down`` needs; the first has this number."""
    for number, (step, operations) in enumerate(by_hand(explained), start=first):
        yield f"### {number}. {step['title']}"
        yield ""
        yield from textwrap.wrap(step["why"].replace("``", "`"), 118)
        yield ""
        for title, commands in operations:
            yield f"{title}:"
            yield ""
            yield "```sh"
            for command in commands:
                yield from shell(command)
            yield "```"
            yield ""


def by_hand(
    explained: Sequence[dict[str, Any]],
) -> list[tuple[dict[str, Any], list[tuple[str, list[dict[str, str]]]]]]:
    """Return the steps that a person does, each with the titles and commands of its operations."""
    manual = []
    for step in explained:
        operations = [(operation["name"].partition(" | ")[2], _by_hand(operation)) for operation in step["operations"]]
        if step["step"] != "host_record" and (shown := [(title, lines) for title, lines in operations if lines]):
            manual.append((step, shown))
    return manual


def _by_hand(operation: dict[str, Any]) -> list[dict[str, str]]:
    """Return the commands that a person needs; what the deploys do to go on after a kill is left out."""
    kept = []
    for command in operation["commands"]:
        text = command.get("run", "")
        if text.startswith(NOTE) or f"{NOTE} brought" in text or "/run/hardwatt/reboot-required" in text:
            continue
        kept.append({"run": _plain(text)} if text else command)
    return kept


def _plain(text: str) -> str:
    """Return a command without what is only there so that nothing ever stops to ask or is done twice."""
    text = re.sub(r"flock --wait \d+ \S+ ", "", text)
    text = re.sub(r" \|\| \{ (echo|tail) .*; false; \}$", "", text, flags=re.DOTALL)
    text = re.sub(r" -o (DPkg|Dpkg|APT)::\S+", "", text)
    return text.replace("DEBIAN_FRONTEND=noninteractive ", "")
