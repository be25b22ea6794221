"""What a command resolves of its lab once: machine, endpoint, mirror index and the multiplier of its timeouts."""

import ast
import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest

from hardwatt.cli import lab as lab_commands
from hardwatt.cli.execution import execute
from hardwatt.cli.registry import Command
from hardwatt.config.lab import Lab
from hardwatt.config.settings import Settings, parse
from hardwatt.connect import sudo
from hardwatt.connect.endpoint import Endpoint
from hardwatt.core import problem
from hardwatt.core.errors import LabError
from hardwatt.core.files import write_json
from hardwatt.core.problem import Problem
from hardwatt.core.process import Process
from hardwatt.core.wait import set_timeout_factor, timeout_factor
from hardwatt.lifecycle import quickstart, up
from hardwatt.machines import choice, lab_lock, reach_host, remote, timeouts
from hardwatt.machines.embedded.machine import EmbeddedMachine
from hardwatt.machines.lab_context import LabContext
from hardwatt.machines.remote import SshMachine
from hardwatt.machines.vm import facts, qemu
from hardwatt.machines.vm.image import Image
from hardwatt.machines.vm.machine import VmMachine
from hardwatt.meter import sources
from hardwatt.mirror import fill
from hardwatt.mirror.index import Index
from tests.structure.modules import ROOT, modules


@pytest.fixture(autouse=True)
def usual_timeouts() -> Iterator[None]:
    yield
    set_timeout_factor(1)


def made(tmp_path: Path, **settings: object) -> Lab:
    cache = {"cache": str(tmp_path / "cache")}
    return Lab(parse(Settings, {"name": "t1", "mirror": cache, **settings}, "test"), tmp_path, tmp_path / ".lab" / "t1")


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return made(tmp_path)


