"""QEMU: its arguments, its acceleration found by doing, and its monitor."""

import contextlib
import dataclasses
import os
import platform
import signal
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from hardwatt.core import process as core_process
from hardwatt.core import state_files
from hardwatt.core.errors import LabError
from hardwatt.core.files import write_json
from hardwatt.core.process import Process
from hardwatt.core.wait import wait_at_most
from hardwatt.machines.vm.image import Image

PROGRAM = "qemu-system-x86_64"
Accel = Literal["kvm", "tcg"]
KVM_SECONDS = 20.0
"""What our own kernel gets under KVM until its first line; about one second is usual."""
MONITOR = "monitor"
"""The monitor's socket, in the folder that QEMU is started in: a whole path may be too long for one."""
_FIRST_LINE = "Linux version"


@dataclasses.dataclass(frozen=True)
class Ports:
    """Ports of this machine's loopback that lead into the guest."""

    ssh: int
    api: int
    git: int

    @property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        """Port here, port in the guest."""
        return ((self.ssh, 22), (self.api, 6443), (self.git, 2222))


@dataclasses.dataclass(frozen=True)
class Guest:
    """One virtual machine, as QEMU needs to know it."""

    name: str
    disk: Path
    log: Path
    memory: int
    """MiB."""
    cpus: int
    uuid: str
    accel: Accel


def argv(guest: Guest, ports: Ports) -> list[str]:
    """Return the command that runs a guest; every path in it is the lab's own."""
    forwards = ",".join(f"hostfwd=tcp:127.0.0.1:{here}-:{there}" for here, there in ports.pairs)
    return [
        PROGRAM,
        "-name", f"hardwatt-{guest.name}",
        "-uuid", guest.uuid,
        *_machine(guest.accel),
        "-smp", str(guest.cpus),
        "-m", str(guest.memory),
        # unsafe: the guest's flushes are not the host's; a lab's disk need not outlive a power cut of the host
        "-drive", f"file={_escaped(guest.disk)},if=none,id=d0,format=raw,cache=unsafe,aio=threads,discard=unmap",
        "-device", "virtio-blk-pci,drive=d0",
        "-netdev", f"user,id=n0,{forwards}",
        "-device", "virtio-net-pci,netdev=n0,romfile=",
        "-device", "virtio-rng-pci",
        "-chardev", f"file,id=c0,path={_escaped(guest.log)},append=on",
        "-serial", "chardev:c0",
        "-monitor", f"unix:{MONITOR},server=on,wait=off",
    ]  # fmt: skip


def _machine(accel: Accel) -> list[str]:
    shown = ["-M", "q35", "-nodefaults", "-no-user-config", "-display", "none"]
    if accel == "kvm":
        return ["-accel", "kvm", "-cpu", "host", *shown]
    # five-level page tables are of no use here, and cost emulation a fifth step
    return ["-accel", "tcg,thread=multi,tb-size=1024", "-cpu", "max,la57=off", *shown]


def _escaped(path: Path) -> str:
    """Return a path as QEMU's options take it: a comma is doubled."""
    return str(path).replace(",", ",,")


def usable_kvm() -> str:
    """Return why KVM cannot be used here at all; empty: it may work."""
    if not Path("/dev/kvm").exists():
        return "there is no /dev/kvm"
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "this user may not open /dev/kvm (the group kvm may)"
    return ""


def acceleration(cache: Path, image: Image | None) -> tuple[Accel | None, str]:
    """Return what QEMU can use here, and why, found by booting; the answer is kept until the host boots another kernel.

    Without an image only the firmware is booted, so the answer may be None: it is not known yet.
    """
    if reason := usable_kvm():
        return "tcg", reason
    host = f"{platform.release()} {Path('/proc/sys/kernel/random/boot_id').read_text().strip()}"
    file = cache / "vm" / "kvm.json"
    known = state_files.cached(file, _known) or {}
    if known.get("host") != host:
        known = {"host": host, "works": "" if _firmware_runs() else "no", "why": "QEMU ends at once under KVM here"}
    if not known["works"] and image is not None and image.exists():
        works = _kernel_speaks(image)
        text = "our kernel speaks under KVM" if works else f"our kernel says nothing in {KVM_SECONDS:.0f} s under KVM"
        known = {"host": host, "works": "yes" if works else "no", "why": text}
    write_json(file, known)
    answers: dict[str, Accel | None] = {"yes": "kvm", "no": "tcg", "": None}
    return answers[known["works"]], known["why"] if known["works"] else "not known until an image is made"


