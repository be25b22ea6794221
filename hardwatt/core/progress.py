"""Running steps: the name, the start, and the duration of the last time.

Everything here goes to stderr; stdout is for data.
"""

import contextlib
import dataclasses
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from hardwatt.core import state_files
from hardwatt.core.errors import LabError
from hardwatt.core.files import write_json
from hardwatt.core.terminal import printable

console = Console(stderr=True, highlight=False, soft_wrap=True)


def say(text: str) -> None:
    """Print one line for the person at the terminal."""
    console.print(printable(text), markup=False)


def table(*columns: str) -> Table:
    """Return an empty table that cuts nothing off: what does not fit is folded."""
    return Table(*(Column(name, overflow="fold") for name in columns))


def cells(*texts: str) -> list[Text]:
    """Return a table's cells as they are: brackets in them are no markup, as in ``[meter]``."""
    return [Text(printable(text)) for text in texts]


@dataclasses.dataclass
class RunningStep:
    """A step that is running: what it noted, and how much it changed."""

    title: str
    depth: int
    changes: int = 0

    def note(self, text: str) -> None:
        """Print a line that belongs to this step."""
        say(f"{'  ' * (self.depth + 1)}{text}")

    def changed(self, count: int) -> None:
        """Add to the number of changes that this step made."""
        self.changes += count


_depth = 0


@contextlib.contextmanager
def step(title: str, *, folder: Path | None = None) -> Iterator[RunningStep]:
    """Announce a step with the time it took before, and say at its end how long it took.

    An error passes through; the step that failed is marked. With ``folder``, the time is
    kept in its ``timings.json`` for the next run.
    """
    global _depth
    timings = folder / "timings.json" if folder else None
    expected = _known(timings).get(title) if timings else None
    before = f"  (last time {_seconds(expected)})" if expected and expected >= 1 else ""
    pad = "  " * _depth
    say(f"{pad}> {title}{before}")
    current = RunningStep(title, _depth)
    started = time.monotonic()
    _depth += 1
    try:
        yield current
    except BaseException:
        say(f"{pad}x {title}: failed after {_seconds(time.monotonic() - started)}")
        raise
    finally:
        _depth -= 1
    took = time.monotonic() - started
    changes = f", {current.changes} changed" if current.changes else ""
    say(f"{pad}  {title}: {_seconds(took)}{changes}")
    if timings:
        _remember(timings, title, took)


def _remember(timings: Path, title: str, took: float) -> None:
    with contextlib.suppress(LabError):  # of a time nothing depends
        write_json(timings, {**_known(timings), title: round(took, 1)})


def _known(timings: Path) -> dict[str, float]:
    return state_files.cached(timings, _seconds_by_title) or {}


def _seconds_by_title(value: Any) -> dict[str, float]:
    return {title: float(seconds) for title, seconds in state_files.mapping(value).items()}


def _seconds(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds) // 60} min {int(seconds) % 60:02d} s"
