"""The rules of the tree: who may import whom, what a file may name, how long things may get."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BASE_PACKAGES = ("bundle", "instruments", "analysis", "report")
LAB_EXTRA = ("pyinfra", "kubernetes", "invoke", "paramiko", "prometheus_api_client", "yaml")


def tracked() -> list[Path]:
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in done.stdout.splitlines() if (ROOT / name).is_file()]


def python_files(*folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from sorted((ROOT / folder).rglob("*.py"))


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def starts(names: set[str], prefixes: tuple[str, ...]) -> set[str]:
    return {name for name in names if any(name == p or name.startswith(f"{p}.") for p in prefixes)}


RULE = "hardwatt.meter.zones"
"""The rule of energy zones has one owner. It is pure, and the daemon on the node imports it too."""


READERS = {
    "hardwatt/meter/sources.py": "meter.list and the check of a lab's energy",
    "hardwatt/meter/hardwatt_meter.py": "the daemon and its recorder",
    "hardwatt/instruments/recorded_energy.py": "windows of recordings",
    "hardwatt/instruments/zones.py": "windows of samples: imports, dumps, live queries",
    "hardwatt/dump/imports.py": "readings of power",
    "deploys/hostchecks.py": "lab.check on the host",
}
"""Every file that asks which zones add up, and for whom."""


def asks_the_rule(path: Path) -> bool:
    calls = [node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    names = {call.attr if isinstance(call, ast.Attribute) else getattr(call, "id", "") for call in calls}
    return "choose" in names and bool(starts(imports(path), (RULE,)))


def test_every_reader_of_energy_zones_asks_the_one_rule() -> None:
    """A reader of a zone's name decides by itself; only the rule does, and what writes or shows names."""
    files = [
        path for path in python_files("deploys", "hardwatt") if path.name != "zones.py" or "meter" not in path.parts
    ]
    assert {str(path.relative_to(ROOT)) for path in files if asks_the_rule(path)} == set(READERS)
    dies = {str(path.relative_to(ROOT)) for path in files if re.search(r"die[-_\\[]", path.read_text())}
    assert dies <= {"hardwatt/dump/selectors.py"}  # names of metrics to ask a server for


def test_deploys_import_pyinfra_each_other_and_the_rule_of_zones_only() -> None:
    allowed = (*sys.stdlib_module_names, "pyinfra", "deploys", RULE)
    file = ROOT / f"{RULE.replace('.', '/')}.py"
    assert not imports(file) - starts(imports(file), tuple(sys.stdlib_module_names))
    wrong = {
        str(path.relative_to(ROOT)): sorted(imports(path) - starts(imports(path), allowed))
        for path in python_files("deploys")
        if imports(path) - starts(imports(path), allowed)
    }
    assert not wrong


def test_the_toolkit_imports_of_the_deploys_the_contract_alone() -> None:
    assert not imports(ROOT / "deploys/contract.py") - starts(
        imports(ROOT / "deploys/contract.py"), tuple(sys.stdlib_module_names)
    )
    wrong = {
        str(path.relative_to(ROOT)): sorted(found)
        for path in python_files("hardwatt")
        if (found := starts(imports(path), ("deploys", "pyinfra")) - {"deploys", "deploys.contract"})
    }
    assert not wrong


def test_the_engine_does_not_import_deploys() -> None:
    for path in python_files("hardwatt/experiment", "experiments"):
        assert not starts(imports(path), ("deploys", "pyinfra")), path


def test_base_packages_run_without_the_lab_extra() -> None:
    """In one process: what is missing is missing for each of them."""
    code = f"""
import sys
for name in {LAB_EXTRA!r}:
    sys.modules[name] = None
import importlib, pkgutil
for base in {BASE_PACKAGES!r}:
    package = importlib.import_module("hardwatt." + base)
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        importlib.import_module(module.name)
        print(module.name)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert {name.split(".")[1] for name in done.stdout.split()} == set(BASE_PACKAGES)


NAMED = (
    "analysis", "bundle", "cli", "cluster", "config", "connect", "core", "delivery", "dump", "energy", "experiment",
    "gitops", "instruments", "lifecycle", "machines", "meter", "mirror", "provision", "report", "testing",
)  # fmt: skip
"""Packages whose variables say what they hold; only the end of a span is called so."""
SPANS = {
    "hardwatt/cli/bundles.py: end",
    "hardwatt/dump/imports.py: end",
    "hardwatt/dump/replay.py: end",
    "hardwatt/dump/request.py: end",
    "hardwatt/dump/resume_log.py: end",
    "hardwatt/dump/run.py: end",
    "hardwatt/energy/query.py: end",
    "hardwatt/experiment/run/gate.py: end",
    "hardwatt/experiment/run/window.py: end",
    "hardwatt/instruments/power.py: end",
    "hardwatt/instruments/recorded_window.py: end",
}


def overworked(path: Path) -> set[str]:
    """Return the variables and arguments of a file whose names do not say what they hold."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    names = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    return (names | {node.arg for node in nodes if isinstance(node, ast.arg)}) & {"found", "one", "end"}


