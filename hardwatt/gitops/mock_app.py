"""The talk's mock application, switched on and off by a commit: Flux does the rest."""

from typing import Literal

from hardwatt.config.lab import Lab
from hardwatt.core.errors import LabError, SettingsError
from hardwatt.gitops import tree
from hardwatt.gitops.repository import Repository

_MARK = "# ---"


def path(lab: Lab) -> str:
    """Return the file of the lab's repository that holds the application."""
    return f"{tree.cluster_path(lab)}/app.yaml"


def switched(text: str, state: Literal["on", "off"]) -> str:
    """Return the file with everything from its ``---`` on uncommented, or commented out again.

    Raises ``LabError`` where there is no such line.
    """
    lines = text.splitlines()
    start = next((number for number, line in enumerate(lines) if line in (_MARK, "---")), None)
    if start is None:
        raise LabError(
            "app.yaml has no line '---' that says where the application begins", hint="see clusters/lab/app.yaml"
        )
    return "\n".join([*lines[:start], *(_line(line, state) for line in lines[start:])]) + "\n"


def _line(line: str, state: str) -> str:
    bare = line.removeprefix("#").removeprefix(" ") if line.startswith("#") else line
    return bare if state == "on" else f"# {bare}".rstrip()


def switch(lab: Lab, repo: Repository, state: str) -> str:
    """Commit and push the application ``on`` or ``off``; return the commit, or nothing where it is so already.

    The commit is a person's, not lab.up's: lab.up leaves it as it is. Raises ``LabError``.
    """
    if state not in ("on", "off"):
        raise SettingsError(f"gitops.app {state!r}: on or off", hint="invoke gitops.app on")
    head = repo.fetch()
    text = repo.text(head, path(lab))
    if not text:
        raise LabError(f"the lab's repository holds no {path(lab)}", hint="invoke lab.up")
    wanted = switched(text, "on" if state == "on" else "off")
    if wanted == text:
        return ""
    return repo.edit(path(lab), wanted, f"Mock application {state}")