@pytest.fixture
def probes(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """KVM works here; the list gets an entry for each probe of it."""
    seen: list[object] = []

    def acceleration(_: Path, image: object) -> tuple[str, str]:
        seen.append(image)
        return "kvm", "our kernel speaks under KVM"

    monkeypatch.setattr(facts, "problems", lambda _: [])
    monkeypatch.setattr(choice, "embedded_problems", lambda _: [])
    monkeypatch.setattr(qemu, "acceleration", acceleration)
    return seen


def record(lab: Lab, address: str = "10.77.4.2", **more: object) -> None:
    """Write the record of a machine that runs, as its start does."""
    own = Process.of(os.getpid())
    assert own is not None
    end = Endpoint("t1", "embedded", address, 22, "root", lab.dir / "k", lab.dir / "kh", "10.77.4.1", address)
    whole = {"kind": "embedded", "ident": "0a1b2c3d", "subnet": "10.77.4.0/24", "process": own.to_dict()}
    write_json(lab.dir / "machine.json", {**whole, "endpoint": end.to_dict(), **more})


def test_a_lab_has_one_context_and_a_changed_lab_another(lab: Lab) -> None:
    assert LabContext.of(lab) is LabContext.of(lab)
    other = dataclasses.replace(lab, settings=Settings(name="t2"))
    assert LabContext.of(other) is not LabContext.of(lab)
    assert LabContext.of(other).lab is other
    assert dataclasses.replace(lab) == lab, "what was resolved is not part of a lab"


def test_kvm_is_probed_once_for_all_of_a_command(
    lab: Lab, probes: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "here_as_root", lambda: sources.Sources(()))
    context = LabContext.of(lab)
    assert context.machine.kind == "vm"
    assert context.machine is context.machine
    with pytest.raises(LabError, match="has no machine"):
        context.reached()
    assert quickstart.own_counter(lab) == ""
    assert probes == [None]


@pytest.mark.parametrize(
    "command", [lab_commands.lab_show, lab_commands.lab_check, lab_commands.lab_plan, lab_commands.lab_status]
)
def test_a_command_probes_kvm_at_most_once(
    lab: Lab,
    probes: list[object],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: Command,
) -> None:
    monkeypatch.setattr("hardwatt.config.lab.open_lab", lambda: lab)
    monkeypatch.setattr(fill, "missing", lambda _: [])
    execute(command, {})
    assert "error" not in capsys.readouterr().err
    assert probes == [None]


def test_each_command_probes_anew(lab: Lab, probes: list[object], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hardwatt.config.lab.open_lab", lambda: dataclasses.replace(lab))
    execute(lab_commands.lab_show, {})
    execute(lab_commands.lab_show, {})
    assert probes == [None, None]


def test_a_start_uses_the_probe_of_the_choice(
    lab: Lab, probes: list[object], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """``lab.up`` and ``lab.machine.start``: from the choice of the machine to the guest that is booted."""
    booted: list[str] = []

    def boot(self: VmMachine, _: Image, accel: str, __: object) -> None:
        booted.append(accel)
        record(self.lab, kind="vm", accel=accel, ports={"ssh": 1, "api": 2, "git": 3})

    monkeypatch.setattr(VmMachine, "image", lambda _: Image(tmp_path))
    monkeypatch.setattr(VmMachine, "_boot", boot)
    state = up.LabState(lab)
    up._machine(state)
    assert booted == ["kvm"]
    assert state.changes == ["machine started (it was absent)"]
    assert state.context.endpoint.address == "10.77.4.2"
    assert state.context.machine.why == "the lab has this machine already"
    assert probes == [None]


def test_kvm_that_only_a_boot_tells_is_booted_once(lab: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen: list[object] = []

    def acceleration(_: Path, image: object) -> tuple[str | None, str]:
        seen.append(image)
        return ("tcg", "our kernel says nothing") if image else (None, "not known")

    monkeypatch.setattr(facts, "problems", lambda _: [])
    monkeypatch.setattr(choice, "embedded_problems", lambda _: [])
    monkeypatch.setattr(qemu, "acceleration", acceleration)
    monkeypatch.setattr(VmMachine, "image", lambda _: Image(tmp_path))
    context = LabContext.of(lab)
    assert context.machine.kind == "vm", "as far as is known before a boot"
    assert seen == [None]
    assert context.decide().kind == "embedded"
    assert context.machine.kind == "embedded", "what the boot told is kept"
    assert seen == [None, None, Image(tmp_path)]


def test_a_machine_that_another_process_made_or_destroyed_is_resolved_again(lab: Lab, probes: list[object]) -> None:
    context = LabContext.of(lab)
    assert context.machine.kind == "vm"
    record(lab)
    assert isinstance(context.machine, EmbeddedMachine)
    assert context.endpoint.address == "10.77.4.2"
    assert context.endpoint is context.endpoint
    record(lab, "10.77.8.2")
    assert context.endpoint.address == "10.77.8.2", "a lab that was taken down and made again has another network"
    (lab.dir / "machine.json").unlink()
    assert context.machine.kind == "vm"
    with pytest.raises(LabError, match="has no machine"):
        _ = context.endpoint
    assert probes == [None, None]


def test_the_state_of_a_machine_is_never_kept(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    record(lab)
    found = ["", "the machine's link hw-0a1b2c3d is gone", ""]
    monkeypatch.setattr(EmbeddedMachine, "obstacle", lambda _: found.pop(0))
    context = LabContext.of(lab)
    assert context.reached_endpoint().address == "10.77.4.2"
    with pytest.raises(LabError, match="link hw-0a1b2c3d is gone"):
        context.reached_endpoint()
    assert context.reached_endpoint().address == "10.77.4.2"


def test_a_host_over_ssh_is_resolved_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lock, check of the host, node and cluster use one endpoint: the host's name is asked for once."""
    lab = made(tmp_path, host={"address": "node.example"})
    asked: list[str] = []
    kept: list[Endpoint] = []

    def endpoint(self: SshMachine) -> Endpoint:
        asked.append(self.lab.settings.host.address)
        return Endpoint("t1", "ssh", "192.0.2.9", 22, "root", tmp_path, tmp_path, "192.0.2.1", "192.0.2.9")

    class Answers:
        def __init__(self, end: Endpoint) -> None:
            kept.append(end)

        def __enter__(self) -> "Answers":
            return self

        def __exit__(self, *_: object) -> None: ...

        def run(self, _: str) -> None: ...

    monkeypatch.setattr(SshMachine, "endpoint", endpoint)
    monkeypatch.setattr(remote, "Ssh", Answers)
    monkeypatch.setattr(sudo, "prefix", Answers)
    monkeypatch.setattr(lab_lock, "held", lambda end, _: Answers(end))
    reach_host.require(lab, root=True)
    with lab_lock.locked(lab, "lab.up"):
        assert LabContext.of(lab).reached_endpoint() is kept[0]
    assert asked == ["node.example"]
    assert [end is kept[0] for end in kept] == [True, True, True]


def test_a_choice_that_fails_is_made_once_until_there_is_a_machine(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[Lab] = []

    def problems(asked: Lab) -> list[Problem]:
        tries.append(asked)
        return [problem.error("root", "nobody is root here", "sudo")]

    monkeypatch.setattr(facts, "problems", lambda _: [problem.error("kvm", "no QEMU here", "install it")])
    monkeypatch.setattr(choice, "embedded_problems", problems)
    context = LabContext.of(lab)
    for _ in range(3):
        with pytest.raises(LabError, match="nobody is root here"):
            context.decide() if not tries else context.machine
    with pytest.raises(LabError, match="nobody is root here"):
        _ = context.endpoint
    assert tries == [lab]
    record(lab)
    assert context.machine.kind == "embedded"


@pytest.mark.parametrize("mode", ["", "upstream"])
def test_an_index_is_read_once_until_the_mirror_changes(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, mode: Literal["", "upstream"]
) -> None:
    reads: list[str] = []
    load = fill.load

    def counted(lab: Lab, *, mode: str = "") -> Index:
        reads.append(mode)
        return load(lab, mode=mode)

    def index() -> Index:
        return context.upstream_index if mode else context.index

    monkeypatch.setattr(fill, "load", counted)
    context = LabContext.of(lab)
    before = index()
    assert index() is before
    assert reads == [mode]
    write_json(fill.mirror_root(lab) / "index.json", context.index.to_dict())
    assert index() is not before
    assert index() is index()
    assert before == load(lab, mode=mode)
    assert reads.count(mode) == 2


@pytest.mark.parametrize(
    ("asked", "interval"),
    [
        ({}, "15s"),
        ({"scrape_interval": ""}, "15s"),
        ({"scrape_interval": "7s"}, "7s"),
        ({"scrape_interval": "1s"}, "1s"),
    ],
)
def test_the_scrape_interval_of_the_settings_is_the_endpoint_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: dict[str, str], interval: str
) -> None:
    lab = made(tmp_path, prometheus=asked)
    record(lab)
    context = LabContext.of(lab)
    assert context.endpoint.scrape_interval == interval
    monkeypatch.setattr(EmbeddedMachine, "start", EmbeddedMachine.endpoint)
    assert context.start().scrape_interval == interval
    assert context.endpoint is context.endpoint


SLOW = {"address": "192.0.2.9", "timeout_factor": 3}


@pytest.mark.parametrize(
    ("settings", "record_of", "factor"),
    [
        ({}, None, 1),
        ({"host": SLOW}, None, 3),
        ({"machine": "ssh", "host": SLOW}, None, 3),
        ({"host": SLOW}, {"kind": "embedded"}, 1),
        ({"machine": "embedded", "host": SLOW}, None, 1),
        ({"host": SLOW}, {"kind": "ssh"}, 3),
        ({}, {"kind": "vm", "accel": "tcg"}, timeouts.EMULATED),
        ({"machine": "vm"}, {"kind": "vm", "accel": "tcg"}, timeouts.EMULATED),
        ({"machine": "ssh", "host": SLOW}, {"kind": "vm", "accel": "tcg"}, 3),
        ({}, {"kind": "vm", "accel": "kvm"}, 1),
        ({}, {"kind": "vm"}, 1),
        ({}, ["no", "record"], 1),
    ],
)  # fmt: skip
def test_a_command_begins_with_the_multiplier_of_its_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, object], record_of: object, factor: float
) -> None:
    lab = made(tmp_path, **settings)
    if record_of is not None:
        write_json(lab.dir / "machine.json", record_of)
    seen: list[float] = []
    monkeypatch.setattr("hardwatt.config.lab.open_lab", lambda: lab)
    set_timeout_factor(7)  # of the command before this one
    assert execute(Command("lab.nothing", lambda lab: seen.append(timeout_factor())), {}) == 0
    assert seen == [factor]


def test_a_damaged_record_stops_only_commands_for_the_machine(lab: Lab) -> None:
    lab.dir.mkdir(parents=True)
    (lab.dir / "machine.json").write_text('{"kind": "v')
    timeouts.apply(lab)
    assert timeout_factor() == 1


@pytest.mark.parametrize("kind", ["ssh", "vm", "embedded"])
def test_reading_an_endpoint_changes_no_timeout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    lab = made(tmp_path, machine=kind, host={"address": "127.0.0.1", "timeout_factor": 4})
    if kind != "ssh":
        record(lab, kind=kind, accel="tcg", ports={"ssh": 1, "api": 2, "git": 3})
    machine = choice.machine_for(lab)
    machine.endpoint()
    LabContext.of(lab).endpoint  # noqa: B018
    assert timeout_factor() == 1


def calls(names: set[str]) -> dict[str, set[str]]:
    """Return name -> the modules of hardwatt that call a function so named."""
    found: dict[str, set[str]] = {name: set() for name in names}
    for module, path in modules(ROOT).items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                name = getattr(node.func, "attr", None) or getattr(node.func, "id", "")
                if name in names:
                    found[name].add(module)
    return found


def readers(owner: str, name: str) -> set[str]:
    """Return the modules of hardwatt that read ``owner.name``, whatever ``owner`` is an attribute of."""
    return {
        module
        for module, path in modules(ROOT).items()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
        if node.attr == name and owner in (getattr(node.value, "attr", None), getattr(node.value, "id", None))
    }


def test_index_and_scrape_interval_are_resolved_in_one_place() -> None:
    assert readers("fill", "load") == {"hardwatt.machines.lab_context"}
    assert readers("prometheus", "scrape_interval") == {"hardwatt.machines.lab_context"}


def test_machine_and_timeouts_are_decided_in_one_place() -> None:
    assert calls({"machine_for", "resolve_machine", "set_timeout_factor"}) == {
        "machine_for": {"hardwatt.machines.lab_context"},
        "resolve_machine": {"hardwatt.machines.lab_context"},
        "set_timeout_factor": {"hardwatt.machines.timeouts"},
    }