def test_variables_say_what_they_hold(tmp_path: Path) -> None:
    files = python_files("deploys", *(f"hardwatt/{package}" for package in NAMED))
    assert {f"{path.relative_to(ROOT)}: {name}" for path in files for name in overworked(path)} == SPANS
    planted = tmp_path / "planted.py"
    planted.write_text("def f(end):\n    found = [one for one in end]\n    print(end='')\n")
    assert overworked(planted) == {"found", "one", "end"}


def test_one_module_compares_mistyped_names() -> None:
    """The meter's daemon runs on the node alone; the repository prints a difference of two files."""
    users = {
        str(path.relative_to(ROOT))
        for path in python_files("hardwatt", "deploys", "inventory", "experiments")
        if starts(imports(path), ("difflib",))
    }
    assert users == {"hardwatt/core/nearest.py", "hardwatt/gitops/repository.py", "hardwatt/meter/meter_config.py"}


def registry_hosts() -> set[str]:
    """Return the hosts that this machine installs from, as its configuration names them."""
    texts = []
    for folder in (Path("/etc/apt"), Path("/etc/apt/sources.list.d")):
        texts += [f.read_text() for f in folder.glob("*sources*") if f.is_file()] if folder.is_dir() else []
    for argv in (["pip", "config", "list"], ["go", "env", "GOPROXY", "GOSUMDB"], ["npm", "config", "get", "registry"]):
        try:
            texts.append(subprocess.run(argv, capture_output=True, text=True, check=False).stdout)
        except FileNotFoundError:
            continue
    lines = [line for text in texts for line in text.splitlines() if not line.lstrip().startswith("#")]
    hosts = {host for line in lines for host in re.findall(r"https?://([A-Za-z0-9.-]+)", line)}
    hosts -= {"localhost", "127.0.0.1"}  # a proxy of this machine itself, if it installs through one
    return hosts | {"py" + "pi.org", "files.python" + "hosted.org", "sum." + "golang.org"}


def test_no_file_names_a_registry_host_or_a_path_of_one_machine() -> None:
    hosts = registry_hosts()
    assert hosts
    wrong = []
    for path in tracked():
        if path.suffix in {".png", ".gz", ".parquet", ".zst"}:
            continue
        text = path.read_text(errors="replace")
        wrong += [f"{path.relative_to(ROOT)}: {host}" for host in hosts if host in text]
        wrong += [f"{path.relative_to(ROOT)}: {found}" for found in re.findall(r"/(?:work|home/[a-z]+)/[a-z]+", text)]
    assert not wrong


def test_sizes_stay_readable() -> None:
    wrong = []
    for path in python_files("hardwatt", "deploys", "inventory", "experiments"):
        text = path.read_text()
        if text.count("\n") > 400 and path.name != "hardwatt_meter.py":  # a daemon of one file, by design
            wrong.append(f"{path.relative_to(ROOT)}: {text.count(chr(10))} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef) and (node.end_lineno or 0) - node.lineno >= 60:
                wrong.append(f"{path.relative_to(ROOT)}:{node.lineno}: {node.name} is over 60 lines")
    assert not wrong


def test_nobody_weakens_security() -> None:
    pattern = re.compile(
        r"accept-new|StrictHostKeyChecking[ =]no\b|trusted=yes|--nogpgcheck|AllowUnauthenticated|setenforce 0"
    )
    wrong = [
        f"{path.relative_to(ROOT)}: {found.group()}"
        for path in tracked()
        if path.suffix in {".py", ".j2", ".sh", ".yaml", ".toml", ".service"}
        and not path.is_relative_to(ROOT / "tests")
        if (found := pattern.search(path.read_text(errors="replace")))
    ]
    assert not wrong
