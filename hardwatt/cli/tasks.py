"""The tasks of the command line, one file a collection: names, help and exit codes.

The work is done in the other packages; ``tasks.py`` puts the collections together.
"""

import functools
import logging
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from invoke import Collection, Context, Exit, task

from hardwatt.cli import parsing
from hardwatt.config.lab import open_lab
from hardwatt.core.errors import LabError, next_after
from hardwatt.machines import timeouts

parsing.install()


def command(**options: Any) -> Callable[[Callable[..., None]], Any]:
    """Make an Invoke task of a function of the lab; its errors become a message and exit code 1."""

    def wrap(function: Callable[..., None]) -> Any:
        @functools.wraps(function)
        def run(c: Context, *args: Any, **kwargs: Any) -> None:
            if os.environ.get("HARDWATT_DEBUG"):
                logging.basicConfig(level=logging.DEBUG)
            try:
                lab = open_lab()
                timeouts.apply(lab)
                function(lab, *args, **kwargs)
            except LabError as error:
                if not kwargs.get("only"):  # a command for single steps is another one than that for all
                    error.hint = next_after(_typed(function.__name__), error.hint)
                raise Exit(f"error: {error}", code=1) from error
            except KeyboardInterrupt as pressed:
                raise Exit(str(pressed) or "interrupted; the same command goes on from here", code=130) from None

        return task(klass=parsing.LabTask, **options)(run)

    return wrap


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
