"""The daemon as a process, its syntax, its files, and the models."""

import ast
import configparser
import json
import operator
import os
import signal
import socket
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from hardwatt.bundle.exposition import parse_exposition
from hardwatt.core.errors import SettingsError, VerifyError
from hardwatt.core.wait import wait
from hardwatt.meter import hardwatt_meter as daemon
from hardwatt.meter import meter_config, node_config
from hardwatt.meter import models as meter_models
from hardwatt.testing.installed_meter import install

FILE = Path(daemon.__file__)


def config(root: Path) -> Path:
    values = {
        "model": {"name": "test", "points": [[0, 10], [1, 30]]},
        "sysfs": str(root / "sysfs"),
        "textfile": str(root / "textfile/hardwatt.prom"),
        "podfile": str(root / "textfile/hardwatt_pods.prom"),
        "record": str(root / "record/recording"),
        "state": str(root / "state.json"),
        "powercap": str(root / "powercap"),
    }
    (root / "meter.json").write_text(json.dumps(values))
    return root / "meter.json"


def test_two_real_seconds(tmp_path: Path) -> None:
    path = config(tmp_path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sock.bind(str(tmp_path / "notify"))
    sock.settimeout(20)
    environment = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify")}
    process = subprocess.Popen([*install(tmp_path / "node"), "--config", str(path)], env=environment)
    try:
        assert sock.recv(100) == b"READY=1"
        counter = tmp_path / "sysfs/class/powercap/synthetic-model:0/energy_uj"
        started, first = time.monotonic(), int(counter.read_text())
        seen = [first]
        while time.monotonic() - started < 2:
            seen.append(int(counter.read_text()))
            time.sleep(0.01)
        seconds = time.monotonic() - started
        watts = (seen[-1] - first) / 1e6 / seconds
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        sock.close()
    assert seen == sorted(seen)
    assert 9 <= watts <= 40
    assert len(set(seen)) >= 5
    page = parse_exposition((tmp_path / "textfile/hardwatt.prom").read_text())
    assert abs(page["hardwatt_meter_read_timestamp_seconds"] - time.time()) < 5
    assert json.loads((tmp_path / "state.json").read_text())["ticks"] == page["hardwatt_meter_ticks_total"]
    assert not list(tmp_path.rglob("*.part"))


def test_ten_restarts_of_the_process_lose_nothing_and_never_step_back(tmp_path: Path) -> None:
    """Every second one is killed. The counter of the CPU stands still, so ten watts go on through all of them."""
    path = config(tmp_path)
    (tmp_path / "cpuacct.usage").write_text("5000000000\n")
    path.write_text(json.dumps({**json.loads(path.read_text()), "cpu": str(tmp_path)}))
    page, zone = tmp_path / "textfile/hardwatt.prom", tmp_path / "sysfs/class/powercap/synthetic-model:0/energy_uj"
    seen: list[tuple[float, float]] = []
    for number in range(10):
        ticks = last(page, "ticks") if page.exists() else 0
        process = subprocess.Popen([*install(tmp_path / "node"), "--config", str(path)])
        try:
            wait(
                lambda: last(page, "ticks") if page.exists() else 0,
                partial(operator.le, ticks + 3),
                what="ticks",
                timeout=30,
                delay=0.02,
            )
            before = int(zone.read_text())
        finally:
            process.send_signal(signal.SIGKILL if number % 2 else signal.SIGTERM)
            process.wait(20)
        assert int(zone.read_text()) >= before
        values = parse_exposition(page.read_text())
        seen.append((values["hardwatt_meter_read_timestamp_seconds"], values["hardwatt_modelled_joules_total"]))
    assert seen == sorted(seen, key=lambda pair: pair[1])
    (began, first), (ended, total) = seen[0], seen[-1]
    assert total - first == pytest.approx(10 * (ended - began), abs=10 * 0.1)


def last(page: Path, what: str) -> float:
    return parse_exposition(page.read_text())[f"hardwatt_meter_{what}_total"]


def test_a_wrong_configuration_ends_with_its_own_status(tmp_path: Path) -> None:
    path = config(tmp_path)
    path.write_text('{"sorce": "rapl"}')
    done = subprocess.run([*install(tmp_path / "node"), "--config", str(path)], capture_output=True, text=True)
    assert done.returncode == 78
    assert "did you mean 'source'" in done.stderr


def test_a_record_that_cannot_be_opened_ends_with_a_sentence(tmp_path: Path) -> None:
    path = config(tmp_path)
    (tmp_path / "record").write_text("a file where the folder should be")
    done = subprocess.run([*install(tmp_path / "node"), "--config", str(path)], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("cannot go on: ")
    assert "Traceback" not in done.stderr


def test_check_writes_nothing_of_the_counters(tmp_path: Path) -> None:
    path = config(tmp_path)
    command = [*install(tmp_path / "node"), "--config", str(path), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert parse_exposition(done.stdout)["hardwatt_node_cpus"] >= 1
    assert [file.name for file in tmp_path.iterdir() if file.is_file()] == ["meter.json"]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["meter.json", "node"]


ON_NODE = {dest: source for dest, source in node_config.NODE_FILES.items() if dest.endswith(".py")}


@pytest.mark.parametrize("file", ON_NODE.values(), ids=[file.name for file in ON_NODE.values()])
def test_syntax_and_imports_of_python_3_6(file: Path) -> None:
    tree = ast.parse(file.read_text(), feature_version=(3, 6))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    own = {f"hardwatt.meter.{source.stem}" for dest, source in ON_NODE.items() if "/hardwatt/meter/" in dest}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "hardwatt.meter":
            names |= {f"hardwatt.meter.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(str(node.module))
    assert names <= set(sys.stdlib_module_names) | own
    later = {"dataclasses", "contextvars", "graphlib", "tomllib", "zoneinfo", "importlib.metadata"}
    assert not names & later
    # list[str] is a type since Python 3.9 only
    subscripted = {node.value.id for node in ast.walk(tree)
                   if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name)}  # fmt: skip
    assert not subscripted & {"list", "dict", "tuple", "set", "frozenset", "type"}
    attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert not attributes & {"removeprefix", "removesuffix", "monotonic_ns", "time_ns", "capture_output", "fspath_"}


def test_every_key_is_documented() -> None:
    missing = [key for key in meter_config.DEFAULTS if key not in (daemon.__doc__ or "")]
    assert missing == []


def unit(name: str) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(FILE.parent / name)
    return parser


def test_the_unit_and_its_mounts_agree_with_the_configuration() -> None:
    service = unit("hardwatt-meter.service")
    made = node_config.meter_config(source="modelled", model=meter_models.load_models()["generic"], cpus=2)
    folder = "/var/lib/" + service["Service"]["StateDirectory"]
    assert folder == node_config.ROOT
    assert all(made[key].startswith(folder + "/") for key in ("sysfs", "textfile", "podfile", "state", "record"))
    assert service["Service"]["RestartPreventExitStatus"] == str(daemon.EX_CONFIG)
    assert service["Service"]["ExecStart"].endswith(next(iter(node_config.NODE_FILES)))
    mounts = service["Unit"]["Wants"].split()
    folders = [str(Path(made["record"]).parent), made["sysfs"], str(Path(made["textfile"]).parent)]
    assert [unit(name)["Mount"]["Where"] for name in mounts] == folders
    assert Path(made["podfile"]).parent == Path(made["textfile"]).parent
    # The mount is larger than what the recorder keeps, and every pod that a node holds has a file open.
    assert f"size={(made['record_bytes'] >> 20) + 8}m" in unit(mounts[0])["Mount"]["Options"]
    assert int(service["Service"]["LimitNOFILE"]) >= 1024
    assert {Path(path).name for path in node_config.NODE_FILES} >= set(mounts)
    assert all(source.exists() for source in node_config.NODE_FILES.values())


def test_made_configurations_are_the_daemons() -> None:
    model = meter_models.load_models()["intel-cascade-lake"]
    made = node_config.meter_config(source="modelled", model=model, cpus=16, cpu="/sys/fs/cgroup/cpuacct/x", units=[])
    loaded = meter_config.load_config(json.dumps(made))
    assert loaded["model"]["points"] == [[0.0, 11.04], [1.0, 65.008]]
    with pytest.raises(SettingsError, match="model needs exactly"):
        node_config.meter_config(source="modelled", model=None, cpus=2)


CPUINFO = (
    "processor\t: 0\nvendor_id\t: {}\ncpu family\t: {}\nmodel\t\t: {}\n"
    "model name\t: x\nstepping\t: {}\n\nprocessor\t: 1\n"
)


@pytest.mark.parametrize(
    ("cpuinfo", "name"),
    [
        (CPUINFO.format("GenuineIntel", 6, 85, 4), "intel-skylake"),
        (CPUINFO.format("GenuineIntel", 6, 85, 7), "intel-cascade-lake"),
        (CPUINFO.format("GenuineIntel", 6, 158, 13), "intel-coffee-lake"),
        (CPUINFO.format("AuthenticAMD", 25, 1, 1), "amd-epyc-3"),
        (CPUINFO.format("GenuineIntel", 6, 1, 1), "generic"),
        ("processor : 0\nBogoMIPS : 50\n", "generic"),
        ("", "generic"),
    ],
)
def test_the_model_of_a_processor(cpuinfo: str, name: str) -> None:
    assert meter_models.select_model("auto", cpuinfo).name == name


@pytest.mark.parametrize(
    ("vendor", "product", "stepping", "name"),
    [
        ("Amazon EC2\n", "m5.large\n", 4, "aws-m5"),
        ("Amazon EC2\n", "m5.large\n", 7, "aws-m5n"),
        ("Amazon EC2\n", "r5d.metal\n", 4, "aws-r5"),
        ("Amazon EC2\n", "c5.xlarge\n", 7, "aws-c5"),
        ("Amazon EC2\n", "x99.large\n", 7, "intel-cascade-lake"),
        ("Google\n", "Google Compute Engine\n", 4, "intel-skylake"),
        ("", "", 7, "intel-cascade-lake"),
    ],
)
def test_the_model_of_a_cloud_instance(vendor: str, product: str, stepping: int, name: str) -> None:
    instance = meter_models.cloud_instance(vendor, product)
    assert meter_models.select_model("auto", CPUINFO.format("GenuineIntel", 6, 85, stepping), instance).name == name


def test_a_part_of_a_published_machine_has_its_part_of_the_watts() -> None:
    model = meter_models.load_models()["aws-m5"]
    made = node_config.meter_config(source="modelled", model=model, cpus=48)["model"]
    assert made["points"][1] == [0.1, pytest.approx(146.63 / 2)]
    assert made["zones"]["dram"][3] == [1.0, pytest.approx(383.81 / 2)]
    assert meter_config.check_model(made) == []


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("threads = 96", "threads = 0", "machine needs threads"),
        ("machine.package =", "machine.core =", "machine needs the zone package"),
        ("machine.dram =", "machine.psys =", "not among core, dram, uncore"),
        ("machine.dram = [", "machine.dram = [[0.0, 0.0], ", "points of zone dram do not rise"),
        ("cpu = { vendor", "cp = { vendor", "a model for cloud instances needs cpu"),
    ],
)
def test_a_file_of_models_with_a_fault_is_refused(tmp_path: Path, old: str, new: str, text: str) -> None:
    head, mark, rest = (FILE.parent / "models.toml").read_text().partition("[models.aws-m5]")
    (tmp_path / "models.toml").write_text(head + mark + rest.replace(old, new, 1))
    found = meter_models.model_problems(tmp_path / "models.toml")
    assert len(found) == 1
    assert found[0].startswith("power model aws-m5: ")
    assert text in found[0]


def test_an_unknown_model_has_a_suggestion() -> None:
    with pytest.raises(
        SettingsError, match=r"no power model 'intel-skylark'; did you mean 'intel-skylake'\?"
    ) as caught:
        meter_models.select_model("intel-skylark")
    assert caught.value.hint == "invoke meter.model show"


def test_every_model_has_a_source_or_says_that_it_is_an_assumption(tmp_path: Path) -> None:
    models = meter_models.load_models()
    assert [model.name for model in models.values() if model.assumption] == ["generic"]
    assert all("https://" in model.source for model in models.values() if not model.assumption)
    text = (FILE.parent / "models.toml").read_text().replace("assumption = true", "assumption = false")
    (tmp_path / "models.toml").write_text(text)
    with pytest.raises(VerifyError, match="generic: needs either a known source"):
        meter_models.load_models(tmp_path / "models.toml")
