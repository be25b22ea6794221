"""The compiler of a build: its environment, its folders, and how its commands run."""

import dataclasses
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from hardwatt.core import process
from hardwatt.core.limits import BUILD


@dataclasses.dataclass(frozen=True)
class Tools:
    """Go, folders and programs that a recipe works with."""

    go: Path
    env: Mapping[str, str]
    log: Path
    work: Path
    """A folder that is removed afterwards."""
    programs: Mapping[str, Path]
    """Programs of the families that this one is made with."""

    def run(
        self,
        argv: Sequence[str | Path],
        cwd: Path,
        *,
        env: Mapping[str, str] | None = None,
        hint: str = "run it again",
    ) -> None:
        """Run a compiler, behind everything else: a node may boot meanwhile.

        It ends when we are killed, so that the next build is alone. ``env`` is added to the tools' own.
        """
        command = ["nice", "-n", "10", *_tied(), *argv]
        process.run(command, cwd=cwd, env={**self.env, **(env or {})}, log=self.log, timeout=BUILD.whole, hint=hint)


def _tied() -> list[str]:
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "TERM"] if setpriv else []
