"""Explanation of a run of ``deploys/node.py`` on a host, command by command, with reasons. Changes nothing.

``python -m deploys.explain inventory/lab.py`` prints it as one line of JSON; ``invoke lab.plan
--explain`` makes text of it.
"""

import argparse
import importlib
import inspect
import json
import runpy
from typing import Any

from pyinfra.api import Config, Inventory, State
from pyinfra.api.command import FileUploadCommand, FunctionCommand
from pyinfra.api.connect import connect_all, disconnect_all
from pyinfra.api.deploy import add_deploy
from pyinfra.context import ctx_host, ctx_state

from deploys import node


def explain(name: str, data: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the steps that have something to do: ``step``, ``title``, ``why`` and ``operations``.

    An operation has a ``name`` and ``commands``: ``{"run": TEXT}``, or ``{"write": PATH}`` with
    ``content`` or, for a file of the checkout, ``source``.

    + name, data: the host, as an inventory gives it
    """
    state = State(Inventory(([(name, data)], {})), Config(FAIL_PERCENT=0))  # type: ignore[no-untyped-call]
    connect_all(state)
    host = next(iter(state.inventory))
    explained: list[dict[str, Any]] = []
    try:
        for step in node.STEPS:
            module = importlib.import_module(f"deploys.{step}")
            known = set(_order(state))
            add_deploy(state, module.configure)
            new = [key for key in _order(state) if key not in known]
            operations = [_operation(state, host, key) for key in new]
            if done := [operation for operation in operations if operation["commands"]]:
                title = done[0]["name"].partition(" | ")[0]
                explained.append({"step": step, "title": title, "why": _why(module), "operations": done})
    finally:
        disconnect_all(state)
    return explained


def _order(state: State) -> list[str]:
    """Return the keys of the operations that were added, in the order in which they run."""
    return list(state.get_op_order())  # type: ignore[no-untyped-call] # pyinfra has no types there


def _why(module: Any) -> str:
    """Return what the step's file and function say about it, as one paragraph."""
    first = inspect.cleandoc(module.__doc__).partition("\n\n")[0]
    rest = inspect.cleandoc(module.configure.__doc__)
    return " ".join(f"{first} {rest}".split())


def _operation(state: State, host: Any, key: str) -> dict[str, Any]:
    name = next(iter(state.op_meta[key].names))
    with ctx_state.use(state), ctx_host.use(host):
        commands = [_command(command) for command in state.ops[host][key].command_generator()]
    return {"name": name, "commands": commands}


def _command(command: Any) -> dict[str, str]:
    if isinstance(command, FileUploadCommand):
        if isinstance(command.src, str):
            return {"write": command.dest, "source": command.src}
        command.src.seek(0)
        content = command.src.read()
        return {"write": command.dest, "content": content if isinstance(content, str) else content.decode()}
    if isinstance(command, FunctionCommand):
        return {"run": f"# {command.function.__name__}"}
    return {"run": str(command)}


def main() -> None:
    """Print what the one host of an inventory file would get."""
    parser = argparse.ArgumentParser(prog="python -m deploys.explain", description=__doc__)
    parser.add_argument("inventory", help="an inventory file with one node, such as inventory/lab.py")
    name, data = runpy.run_path(parser.parse_args().inventory)["nodes"][0]
    print(json.dumps({"explained": explain(name, data)}))


if __name__ == "__main__":
    main()
