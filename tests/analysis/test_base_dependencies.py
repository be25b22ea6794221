"""Bundle, instruments, analysis, report and the command work with the base dependencies alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from hardwatt.testing.synthetic_bundle import Truth

ROOT = Path(__file__).parents[2]
BLOCKED = (
    "pyinfra", "kubernetes", "invoke", "paramiko", "prometheus_api_client", "yaml", "requests",
    "selenium", "jsonschema",
)  # fmt: skip
SCRIPT = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked!r}:
            raise ImportError(name + " is not a base dependency")

sys.meta_path.insert(0, Blocker())
from hardwatt.cli.console import main
sys.exit(main({argv!r}))
"""


def run(*argv: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    script = SCRIPT.format(blocked=set(BLOCKED), argv=list(argv))
    command = [sys.executable, "-c", script]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env={"PYTHONPATH": str(ROOT)}, check=False)


def test_report_and_verify_without_the_lab_extra(three: Truth, tmp_path: Path) -> None:
    answer = run("report", str(three.path), "--output", str(tmp_path / "out"), cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    assert Path(answer.stdout.strip()) == tmp_path / "out" / "report.html"
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"results.json", "report.html", "report.md"}
    verified = run("verify", str(three.path), cwd=tmp_path)
    assert verified.returncode == 0, verified.stderr
    assert "modelled" in verified.stdout


def test_the_block_is_one(tmp_path: Path) -> None:
    script = SCRIPT.format(blocked={"polars"}, argv=["verify", "x"])
    answer = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert "polars is not a base dependency" in answer.stderr


def test_an_unknown_bundle_is_refused_with_what_to_give(tmp_path: Path) -> None:
    answer = run("report", "nowhere", cwd=tmp_path)
    assert answer.returncode == 1
    assert "no bundle at nowhere" in answer.stderr
    assert "next:" in answer.stderr