def _known(value: Any) -> dict[str, str]:
    entries = {str(key): str(text) for key, text in state_files.mapping(value).items()}
    if entries["works"] not in ("yes", "no", ""):
        raise ValueError(entries["works"])
    return {"host": entries["host"], "works": entries["works"], "why": entries["why"]}


def _firmware_runs() -> bool:
    """Return whether the firmware speaks under KVM: on a host that breaks it, QEMU ends at once."""
    console = ["-m", "64", "-device", "isa-debugcon,iobase=0x402,chardev=c0"]
    return _boot(console, lambda text: "SeaBIOS" in text, 5.0)


def _kernel_speaks(image: Image) -> bool:
    kernel = ["-m", "256", "-kernel", str(image.kernel), "-append", "console=ttyS0 earlyprintk=ttyS0 panic=-1"]
    return _boot([*kernel, "-serial", "chardev:c0"], lambda text: _FIRST_LINE in text, KVM_SECONDS)


def _boot(arguments: list[str], said: Callable[[str], bool], seconds: float) -> bool:
    """Boot something under KVM; return whether it said what is waited for."""
    with tempfile.TemporaryDirectory(prefix="hardwatt-kvm-") as folder:
        serial, log = Path(folder, "serial"), Path(folder, "log")
        command = [PROGRAM, *_machine("kvm"), "-chardev", f"file,id=c0,path={serial}", *arguments, "-no-reboot"]
        process = core_process.spawn(command, log=log)
        try:
            return wait_at_most(
                lambda: (serial.exists() and said(serial.read_text(errors="replace")), process.alive()),
                lambda state: state[0] or not state[1],
                what="a boot under KVM", timeout=seconds, delay=0.1,
            )[0]  # fmt: skip
        finally:
            process.signal(signal.SIGKILL)


def running(disk: Path) -> list[Process]:
    """Return the QEMUs that write to this disk, also those whose starter was killed before it noted them."""
    mark = f"file={_escaped(disk)},"
    processes: list[Process] = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
            if Path(words[0]).name == PROGRAM and any(word.startswith(mark) for word in words):
                process = Process.of(int(folder.name))
                processes += [process] if process else []
    return processes


def say(folder: Path, command: str) -> None:
    """Give the monitor of the QEMU that was started in ``folder`` one command.

    Raises ``LabError`` where it does not answer.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        with socket.socket(socket.AF_UNIX) as talk:
            talk.settimeout(10)
            talk.connect(f"/proc/self/fd/{handle}/{MONITOR}")
            _until_prompt(talk)
            talk.sendall(f"{command}\n".encode())
            _until_prompt(talk)
    except OSError as error:
        raise LabError(f"QEMU's monitor does not answer: {error}", hint="invoke lab.status") from error
    finally:
        os.close(handle)


def _until_prompt(talk: socket.socket) -> None:
    text = b""
    while not text.endswith(b"(qemu) "):
        part = talk.recv(4096)
        if not part:  # it ends
            return
        text += part


def free_ports(wanted: Ports | None = None) -> Ports:
    """Return three free ports of the loopback: the wanted ones wherever they are free."""
    with contextlib.ExitStack() as held:
        numbers = [_claim(held, number) for number in (dataclasses.astuple(wanted) if wanted else (0, 0, 0))]
        return Ports(*numbers)


def _claim(held: contextlib.ExitStack, number: int) -> int:
    sock = held.enter_context(socket.socket())
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind(("127.0.0.1", number))
    except OSError:
        sock.bind(("127.0.0.1", 0))
    return int(sock.getsockname()[1])
