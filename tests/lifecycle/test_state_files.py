"""Damaged state files: each reader names the file, the reason and a next command, and nothing is lost."""

import copy
import dataclasses
import json
import os
import shlex
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hardwatt.bundle.model import Run
from hardwatt.bundle.writer import Writer
from hardwatt.cluster import api_tunnel, port_forward
from hardwatt.config.lab import Lab
from hardwatt.config.settings import ROOT
from hardwatt.core import progress, state_files
from hardwatt.core.errors import LabError, RefusedError
from hardwatt.core.files import write_json
from hardwatt.experiment import operations, qualify
from hardwatt.experiment.plan import qualification
from hardwatt.experiment.run import resume, status
from hardwatt.experiment.run.journal import Journal
from hardwatt.gitops import desired
from hardwatt.machines import choice, timeouts
from hardwatt.machines.embedded import host_record
from hardwatt.machines.embedded.host_record import HostRecord
from hardwatt.machines.vm import qemu
from hardwatt.mirror import commit
from hardwatt.mirror.index import Index
from hardwatt.provision import node_data
from tests.compatibility.support import MADE, lab_in
from tests.structure.modules import modules


@dataclasses.dataclass(frozen=True)
class Reader:
    """A state file: its place in a lab's folder, a whole one, and what a command does with it."""

    place: str
    whole: Any
    use: Callable[[Lab], object]
    then: str
    aside: bool = True
    """The error's command sets the file aside."""


def stored(name: str) -> Any:
    return json.loads((MADE / name).read_text())


def machine(lab: Lab) -> None:
    chosen = choice.machine_for(lab)
    chosen.status(), chosen.obstacle(), chosen.endpoint(), choice.problems(lab), chosen.shell_argv()


def journal(lab: Lab) -> None:
    status.switched_off(lab), status.status(lab)


def of_host(lab: Lab) -> None:
    record = HostRecord(lab.dir)
    host_record.compare(record.before or {}, {})
    record.claim("0a1b2c3d", str(lab.dir), pick=lambda others: "10.77.9.0/24")


def tunnel(lab: Lab) -> None:
    api_tunnel.server(lab, dataclasses.replace(choice.machine_for(lab).endpoint(), jump="a@b:1"))


RECORD = {
    "boot_id": "x",
    "before": {"sysctl": {"kernel/panic": "1"}},
    "labs": {"0a1b2c3d": {"folder": "/", "subnet": "10.77.4.0/24", "holds": False}},
}
MOVES = {"places": {"a": "mirror/tools/a"}, "index": {"schema": 1, "artefacts": []}}
NOISE = {"runs": 8, "mean": 1.0, "sd": 1.0, "sd_upper": 2.0}
READERS = {
    "embedded machine": Reader("machine.json", stored("lab/machine.json"), machine, "invoke lab.up"),
    "virtual machine": Reader("machine.json", stored("vm/machine.json"), machine, "invoke lab.up"),
    "journal": Reader("experiment.json", stored("experiment/experiment.json"), journal, "invoke lab.up"),
    "tunnel": Reader("tunnel.json", stored("lab/tunnel.json"), tunnel, "invoke lab.status"),
    "forward": Reader(
        "forward-prometheus.json", stored("lab/forward-prometheus.json"), port_forward.status, "invoke lab.status"
    ),
    "host": Reader("record.json", RECORD, of_host, "invoke lab.status"),
    "moves": Reader("committed/moves.json", MOVES, lambda lab: commit.finish(lab.dir), "invoke mirror.fill"),
    "qualification": Reader(
        "qualification.json", {"schema": 2}, qualification.load, "invoke experiment.qualify"
    ),
    "node": Reader("node.json", {"ssh": {}}, node_data.read_node_data, "invoke lab.check", aside=False),
    "plan": Reader(
        "plan.json",
        json.loads((MADE / "experiment/bundle/plan.json").read_text()),
        lambda lab: resume.plan_of(lab.dir),
        "invoke experiment.abandon",
        aside=False,
    ),
    "start of a manifest": Reader(
        ".unfinished.json",
        {"checks": []},
        lambda lab: Writer(lab.dir).add_checks([]),
        "invoke experiment.abandon",
        aside=False,
    ),
}  # fmt: skip

RAW = {
    "empty": b"",
    "blank": b"\n \n",
    "zeros": bytes(4096),
    "not JSON": b"machine: embedded\n",
    "not UTF-8": b'{"kind": "\xff"}',
    "nested": b"[" * 100_000,
    "a long number": b'{"schema": ' + b"9" * 5000 + b"}",
    "a list": b"[]",
    "a number": b"7",
    "a word": b'"embedded"',
    "null": b"null",
    "another version": b'{"schema": 99}',
}


