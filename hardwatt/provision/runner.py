"""The node's deploys, run with pyinfra: apply, plan, check.

pyinfra runs as a process of its own (its gevent and Invoke do not live in one), reads the node
from ``.lab/NAME/node.json`` by ``inventory/lab.py``, and prints its results as JSON.
"""

import contextlib
import dataclasses
import datetime
import json
import re
import runpy
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hardwatt.config.lab import Lab
from hardwatt.connect import sudo
from hardwatt.core import process, state_files
from hardwatt.core.errors import CommandError, LabError
from hardwatt.core.nearest import did_you_mean
from hardwatt.core.problem import Problem
from hardwatt.core.progress import say
from hardwatt.core.wait import timeout_factor
from hardwatt.machines.lab_context import LabContext
from hardwatt.provision.node_data import node_file, read_node_data, write_node_data

__all__ = [
    "DeployResult",
    "PlannedChanges",
    "apply",
    "check",
    "explain",
    "plan",
    "reset",
    "select",
    "steps",
    "write_node_data",
]

INVENTORY = "inventory/lab.py"
DEPLOY = "deploys/node.py"
RESET = "deploys.reset.configure"
REPORT = "HARDWATT_PREFLIGHT_REPORT"
WAITS = "Reboot | The rest waits for it"
"""The operation that ends a run's list; why is in /run/hardwatt/reboot-required on the node, a line each."""
TIMEOUT = 1800.0
"""Seconds for a whole deploy: images over a slow line are the longest part."""
LOGS = 20
"""Logs of deploys that a lab keeps."""
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_ENDED = re.compile(r"^--> pyinfra error in \S+ line \d+: ", re.MULTILINE)


@dataclasses.dataclass(frozen=True)
class DeployResult:
    """Result of a deploy: the operations that ran a command, and how many there were in all."""

    changed: list[str]
    operations: int
    waits: bool = False
    """The list was not done to its end: the node has to be rebooted, and the deploy run again."""


@dataclasses.dataclass(frozen=True)
class PlannedChanges:
    """Changes that a deploy would make, one line an operation."""

    lines: list[str]
    operations: int


def steps(root: Path) -> tuple[str, ...]:
    """Return the names of the node's steps, in order: the list in ``deploys/node.py``."""
    names: tuple[str, ...] = runpy.run_path(str(root / DEPLOY), run_name="deploys.node")["STEPS"]
    return names


def select(root: Path, names: Sequence[str]) -> list[str]:
    """Return pyinfra's targets for the steps with these names (none: the whole list, as one).

    Raises ``LabError`` listing the right names.
    """
    known = steps(root)
    if unknown := [name for name in names if name not in known]:
        near = did_you_mean(unknown[0], known, "steps")
        raise LabError(f"unknown step {', '.join(unknown)}; {near}", hint=f"choose from: {', '.join(known)}")
    return [f"deploys.{name}.configure" for name in known if name in names] or [DEPLOY]


def apply(lab: Lab, steps: Sequence[str] = ()) -> DeployResult:
    """Provision the node, or run single steps; what is already there is left alone.

    Raises ``LabError`` naming the operation that failed and the log.
    """
    changed: list[str] = []
    operations, waits = 0, False
    for target in select(lab.root, steps):
        results = _pyinfra(lab, target, "-y", tell=lambda text: say(f"    {text}"))["results"]
        changed += [f"{row['name']}" for row in results["operations"] if row["success"]]
        operations += len(results["operations"])
        waits = waits or any(row["name"] == WAITS for row in results["operations"])
    return DeployResult(changed, operations, waits)


def plan(lab: Lab) -> PlannedChanges:
    """Return what ``apply`` would do now; changes nothing."""
    rows = _pyinfra(lab, DEPLOY, "--dry")["plan"]
    lines = [_planned(row) for row in rows if _planned(row)]
    if any(row["name"] == WAITS for row in rows):
        lines.append("a reboot; what follows it is planned by the next lab.plan")
    return PlannedChanges(lines, len(rows))


def explain(lab: Lab) -> list[dict[str, Any]]:
    """Return what ``apply`` would do now: each step with its reason, operations and commands; changes nothing.

    Raises ``LabError``, as where the node cannot carry the lab.
    """
    file = _node(lab)
    log = _new_log(lab.logs)
    result = _ended(lab, [sys.executable, "-m", "deploys.explain", INVENTORY], {"HARDWATT_NODE_FILE": str(file)}, log)
    text = log.read_text(errors="replace")
    if result.returncode != 0:
        raise failure(lab.name, "deploys.explain", text, log)
    explained: list[dict[str, Any]] = payload(text, log, "explained")["explained"]
    return explained


def reset(lab: Lab, *, keep_packages: bool = False, dry: bool = False) -> list[str]:
    """Undo on the node what ``apply`` did, in reverse, from the node's own record; return what was (``dry``: would be).

    Raises ``LabError``.
    """
    options = ["--data", "keep_packages=yes"] if keep_packages else []
    answer = _pyinfra(lab, RESET, "--dry" if dry else "-y", *options)
    rows = answer["plan"] if dry else answer["results"]["operations"]
    return [str(row["name"]).removeprefix("Give back | ") for row in rows]


