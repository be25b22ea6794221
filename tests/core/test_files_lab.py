import os
import subprocess
import sys
from pathlib import Path

import pytest

from hardwatt.config.lab import Lab
from hardwatt.config.settings import Settings
from hardwatt.core import files
from hardwatt.core.errors import LockedError


def lab(tmp_path: Path) -> Lab:
    return Lab(Settings(name="t1"), tmp_path, tmp_path / ".lab" / "t1")


def test_a_secret_is_never_readable_by_others(tmp_path: Path) -> None:
    files.write_atomic(tmp_path / "a" / "key", "x", mode=0o600)
    assert (tmp_path / "a" / "key").stat().st_mode & 0o777 == 0o600


def test_a_failed_write_leaves_the_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "file"
    files.write_atomic(target, "old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        files.write_atomic(target, "new")
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_json_round_trip_and_default(tmp_path: Path) -> None:
    files.write_json(tmp_path / "x.json", {"b": 1, "a": [2]})
    assert files.read_json(tmp_path / "x.json") == {"b": 1, "a": [2]}
    assert files.read_json(tmp_path / "none.json", 7) == 7


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