@pytest.fixture(autouse=True)
def nothing_is_probed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hardwatt.machines.embedded.network.fault", lambda *_: "")
    monkeypatch.setattr(choice, "embedded_problems", lambda _: [])
    monkeypatch.setattr("hardwatt.machines.vm.facts.problems", lambda _: [])


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    lab = lab_in(tmp_path)
    lab.dir.mkdir(parents=True)
    return lab


def put(lab: Lab, reader: Reader, content: bytes) -> Path:
    file = lab.dir / reader.place
    if reader.place == "tunnel.json":
        write_json(lab.dir / "machine.json", stored("lab/machine.json"))
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(content)
    return file


def refused(lab: Lab, reader: Reader, file: Path) -> LabError:
    """Use a damaged file and return the error, whose command is that of the reader."""
    with pytest.raises(LabError) as caught:
        reader.use(lab)
    error = caught.value
    assert str(file) in error.message
    assert str(error).replace("\n", " ").isprintable()
    assert error.hint.endswith(reader.then)
    return error


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("damage", RAW)
def test_a_damaged_file_is_named_and_kept(lab: Lab, name: str, damage: str) -> None:
    reader = READERS[name]
    file = put(lab, reader, RAW[damage])
    error = refused(lab, reader, file)
    assert file.read_bytes() == RAW[damage]
    away, _, following = error.hint.rpartition(" && ")
    assert following == reader.then and bool(away) == reader.aside
    if away:
        subprocess.run(["/bin/sh", "-c", away], check=True)
        assert not file.exists(), "the command sets the file aside"
        assert RAW[damage] in [path.read_bytes() for path in lab.dir.rglob("*") if path.is_file()]


