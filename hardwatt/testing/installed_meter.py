"""The meter's files as a node has them, to be run without the toolkit around them."""

import shutil
import sys
from pathlib import Path

from hardwatt.meter.node_config import NODE_FILES


def install(folder: Path) -> list[str]:
    """Copy the meter's Python files below ``folder`` as provisioning does; return the command that runs the meter.

    The command's Python has the standard library only.
    """
    scripts = {dest: source for dest, source in NODE_FILES.items() if dest.endswith(".py")}
    for dest, source in scripts.items():
        target = folder / dest.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    return [sys.executable, "-S", "-E", str(folder / next(iter(scripts)).lstrip("/"))]
