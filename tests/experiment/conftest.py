"""A lab in a temporary folder that uses this checkout's studies, and a short study."""

from pathlib import Path

import pytest

from hardwatt.config.lab import Lab
from hardwatt.config.settings import ROOT, Settings
from hardwatt.experiment.plan.study_file import Study, read_study


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    settings = Settings(name="sim", results=str(tmp_path / "results"))
    return Lab(settings, ROOT, tmp_path / ".lab" / "sim")


@pytest.fixture
def study() -> Study:
    return read_study(Path(__file__).parent / "base.toml")


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test pulls the plug: waiting for the disk would only cost time."""
    monkeypatch.setattr("os.fsync", lambda handle: None)
