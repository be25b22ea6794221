"""The wheel in an empty environment, without compiler or checkout: the shipped bundle is reported in ten seconds."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The environment's bin folder; only wheels were taken, so nothing was compiled."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    shutil.copytree(ROOT / "hardwatt", source / "hardwatt", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copyfile(ROOT / name, source / name)
    subprocess.run([sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, source], check=True)
    (wheel,) = folder.glob("hardwatt-*.whl")
    venv.create(folder / "venv", with_pip=True, symlinks=True)
    programs = folder / "venv" / "bin"
    words = [str(programs / "python"), "-m", "pip", "install", "-q", "--only-binary", ":all:", str(wheel)]
    subprocess.run(words, check=True, env={**os.environ, "PATH": str(programs), "CC": "/bin/false"})
    return programs


def run(programs: Path, cwd: Path, *words: str) -> str:
    environment = {"PATH": str(programs), "HOME": str(cwd)}
    done = subprocess.run(
        [programs / "hardwatt", *words], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_shipped_bundle_is_reported_within_ten_seconds(installed: Path, tmp_path: Path) -> None:
    """By processor time, which other work on the machine does not stretch."""
    used = []
    for _ in range(2):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        page = run(installed, tmp_path, "report")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        used.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert used[0] < 10, used
    assert Path(page) == tmp_path / "results" / "shipped-bundle" / "report.html"
    assert "Source of energy: modelled" in Path(page).read_text(encoding="utf-8")
    print(f"first {used[0]:.1f} s, again {used[1]:.1f} s of processor time")


def test_the_wheel_holds_what_the_page_of_the_bundle_names(installed: Path, tmp_path: Path) -> None:
    run(installed, tmp_path, "verify")
    (package,) = (installed.parent / "lib").glob("python3*/site-packages/hardwatt")
    named = (
        "py.typed", "bundle/plan.schema.json", "bundle/edge.schema.json", "bundle/inside.md",
        "data/results.schema.json", "data/shipped-bundle/LICENSE", "report/templates/table.html.j2",
    )  # fmt: skip
    for name in named:
        assert (package / name).is_file(), name
    assert not list(package.parent.glob("pyinfra*"))
