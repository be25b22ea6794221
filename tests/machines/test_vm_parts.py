"""The virtual machine's parts: image, disk, QEMU's arguments, ports, states, the choice; nothing is booted."""

import contextlib
import dataclasses
import os
import socket
import struct
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from hardwatt.config.lab import Lab
from hardwatt.config.settings import Settings, parse
from hardwatt.connect.endpoint import Endpoint
from hardwatt.core import process as core_process
from hardwatt.core.errors import LabError, RefusedError
from hardwatt.core.files import write_json
from hardwatt.core.problem import error
from hardwatt.core.process import Process
from hardwatt.core.wait import set_timeout_factor, timeout_factor, wait
from hardwatt.machines import choice, host_facts, identity, timeouts
from hardwatt.machines.rootfs import Sources
from hardwatt.machines.vm import disk as vm_disk
from hardwatt.machines.vm import facts, qemu
from hardwatt.machines.vm import image as vm_image
from hardwatt.machines.vm import machine as vm_machine
from hardwatt.machines.vm.image import Image
from hardwatt.machines.vm.qemu import Accel, Guest, Ports
from tests.machines.constructed_hosts import BARE_V1

SOURCES = Sources(
    "bookworm", ("/etc/apt/sources.list.d/debian.sources",), ('Acquire::http::Proxy "http://127.0.0.1:3142";',)
)
PORTS = Ports(40022, 46443, 42222)


@pytest.fixture(autouse=True)
def usual_timeout_factor() -> Iterator[None]:
    yield
    set_timeout_factor(1)


def lab(tmp_path: Path, **more: object) -> Lab:
    cache = {"cache": str(tmp_path / "cache")}
    settings = parse(Settings, {"name": "t1", "mirror": cache, **more}, "test")
    return Lab(settings, tmp_path, tmp_path / ".lab" / "t1")


def who(cgroup: str = "v1", emulated: bool = True) -> vm_disk.Identity:
    return vm_disk.Identity("t1", "0" * 32, "PRIVATE\n", "PUBLIC\n", "CLIENT\n",
                           vm_disk.arguments(emulated=emulated, cgroup=cgroup))  # fmt: skip


def test_the_image_is_named_by_its_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    before = vm_image.key("debian", "bookworm")
    assert before.startswith("bookworm-x86_64-")
    assert vm_image.key("ubuntu", "noble") != before
    monkeypatch.setattr(vm_image, "PACKAGES", (*vm_image.PACKAGES, "auditd"))
    assert vm_image.key("debian", "bookworm") != before


