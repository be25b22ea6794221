"""bootstrap/setup.sh: what it installs again and what it leaves alone, with a stand-in for Python's venv and pip."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PYTHON = """#!/bin/sh
# Runs code with the real Python; makes an environment of stubs; writes down what pip is told.
case "$1 $2" in
"-m venv")
    mkdir -p "$3/bin" "$3/lib/python3.11/site-packages"
    cp "$0" "$3/bin/python"
    echo "venv" >>"{log}" ;;
"-m pip")
    shift 2
    echo "pip $*" >>"{log}"
    [ ! -e "{folder}/fault" ] || exit 1
    case "$*" in *--editable*) : >"$(dirname "$0")/hardwatt"; chmod +x "$(dirname "$0")/hardwatt" ;; esac ;;
*) exec "{python}" "$@" ;;
esac
"""


class Machine:
    """A checkout in a folder with a space and a percent sign, and a PATH on which python3 is a stand-in."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.log = folder, folder / "log"
        self.root = folder / "my labs 100%" / "hardwatt"
        for name in ("bootstrap/setup.sh", "bootstrap/packages.txt", "pyproject.toml", "requirements/all.txt"):
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, self.root / name)
        programs = folder / "bin"
        programs.mkdir()
        for name, text in (
            ("python3", PYTHON.format(log=self.log, folder=folder, python=sys.executable)),
            ("uname", "#!/bin/sh\necho Elsewhere\n"),
        ):
            (programs / name).write_text(text)
            (programs / name).chmod(0o755)
        self.env = {"PATH": f"{programs}:/usr/bin:/bin", "HOME": str(folder)}
        self.venv = self.root / ".venv"

    def setup(self) -> tuple[int, list[str]]:
        """Run the script; return its exit code and what was done."""
        self.log.write_text("")
        words = ["sh", str(self.root / "bootstrap/setup.sh")]
        done = subprocess.run(words, env=self.env, capture_output=True, text=True, check=False)
        return done.returncode, self.log.read_text().splitlines()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_the_checkout_is_installed_editable_and_without_the_network(machine: Machine) -> None:
    code, (venv, requirements, checkout) = machine.setup()
    assert (code, venv) == (0, "venv")
    assert "--require-hashes" in requirements
    assert {"--no-index", "--no-deps", "--no-build-isolation", "--isolated"} < set(checkout.split())
    assert checkout.endswith(f"--editable {machine.root}")
    assert os.access(machine.venv / "bin/hardwatt", os.X_OK)
    assert machine.setup() == (0, [])


@pytest.mark.parametrize("old", ["path file of an earlier version", "program is missing", "stamp is missing"])
def test_an_environment_of_before_is_brought_up_to_date(machine: Machine, old: str) -> None:
    machine.setup()
    path_file = machine.venv / "lib/python3.11/site-packages/hardwatt-checkout.pth"
    if old != "stamp is missing":
        (machine.venv / "bin/hardwatt").unlink()
    if old != "program is missing":
        (machine.venv / ".installed").unlink()
        path_file.write_text(str(machine.root))
    code, done = machine.setup()
    assert code == 0
    assert [line.split()[0] for line in done] == ["pip"]
    assert "--editable" in done[0]
    assert not path_file.exists()
    assert os.access(machine.venv / "bin/hardwatt", os.X_OK)


def test_another_program_in_pyproject_is_installed_and_the_requirements_stay(machine: Machine) -> None:
    machine.setup()
    project = machine.root / "pyproject.toml"
    project.write_text(
        project.read_text().replace("[project.scripts]\n", '[project.scripts]\nhw = "hardwatt.cli.console:main"\n')
    )
    code, done = machine.setup()
    assert code == 0
    assert len(done) == 1
    assert "--editable" in done[0]
    assert machine.setup() == (0, [])


def test_other_requirements_make_the_whole_environment_anew(machine: Machine) -> None:
    machine.setup()
    (machine.root / "requirements/all.txt").write_text("# none\n")
    assert [line.split()[0] for line in machine.setup()[1]] == ["venv", "pip", "pip"]


def test_a_failed_installation_is_tried_again(machine: Machine) -> None:
    machine.setup()
    (machine.venv / ".installed").unlink()
    (machine.folder / "fault").touch()
    assert machine.setup()[0] == 1
    (machine.folder / "fault").unlink()
    code, done = machine.setup()
    assert (code, len(done)) == (0, 1)


def test_the_editable_build_needs_no_network_and_bears_the_folders_name(tmp_path: Path) -> None:
    """With the pinned setuptools, from a folder with a space and a percent sign, and run from another folder."""
    source, prefix = tmp_path / "my labs 100%" / "hardwatt", tmp_path / "pre fix"
    shutil.copytree(ROOT / "hardwatt", source / "hardwatt", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    words = ["--isolated", "install", "--quiet", "--disable-pip-version-check", "--root-user-action", "ignore"]
    words += ["--no-index", "--no-deps", "--no-build-isolation", "--ignore-installed", "--prefix", str(prefix)]
    made = subprocess.run(
        [sys.executable, "-m", "pip", *words, "--editable", str(source)], capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stdout + made.stderr
    (packages,) = prefix.glob("lib/python3*/site-packages")
    code = f"import site; site.addsitedir({str(packages)!r}); import hardwatt; print(hardwatt.__file__)"
    shown = subprocess.run(
        [sys.executable, "-S", "-c", code], cwd=tmp_path, env={"PATH": os.environ["PATH"]},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert shown.stdout.strip() == str(source / "hardwatt/__init__.py"), shown.stderr
    assert (prefix / "bin/hardwatt").is_file()
