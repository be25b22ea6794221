"""The tasks of the command line, one file a collection: names, help and exit codes.

The work is done in the other packages; ``namespace.py`` puts the collections together.
"""

import contextlib
import functools
import inspect
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from invoke import Collection, Context, Exit, task

from hardwatt.cli import parsing, registry
from hardwatt.config.lab import open_lab
from hardwatt.core.errors import LabError, next_after
from hardwatt.machines import timeouts

parsing.install()


def command(**options: Any) -> Callable[[Callable[..., None]], Any]:
    """Make an Invoke task of a function of the lab; its errors become a message and exit code 1."""

    def wrap(function: Callable[..., None]) -> Any:
        @functools.wraps(function)
        def run(c: Context, *args: Any, **kwargs: Any) -> None:
            # a command for single steps is another one than that for all
            with _ending("" if kwargs.get("only") else _typed(function.__name__)):
                lab = open_lab()
                timeouts.apply(lab)
                function(lab, *args, **kwargs)

        return task(klass=parsing.LabTask, **options)(run)

    return wrap


def task_of(described: registry.Command) -> Any:
    """Make an Invoke task of a command that needs no lab."""

    def run(c: Context, **values: Any) -> None:
        with _ending(f"experiment.{described.name}"):
            registry.run(described, values)

    arguments = (*described.words, *described.options)
    either = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [inspect.Parameter("c", either)]
    parameters += [
        inspect.Parameter(one.name, inspect.Parameter.KEYWORD_ONLY, default=None if one.many else one.default)
        for one in arguments
    ]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined] # what Invoke reads
    run.__doc__, run.__name__ = described.function.__doc__, described.name
    made = task(
        klass=parsing.LabTask,
        positional=[word.name for word in described.words],
        iterable=[one.name for one in arguments if one.many],
        help=dict(described.help),
    )(run)
    made.kinds = {one.name: one.kind for one in arguments if one.kind is float}
    return made


@contextlib.contextmanager
def _ending(name: str) -> Iterator[None]:
    """Turn errors into a message and an exit code; ``name`` is the task's, as it is typed."""
    if os.environ.get("HARDWATT_DEBUG"):
        logging.basicConfig(level=logging.DEBUG)
    try:
        yield
    except LabError as error:
        if name:
            error.hint = next_after(name, error.hint)
        raise Exit(f"error: {error}", code=1) from error
    except KeyboardInterrupt as pressed:
        raise Exit(str(pressed) or "interrupted; the same command goes on from here", code=130) from None


def _typed(name: str) -> str:
    """Return a task's name as it is typed, from that of its function: ``lab_status``, ``machine_start``."""
    first, _, rest = name.partition("_")
    return f"{'lab.machine' if first == 'machine' else first}.{rest.replace('_', '-')}"


def collection(name: str, *modules: ModuleType) -> Collection:
    """Return the tasks of the modules whose functions are called ``<name>_...``."""
    made = Collection(name)
    for module in modules:
        for key, value in vars(module).items():
            if key.startswith(f"{name}_") and hasattr(value, "body"):
                made.add_task(value, name=key.removeprefix(f"{name}_").replace("_", "-"))
    return made


def report_path(bundle: Path) -> Path:
    """Analyse a bundle, write its report, and return the report's path."""
    from hardwatt.report.render import report

    return report(bundle)