@pytest.mark.parametrize(("uid", "mode"), [(0, "root"), (1000, "unshare")])
def test_the_image_is_made_with_root_or_without(uid: int, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    command = vm_image.build_command(
        Path("/c/root.tar"), "linux-image-cloud-amd64", SOURCES, Path("/c/apt.conf"), False
    )
    assert f"--mode={mode}" in command
    included = next(part for part in command if part.startswith("--include=")).removeprefix("--include=").split(",")
    assert {"linux-image-cloud-amd64", "grub-pc", "systemd", "openssh-server", "firewalld"} <= set(included)
    assert command[-3:] == ["bookworm", "/c/root.tar", "/etc/apt/sources.list.d/debian.sources"]
    assert any("linux-headers-" in part for part in command)


def test_what_tells_machines_apart_is_in_no_image() -> None:
    text = str(vm_image._files()) + str(vm_image._hooks())
    assert "machine-id" not in text
    assert "authorized_keys" not in text
    assert "ssh_host_*" in text, "keys that the packages made are removed"


def test_the_guest_reaches_a_proxy_of_our_loopback_at_its_own_address_of_us(tmp_path: Path) -> None:
    vm_image._overlay(tmp_path / "overlay.tar", SOURCES)
    with tarfile.open(tmp_path / "overlay.tar") as archive:
        assert all(entry.uid == 0 and entry.gid == 0 for entry in archive)
        options = archive.extractfile("etc/apt/apt.conf.d/50hardwatt")
        assert options is not None
        assert options.read() == b'Acquire::http::Proxy "http://10.0.2.2:3142";\n'
        assert archive.getmember("root/.ssh").mode == 0o700
        assert archive.getmember("etc/systemd/system/apt-daily.timer").linkname == "/dev/null"


def test_the_first_sector_holds_the_boot_loader_and_one_partition() -> None:
    sector = vm_image.first_sector(bytes(range(256)) * 2)
    assert len(sector) == 512
    assert sector[:440] == (bytes(range(256)) * 2)[:440]
    assert sector[510:] == b"\x55\xaa"
    active, kind, start, count = struct.unpack_from("<B3xB3xII", sector, 446)
    assert (active, kind, start) == (0x80, 0x83, 2048)
    assert (start + count) * 512 == vm_image.DISK


def test_a_fresh_machine_boots_as_rhel_8_does_unless_told_otherwise() -> None:
    assert vm_disk.arguments(emulated=False, cgroup="v2") == ("console=ttyS0",)
    assert "systemd.unified_cgroup_hierarchy=0" in vm_disk.arguments(emulated=False, cgroup="v1")
    assert "tsc=reliable" not in vm_disk.arguments(emulated=False, cgroup="v1"), "real hardware has no such argument"
    assert "tsc=reliable" in vm_disk.arguments(emulated=True, cgroup="v2")
    grub = vm_disk.files(who(), "6.1.0-1-cloud-amd64")["/boot/grub/grub.cfg"][1]
    assert f"linux /boot/vmlinuz-6.1.0-1-cloud-amd64 root=UUID={vm_image.UUID} ro console=ttyS0" in grub


@pytest.fixture(scope="module")
def small_disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A disk as the image's is, with the folders that the files go into and nothing else."""
    folder = tmp_path_factory.mktemp("disk")
    for path in vm_disk.files(who(), "1"):
        (folder / "tree" / path.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
    (folder / "tree/etc/hostname").write_text("old\n")
    disk = folder / "disk.raw"
    with disk.open("wb") as file:
        file.truncate(32 * 1024**2)
    env = {**os.environ, "PATH": host_facts.search_path()}
    argv = ["mkfs.ext4", "-q", "-F", "-E", f"offset={vm_image.OFFSET}", "-d", str(folder / "tree"), str(disk), "16384K"]
    subprocess.run(argv, check=True, env=env)
    return disk


def test_a_disk_gets_its_identity_without_being_mounted(tmp_path: Path, small_disk: Path) -> None:
    image = tmp_path / "image"
    image.mkdir()
    (image / "disk.raw").symlink_to(small_disk)
    (image / "release").write_text("6.1\n")
    target = tmp_path / "machine/disk.raw"
    assert vm_disk.make(target, Image(image), who())
    assert not vm_disk.make(target, Image(image), who()), "it is there"
    assert target.parent.stat().st_mode & 0o777 == 0o700
    shown = subprocess.run(
        ["debugfs", "-R", "stat /etc/ssh/ssh_host_ed25519_key", f"{target}?offset={vm_image.OFFSET}"],
        check=True, capture_output=True, text=True, env={**os.environ, "PATH": host_facts.search_path()},
    ).stdout  # fmt: skip
    assert "Mode:  0600" in shown
    assert "User:     0   Group:     0" in shown
    assert [path.name for path in target.parent.iterdir()] == ["disk.raw"]


def test_a_full_file_system_is_told(tmp_path: Path, small_disk: Path) -> None:
    with pytest.raises(LabError, match="/etc/hostname could not be written"):
        vm_disk.write_into(small_disk, {"/etc/hostname": (0o644, "x" * 64 * 1024**2)})


def guest(folder: Path, accel: Accel = "tcg") -> Guest:
    return Guest("t1", folder / "disk,1.raw", folder / "machine.log", 4096, 2, "u-u-i-d", accel)


def test_qemu_opens_three_ports_of_the_loopback_and_nothing_else(tmp_path: Path) -> None:
    argv = qemu.argv(guest(tmp_path), PORTS)
    assert (
        "user,id=n0,hostfwd=tcp:127.0.0.1:40022-:22,hostfwd=tcp:127.0.0.1:46443-:6443,hostfwd=tcp:127.0.0.1:42222-:2222"
        in argv
    )
    assert argv[argv.index("-accel") + 1] == "tcg,thread=multi,tb-size=1024"
    assert f"file={tmp_path}/disk,,1.raw,if=none" in argv[argv.index("-drive") + 1], "a comma is doubled"
    kvm = qemu.argv(guest(tmp_path, "kvm"), PORTS)
    assert kvm[kvm.index("-accel") + 1 : kvm.index("-accel") + 4] == ["kvm", "-cpu", "host"]


def test_ports_are_the_ones_of_before_wherever_they_are_free() -> None:
    first = qemu.free_ports()
    assert len({first.ssh, first.api, first.git}) == 3
    with socket.create_server(("127.0.0.1", first.api)):
        again = qemu.free_ports(first)
    assert (again.ssh, again.git) == (first.ssh, first.git)
    assert again.api != first.api


def test_only_the_qemu_of_this_disk_is_ended(tmp_path: Path) -> None:
    machine = vm_machine.VmMachine(lab(tmp_path))
    script = tmp_path / "qemu.py"
    script.write_text("import time; time.sleep(60)\n")
    disk = machine.lab.dir / "machine/disk.raw"
    with contextlib.ExitStack() as stack:

        def start(name: str, drive: str) -> "subprocess.Popen[bytes]":
            argv = [name, str(script), "-drive", f"file={drive},if=none"]
            child = stack.enter_context(subprocess.Popen(argv, executable=sys.executable))
            stack.callback(child.kill)
            return child

        ours = start(qemu.PROGRAM, str(disk))
        others = [start(qemu.PROGRAM, f"{disk}-of-b"), start("qemu-img", str(disk))]
        wait(lambda: len(qemu.running(disk)), lambda count: count == 1, what="start", timeout=10, delay=0.05)
        assert machine._end() == 1
        assert ours.wait(timeout=10) < 0
        assert [child.poll() for child in others] == [None, None]


def test_states_are_told_apart(tmp_path: Path) -> None:
    mine = lab(tmp_path)
    machine = vm_machine.VmMachine(mine)
    assert machine.status().state == "absent"
    with pytest.raises(LabError, match="has no machine"):
        machine.endpoint()
    end = machine._endpoint(PORTS, Path("/k/ssh"))
    assert Endpoint.from_dict(end.to_dict()) == end
    assert (end.address, end.port, end.port_here(6443), end.port_here(9100)) == ("127.0.0.1", 40022, 46443, 9100)
    assert (end.serve_at, end.controller_address) == ("127.0.0.1", "10.0.2.2")
    state = {
        "kind": "vm",
        "ports": dataclasses.asdict(PORTS),
        "accel": "tcg",
        "endpoint": end.to_dict(),
        "process": None,
    }
    write_json(mine.dir / "machine.json", state)
    assert machine.status().state == "stopped"
    write_json(mine.dir / "machine.json", {**state, "process": {"pid": os.getpid(), "started": 1}})
    assert machine.status().state == "dead", "our number, and another start time"
    own = Process.of(os.getpid())
    assert own is not None
    write_json(mine.dir / "machine.json", {**state, "process": own.to_dict()})
    assert machine.status().state == "running"
    assert timeout_factor() == 1
    assert machine.start() == end, "a machine that runs is left alone"
    assert timeout_factor() == timeouts.EMULATED, "and what is emulated is waited for longer"


def test_a_guest_whose_start_was_killed_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = lab(tmp_path)
    machine = vm_machine.VmMachine(mine)
    own = Process.of(os.getpid())
    assert own is not None
    end = machine._endpoint(PORTS, Path("/k/ssh"))
    write_json(mine.dir / "machine.json", {
        "kind": "vm", "ports": dataclasses.asdict(PORTS), "accel": "kvm", "endpoint": end.to_dict(),
        "process": own.to_dict(), "booting": True,
    })  # fmt: skip
    waited: list[tuple[Endpoint, dict[str, object]]] = []
    monkeypatch.setattr(vm_machine.VmMachine, "_await", lambda _, *asked: waited.append(asked))
    assert [machine.start(), machine.start()] == [end, end]
    [(waited_for, state)] = waited
    assert (waited_for, state["process"]) == (end, own.to_dict()), "once: then it is known to have booted"
    assert state["accel"] == "kvm"


def test_a_machine_is_removed_with_its_keys_whatever_a_killed_start_left(tmp_path: Path) -> None:
    mine = lab(tmp_path)
    machine = vm_machine.VmMachine(mine)
    machine.destroy()
    write_json(mine.dir / "machine.json", {"kind": "vm", "ports": dataclasses.asdict(PORTS)})
    (mine.dir / "machine").mkdir()
    (mine.dir / "machine/disk.raw.new").write_text("half")
    identity.ensure_key(mine, identity.HOST_KEY)
    identity.learn(mine, "127.0.0.1", "ssh-ed25519 AAAA", port=PORTS.ssh)
    machine.destroy()
    assert sorted(path.name for path in mine.dir.rglob("*")) == ["keys", "timings.json"]


def test_a_lab_of_another_kind_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    mine = lab(tmp_path, machine="vm")
    write_json(mine.dir / "machine.json", {"kind": "embedded"})
    with pytest.raises(RefusedError, match="another kind"):
        choice.machine_for(mine).start()


@pytest.mark.parametrize(
    ("accel", "virtual", "embedded", "kind", "why"),
    [
        ("kvm", [], [], "vm", "KVM works here"),
        (None, [], [], "vm", "the first start finds out"),
        ("tcg", [], [], "embedded", "no virtual machine by KVM (no reason), and there is root"),
        ("tcg", [], ["no root"], "vm", "ten times slower"),
        ("kvm", ["no qemu"], [], "embedded", "no qemu"),
        ("tcg", ["no qemu"], ["no root"], "", "no machine fits: no root; no qemu"),
    ],
)
def test_auto_says_which_machine_and_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    accel: Accel | None, virtual: list[str], embedded: list[str], kind: str, why: str,
) -> None:  # fmt: skip
    monkeypatch.setattr(facts, "problems", lambda _: [error("x", text, "mend it") for text in virtual])
    monkeypatch.setattr(choice, "embedded_problems", lambda _: [error("x", text, "mend it") for text in embedded])
    monkeypatch.setattr(qemu, "acceleration", lambda *_: (accel, "no reason"))
    mine = lab(tmp_path)
    if not kind:
        with pytest.raises(LabError) as caught:
            choice.machine_for(mine)
        assert caught.value.message == why
        return
    machine = choice.machine_for(mine)
    assert machine.kind == kind
    assert why in machine.why


def test_whether_kvm_works_is_tried_once_with_our_own_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[Accel | None] = [None, "tcg"]
    monkeypatch.setattr(facts, "problems", lambda _: [])
    monkeypatch.setattr(choice, "embedded_problems", lambda _: [])
    monkeypatch.setattr(qemu, "acceleration", lambda *_: (answers.pop(0), "our kernel says nothing"))
    monkeypatch.setattr(vm_machine.VmMachine, "image", lambda self: Image(tmp_path))
    machine = choice.resolve_machine(lab(tmp_path))
    assert machine.kind == "embedded"
    assert "our kernel says nothing" in machine.why
    assert not answers


def test_the_answer_about_kvm_is_kept_until_the_host_boots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []

    def firmware() -> bool:
        tried.append("firmware")
        return True

    def speaks(_: Image) -> bool:
        tried.append("kernel")
        return True

    monkeypatch.setattr(qemu, "usable_kvm", lambda: "")
    monkeypatch.setattr(qemu, "_firmware_runs", firmware)
    monkeypatch.setattr(qemu, "_kernel_speaks", speaks)
    (tmp_path / "image").mkdir()
    assert qemu.acceleration(tmp_path, None)[0] is None
    assert qemu.acceleration(tmp_path, Image(tmp_path / "image"))[0] == "kvm"
    assert qemu.acceleration(tmp_path, None)[0] == "kvm"
    assert tried == ["firmware", "kernel"]
    write_json(tmp_path / "vm/kvm.json", {"host": "another boot", "works": "yes", "why": ""})
    assert qemu.acceleration(tmp_path, None)[0] is None
    monkeypatch.setattr(qemu, "usable_kvm", lambda: "there is no /dev/kvm")
    assert qemu.acceleration(tmp_path, None) == ("tcg", "there is no /dev/kvm")


def test_what_is_missing_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(facts, "search_path", lambda: str(tmp_path))
    monkeypatch.setattr(facts, "memory", lambda: 1024**3)
    monkeypatch.setattr(facts, "distribution", lambda: "arch")
    found = facts.problems(tmp_path)
    text = "; ".join(problem.what for problem in found)
    for part in ("qemu-system-x86_64", "newuidmap", "this is arch", "1.0 GiB of memory"):
        assert part in text
    assert "uidmap" in found[0].remedy
    with pytest.raises(LabError, match="qemu-system-x86_64"):
        vm_machine.VmMachine(lab(tmp_path)).start()


def test_the_embedded_node_s_own_choice_is_not_needed_for_a_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_facts, "gather", lambda _: dataclasses.replace(BARE_V1, memory=0))
    assert choice.problems(lab(tmp_path, host={"address": "192.0.2.9"})) == []
    assert choice.problems(lab(tmp_path, machine="embedded"))


def test_qemu_s_monitor_is_asked_in_its_folder(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100)  # longer than a socket's address may be
    deep.mkdir()
    program = (
        "import os, socket, sys\n"
        "os.chdir(sys.argv[1]); server = socket.socket(socket.AF_UNIX)\n"
        f"server.bind('{qemu.MONITOR}'); server.listen()\n"
        "talk = server.accept()[0]; talk.sendall(b'QEMU\\r\\n(qemu) '); said = talk.recv(100)\n"
        "open('said', 'wb').write(said); talk.sendall(b'system_powerdown\\r\\n(qemu) ')\n"
    )
    process = core_process.spawn(["python3", "-c", program, str(deep)], log=tmp_path / "log")
    wait((deep / qemu.MONITOR).exists, bool, what="monitor", timeout=10, delay=0.05)
    wait(lambda: _said(deep), lambda text: text == "system_powerdown\n", what="command", timeout=10, delay=0.1)
    process.stop()
    with pytest.raises(LabError, match="monitor does not answer"):
        qemu.say(deep, "quit")


def _said(folder: Path) -> str:
    with contextlib.suppress(LabError):
        qemu.say(folder, "system_powerdown")
    return (folder / "said").read_text() if (folder / "said").exists() else ""
