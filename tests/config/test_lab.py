"""The lock and the cache of a lab."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hardwatt.config.lab import Lab
from hardwatt.config.settings import Settings
from hardwatt.core.errors import LockedError


def lab(tmp_path: Path) -> Lab:
    return Lab(Settings(name="t1"), tmp_path, tmp_path / ".lab" / "t1")


def test_a_second_command_is_told_who_holds_the_lab(tmp_path: Path) -> None:
    holder = f"process {os.getpid()}: lab.up"
    with (
        lab(tmp_path).lock("lab.up"),
        pytest.raises(LockedError, match=holder),
        lab(tmp_path).lock("lab.down"),
    ):
        pytest.fail("locked twice")


def test_the_lock_ends_with_its_process(tmp_path: Path) -> None:
    code = f"""
import os
from pathlib import Path
from hardwatt.config.lab import Lab
from hardwatt.config.settings import Settings
p = Path({str(tmp_path)!r})
with Lab(Settings(name="t1"), p, p / ".lab" / "t1").lock("killed"):
    os._exit(9)
"""
    done = subprocess.run([sys.executable, "-c", code], check=False, cwd=Path(__file__).parents[2])
    assert done.returncode == 9
    with lab(tmp_path).lock("next"):
        assert (lab(tmp_path).dir / "lock").read_text().endswith("next\n")


def test_the_cache_can_be_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert lab(tmp_path).cache == tmp_path / "hardwatt"
