"""Files that commit 800bb92 wrote, and a lab around them."""

import shutil
from pathlib import Path
from typing import Any

from hardwatt.config.lab import Lab
from hardwatt.config.settings import ROOT, Settings, parse
from hardwatt.core.files import read_json, write_json

MADE = Path(__file__).parent / "made_at_800bb92"


def lab_in(folder: Path, root: Path = ROOT, **settings: Any) -> Lab:
    given = {"name": "t1", "results": str(folder / "results"), **settings}
    return Lab(parse(Settings, given, "test"), root, folder / ".lab" / "t1")


def place(lab: Lab, name: str, **changed: Any) -> Path:
    """Put a stored state file into a lab's folder; return it. ``changed`` replaces keys that hold a process."""
    file = lab.dir / name.partition("/")[2]
    write_json(file, {**read_json(MADE / name), **changed})
    return file


def place_experiment(lab: Lab) -> Path:
    """Put the interrupted experiment into a lab: its journal and its bundle. Return the simulated cluster's file."""
    bundle = lab.results / "push-vs-pull-20261130-182836-a69027"
    shutil.copytree(MADE / "experiment/bundle", bundle)
    place(lab, "experiment/experiment.json", bundle=str(bundle))
    return Path(shutil.copy(MADE / "experiment/cluster.json", lab.dir / "cluster.json"))
