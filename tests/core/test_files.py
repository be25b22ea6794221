"""Files are written whole, with their mode."""

import os
from pathlib import Path

import pytest

from hardwatt.core import files


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
