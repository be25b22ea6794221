"""The view of ``invoke``: a task of each command, and the namespace that ``tasks.py`` of a checkout hands out."""

from __future__ import annotations

import inspect
from typing import Any

from invoke import Collection, Context, Exit, task

from hardwatt.cli import parsing
from hardwatt.cli.commands import COMMANDS
from hardwatt.cli.execution import execute
from hardwatt.cli.registry import Command

parsing.install()


def task_of(command: Command) -> Any:
    """Make an Invoke task of a command. After an exit code other than 0 no further task runs."""

    def run(c: Context, **given: Any) -> None:
        if code := execute(command, given):
            raise Exit(code=code)

    arguments = (*command.words, *command.options)
    parameters = [inspect.Parameter("c", inspect.Parameter.POSITIONAL_OR_KEYWORD)]
    parameters += [
        inspect.Parameter(
            argument.name, inspect.Parameter.KEYWORD_ONLY, default=None if argument.many else argument.default
        )
        for argument in arguments
    ]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined] # what Invoke reads
    run.__doc__, run.__name__ = command.function.__doc__, command.name
    made = task(
        klass=parsing.LabTask,
        positional=[word.name for word in command.words],
        iterable=[argument.name for argument in arguments if argument.many],
        help=dict(command.help),
    )(run)
    made.kinds = {argument.name: argument.kind for argument in arguments if argument.kind in (int, float)}
    return made


def namespace() -> Collection:
    """Return the tasks as Invoke needs them: each command in the collections that its name has."""
    whole = Collection()
    for command in COMMANDS.values():
        *path, name = command.name.split(".")
        place = whole
        for part in path:
            if part not in place.collections:
                place.add_collection(Collection(part))
            place = place.collections[part]
        place.add_task(task_of(command), name=name)
    return whole
