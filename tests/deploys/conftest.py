"""A run of the node's list on a host that is not there, in this process."""

import dataclasses
import importlib
import re
import runpy
import time
import unittest.mock
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from pyinfra.api import Config, Inventory, State
from pyinfra.api.connect import connect_all
from pyinfra.api.deploy import add_deploy
from pyinfra.api.operations import run_ops

from hardwatt.provision import runner

with unittest.mock.patch("gevent.monkey.patch_all"):
    # pyinfra_testing imports pyinfra's command line, which would patch this whole process; the
    # tests of other parts run in it too
    importlib.import_module("pyinfra_cli")

ROOT = Path(__file__).resolve().parents[2]
FAKE = runpy.run_path(str(ROOT / "hardwatt/testing/fake_host.py"))


@dataclasses.dataclass
class Run:
    """What a run did."""

    commands: list[str]
    """Every command of an operation, in order; commands of facts are left out."""
    files: dict[str, str]
    """What was uploaded, by its path on the node."""
    results: dict[str, bool]
    """Operation to whether it changed something."""

    def has_in_order(self, texts: Sequence[str]) -> None:
        """Assert that each text is part of a command, and that the first ones of each come in this order."""
        places = []
        for wanted in texts:
            found = [place for place, command in enumerate(self.commands) if wanted in command]
            assert found, f"not run: {wanted}\n" + "\n".join(self.commands)
            places.append(found[0])
        assert places == sorted(places)


Runner = Callable[..., Run]


@pytest.fixture
def run_node(monkeypatch: pytest.MonkeyPatch) -> Runner:
    monkeypatch.chdir(ROOT)

    def run(answers: dict[str, Any] | None = None, lab: dict[str, Any] | None = None, steps: Any = None) -> Run:
        files: dict[str, str] = {}
        data = {
            "fake_responses": {**FAKE["answers"](**(answers or {}))},
            "fake_delay": 0,
            "fake_delay_jitter": 0,
            "lab": FAKE["lab"](**(lab or {})),
            **FAKE["GIT"],
        }
        inventory = Inventory(([("@fake/node-1", data)], {}))  # type: ignore[no-untyped-call]
        state = State(inventory, Config(FAIL_PERCENT=0))  # type: ignore[no-untyped-call]
        connect_all(state)
        host = next(iter(state.inventory))
        connector: Any = host.connector

        def put_file(source: Any, path: str, *args: Any, **kwargs: Any) -> bool:
            if isinstance(source, str):
                files[path] = Path(source).read_text()
            else:
                source.seek(0)
                files[path] = source.read()
            return True

        monkeypatch.setattr(connector, "put_file", put_file)
        answered = connector.data["fake_responses"]
        answered[": facts.system"] = _now(answered[": facts.system"])
        for name in steps or runner.steps(ROOT):
            add_deploy(state, importlib.import_module(f"deploys.{name}").configure)
        before = len(connector.executed_commands)
        run_ops(state)
        ran = [text for text in connector.executed_commands[before:] if not _fact(text)]
        metas = {next(iter(state.op_meta[key].names)): state.ops[host][key].operation_meta for key in state.ops[host]}
        return Run(ran, files, {name: meta.did_change() for name, meta in metas.items()})

    return run


def _now(system: str) -> str:
    """Return a machine's answer with its clock at this very moment, unless it is meant to be wrong."""
    clock = int(re.findall(r"^time=(\d+)$", system, re.MULTILINE)[-1])
    return system if abs(time.time() - clock) > 1800 else system.replace(f"time={clock}", f"time={int(time.time())}")


def _fact(command: str) -> bool:
    """Return whether this is the question of a fact, ours or pyinfra's."""
    return ": facts." in command or command.startswith(
        ("if command -v", "! (", "! test", "( stat", "(sh", "ls -", "cat /")
    )