@pytest.mark.parametrize("name", READERS)
def test_a_file_that_is_cut_off_is_refused_at_each_length(lab: Lab, name: str) -> None:
    whole = json.dumps(READERS[name].whole, indent=2).encode()
    for length in range(1, len(whole), max(1, len(whole) // 40)):
        refused(lab, READERS[name], put(lab, READERS[name], whole[:length]))


@pytest.mark.parametrize("name", READERS)
def test_a_folder_or_a_pipe_in_place_of_a_file(lab: Lab, name: str) -> None:
    reader = READERS[name]
    file = put(lab, reader, b"")
    file.unlink()
    file.mkdir()
    (file / "precious").write_text("kept")
    refused(lab, reader, file)
    assert (file / "precious").read_text() == "kept"
    (file / "precious").unlink()
    file.rmdir()
    os.mkfifo(file)
    refused(lab, reader, file)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a file to another user")
@pytest.mark.parametrize("name", READERS)
def test_a_file_of_another_user(lab: Lab, name: str) -> None:
    reader = READERS[name]
    file = put(lab, reader, json.dumps(reader.whole).encode())
    os.chown(file, 65534, 65534)
    assert "belongs to the user 65534" in refused(lab, reader, file).message
    assert refused(lab, reader, file).hint.startswith(f"sudo chown {os.geteuid()} {shlex.quote(str(file))} && ")


OTHERS: tuple[Any, ...] = (None, "x", "\x1b[2J", -1, 1e400, True, [], {}, [[]], {"a": {}})


def changed(value: Any) -> Iterator[Any]:
    """Yield a document with each of its values, at any depth, missing or of another kind."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        without = copy.copy(value)
        del without[key]
        yield without
        for other in OTHERS:
            replaced = copy.copy(value)
            replaced[key] = other
            yield replaced
        for inner in changed(value[key]):
            replaced = copy.copy(value)
            replaced[key] = inner
            yield replaced


@pytest.mark.parametrize("name", [name for name in READERS if name not in ("plan", "qualification", "node")])
def test_values_of_another_kind_give_an_error_or_a_usable_lab(lab: Lab, name: str) -> None:
    reader = READERS[name]
    refusals = 0
    for document in changed(reader.whole):
        content = json.dumps(document).encode()
        put(lab, reader, content)
        try:
            reader.use(lab)
        except LabError as error:
            refusals += 1
            assert str(error).replace("\n", " ").isprintable()
    assert refusals > 5


@pytest.mark.parametrize("content", [*RAW.values(), b'{"x": "fast"}', b'{"x": null}'])
def test_a_cache_that_cannot_be_used_is_computed_again(
    lab: Lab, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    (lab.dir / "timings.json").write_bytes(content)
    with progress.step("x", folder=lab.dir):
        pass
    assert list(json.loads((lab.dir / "timings.json").read_text())) == ["x"]
    monkeypatch.setattr(qemu, "usable_kvm", lambda: "")
    monkeypatch.setattr(qemu, "_firmware_runs", lambda: False)
    (lab.dir / "vm").mkdir()
    (lab.dir / "vm/kvm.json").write_bytes(content)
    assert qemu.acceleration(lab.dir, None)[0] == "tcg"
    (lab.dir / "desired.json").write_bytes(content)
    assert state_files.cached(lab.dir / "desired.json", desired._kept) is None
    (lab.dir / "machine.json").write_bytes(content)
    assert timeouts.factor(lab) == 1.0


def test_a_folder_in_place_of_a_file_that_is_written(lab: Lab) -> None:
    (lab.dir / "timings.json").mkdir()
    with progress.step("x", folder=lab.dir):
        pass
    with pytest.raises(LabError, match=r"timings\.json is a folder") as caught:
        write_json(lab.dir / "timings.json", {})
    subprocess.run(["/bin/sh", "-c", caught.value.hint.partition(", then")[0]], check=True)
    write_json(lab.dir / "timings.json", {})


def test_the_name_for_a_damaged_file_is_free(tmp_path: Path) -> None:
    file = tmp_path / "a file"
    names = []
    for _ in range(3):
        file.write_text("x")
        subprocess.run(["/bin/sh", "-c", state_files.aside(file)], check=True)
        names.append(sorted(path.name for path in tmp_path.iterdir()))
    assert names[-1] == ["a file.damaged", "a file.damaged-2", "a file.damaged-3"]


def test_a_bundle_with_runs_stays_when_its_plan_is_gone(tmp_path: Path) -> None:
    (tmp_path / "bundle/edges").mkdir(parents=True)
    (tmp_path / "bundle/edges/r1.start.json").write_text("{}")
    with pytest.raises(RefusedError, match=r"holds runs and its plan\.json is missing") as caught:
        operations._clear(tmp_path / "bundle")
    assert caught.value.hint == "invoke experiment.abandon"
    assert (tmp_path / "bundle/edges/r1.start.json").exists()
    (tmp_path / "empty").mkdir()
    operations._clear(tmp_path / "empty")
    assert not (tmp_path / "empty").exists()


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + bytes(100) + b"PAR1"])
def test_a_damaged_table_of_an_unfinished_bundle(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "runs.parquet").write_bytes(content)
    writer = Writer(tmp_path)
    with pytest.raises(LabError, match=r"runs\.parquet of an unfinished bundle is damaged") as caught:
        writer.add_run(Run("r1", 1, 0, "push", 0, "failed", "x", 0, 1, (), 0, 0))
    assert caught.value.hint.startswith("invoke experiment.abandon")
    assert (tmp_path / "runs.parquet").read_bytes() == content


def test_moves_that_lead_out_of_the_mirror_are_refused(lab: Lab) -> None:
    (lab.dir / "committed").mkdir()
    (lab.dir / "committed/a").write_text("a")
    for place in ("mirror/../../a", "/etc/a", "../a", "mirror/a\x1b"):
        write_json(lab.dir / "committed/moves.json", {**MOVES, "places": {"a": place}})
        with pytest.raises(LabError):
            commit.finish(lab.dir)
        assert (lab.dir / "committed/a").exists()


def test_whole_files_are_read(lab: Lab) -> None:
    write_json(lab.dir / "experiment.json", READERS["journal"].whole)
    loaded = Journal.load(lab.dir / "experiment.json")
    assert loaded is not None and loaded.state.study == "push-vs-pull"
    started = {"at": "2027-01-15T08:00:00+00:00", "minutes": 45.0, "long": False, "bundles": {"noise": "results/x"}}
    write_json(lab.dir / "progress.json", started)
    progress = state_files.read(lab.dir / "progress.json", qualify.Progress.from_dict, what="x", then="y")
    assert progress is not None and progress.bundles == {"noise": "results/x"}
    with pytest.raises(LabError, match="description of the node, is missing") as caught:
        node_data.read_node_data(lab)
    assert caught.value.hint == "invoke lab.check"
    assert Index.read(lab.dir).artefacts == ()


def test_no_module_reads_json_files_beside_the_two_readers() -> None:
    allowed = {"hardwatt.core.files", "hardwatt.core.state_files", "hardwatt.core.untrusted"}
    users = {
        name
        for name, path in modules(ROOT).items()
        if name not in allowed and "core.files import" in (text := path.read_text()) and " read_json" in text
        and any("core.files import" in line and "read_json" in line for line in text.splitlines())
    }  # fmt: skip
    assert users == set()