def check(lab: Lab) -> list[Problem]:
    """Return every problem of the node that the preflight finds; changes nothing."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "problems.json"
        _pyinfra(lab, "deploys.preflight.report", "--dry", env={REPORT: str(report)})
        what, then = "the report of the node's checks,", "invoke lab.check"
        return state_files.read(report, _problems, what=what, then=then, keep=True) or []


def _problems(value: Any) -> list[Problem]:
    return [Problem.from_dict(row) for row in state_files.entries(value)]


def _planned(row: dict[str, Any]) -> str:
    if row["hosts_with_change"]:
        return str(row["name"])
    return f"{row['name']} (if needed then)" if row["hosts_with_conditional_change"] else ""


def _pyinfra(
    lab: Lab,
    target: str,
    *arguments: str,
    env: dict[str, str] | None = None,
    tell: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Run pyinfra on the lab's node and return what it printed; ``tell`` hears of each part as it begins.

    Raises ``LabError``.
    """
    file = _node(lab)
    log = _new_log(lab.logs)
    with _following(log, tell):
        argv = [sys.executable, "-m", "pyinfra", INVENTORY, target, "--json", *arguments]
        # pyinfra tries the agent's and the user's keys at a jump host, whatever its ssh_config says
        nobody = {"SSH_AUTH_SOCK": "", "HOME": str(lab.dir / "nobody")}
        more = {"HARDWATT_NODE_FILE": str(file), "PYINFRA_PROGRESS": "off", **nobody, **(env or {})}
        result = _ended(lab, argv, more, log)
    text = log.read_text(errors="replace")
    if result.returncode != 0:
        raise failure(lab.name, target, text, log)
    return payload(text, log)


def _ended(lab: Lab, argv: Sequence[str], env: Mapping[str, str], log: Path) -> process.Result:
    """Run a program on the node's deploys to its end, whatever it is. Raises ``LabError`` where that takes too long."""
    try:
        return process.run(
            argv, cwd=lab.root, env=env, timeout=TIMEOUT * timeout_factor(), check=False, log=log, tied=True
        )
    except CommandError as error:
        address = read_node_data(lab).ssh.address
        raise LabError(
            f"the deploys on {address} {error.reason}; {error.stderr.strip()}",
            hint="invoke lab.check says whether the host answers; "
            "for a slow host, timeout_factor in [host] of lab.toml",
        ) from None


def _node(lab: Lab) -> Path:
    """Return the file that pyinfra reads the node from, and have its ``sudo -n`` work there. Raises ``LabError``."""
    file = node_file(lab)
    if not file.exists():
        raise LabError(f"nothing is known about the node of {lab.name}", hint="invoke lab.up")
    if read_node_data(lab).ssh.user != "root":
        sudo.prefix(LabContext.of(lab).endpoint)
    return file


def _new_log(folder: Path) -> Path:
    """Return the path of a new log, and remove the oldest beyond ``LOGS``."""
    for old in sorted(folder.glob("node-*.log"))[: -(LOGS - 1)]:
        old.unlink(missing_ok=True)
    return folder / f"node-{datetime.datetime.now(datetime.UTC):%Y%m%d-%H%M%S-%f}.log"


@contextlib.contextmanager
def _following(log: Path, tell: Callable[[str], None] | None) -> Iterator[None]:
    """Tell of each part of the deploy that begins, read from the growing log."""
    if tell is None:
        yield
        return
    ended = threading.Event()
    started = time.monotonic()

    def follow() -> None:
        told = 0
        while True:
            last = ended.wait(0.5)
            titles = parts(log.read_text(errors="replace")) if log.exists() else []
            for title in titles[told:]:
                tell(f"{time.monotonic() - started:3.0f} s  {title}")
            told = len(titles)
            if last:
                return

    thread = threading.Thread(target=follow, name="follow pyinfra", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def parts(text: str) -> list[str]:
    """Return the titles of the deploys that a log of pyinfra shows as begun, in order."""
    names = re.findall(r"--> Starting operation: (.+?) \| ", _COLOUR.sub("", text))
    return list(dict.fromkeys(names))


def payload(text: str, log: Path, key: str = "plan") -> dict[str, Any]:
    """Return pyinfra's JSON from its log: the last line of its kind (``key`` comes first in it).

    Raises ``LabError`` where there is none.
    """
    for line in reversed(text.splitlines()):
        if line.startswith(f'{{"{key}":'):
            answer: dict[str, Any] = json.loads(line)
            return answer
    raise LabError("pyinfra ended without saying what it did", hint=f"see {log}")


def failure(lab: str, target: str, text: str, log: Path) -> LabError:
    """Return the error of a failed run: which operation, what it said, where to read on."""
    plain = _COLOUR.sub("", text)
    _, mark, operation = plain.rpartition("--> Starting operation: ")
    title, _, said = operation.partition("\n") if mark else ("", "", plain)
    where = f"the operation {title.strip()!r}" if mark else f"the preparation of {target}"
    # what pyinfra says when it leaves is the same every time, but for the error that a deploy itself ended with
    before, _, left = said.partition("--> Disconnecting")
    if reason := _ENDED.search(left):
        before = left[reason.end() :]
    said = "\n".join(before.rstrip().splitlines()[-25:]) or plain[-2000:]
    return LabError(
        f"{where} failed on the node of {lab}:\n{said}\n(the whole log: {log})",
        hint="mend what it names and run the same command again; it goes on where it stopped",
    )
