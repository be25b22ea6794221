"""What is shipped to a node runs on EL8's own Python, which is 3.6."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from hardwatt.config.settings import ROOT
from hardwatt.meter import node_config, sources

SHIPPED = [
    *(file for file in node_config.NODE_FILES.values() if file.suffix == ".py"),
    Path(sources.__file__).with_name("powercap_probe.py"),
]
"""The meter's daemon, and the probe that is sent through ``python3 -``."""


def judge(*files: Path) -> "subprocess.CompletedProcess[str]":
    """Ask vermin for syntax, modules, members and arguments that came after Python 3.6."""
    vermin = str(Path(sys.executable).with_name("vermin"))
    argv = [vermin, "--target=3.6-", "--violations", "--no-tips", *map(str, files)]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.name)
def test_a_shipped_program_asks_for_no_more_than_python_3_6(file: Path) -> None:
    done = judge(file)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    "text",
    ["import dataclasses\n", "if (n := 1): pass\n", "import time\ntime.time_ns()\n", "x = 'ab'.removeprefix('a')\n",
     "import subprocess\nsubprocess.run(['true'], capture_output=True)\n", "def f(a, /): pass\n"],
)  # fmt: skip
def test_what_is_newer_is_found(text: str, tmp_path: Path) -> None:
    newer = tmp_path / "newer.py"
    newer.write_text(text)
    assert judge(newer).returncode != 0


def test_nothing_else_of_python_is_sent_to_a_node() -> None:
    """A program that is added to the deploys or their templates is added to the list above."""
    places = [*(ROOT / "deploys").rglob("*.py"), *(ROOT / "templates").iterdir()]
    assert not [str(place) for place in places if re.search(r"python3 (-|/)", place.read_text())]
