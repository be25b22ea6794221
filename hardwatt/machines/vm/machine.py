"""The virtual machine: a node with a kernel of its own, by QEMU, without root and without a trace on the host."""

import contextlib
import dataclasses
import fcntl
import shutil
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hardwatt.config.lab import Lab
from hardwatt.connect import boot, ssh_routes
from hardwatt.connect.endpoint import Endpoint
from hardwatt.connect.ssh import Ssh
from hardwatt.core import process as core_process
from hardwatt.core.errors import LabError
from hardwatt.core.files import write_json
from hardwatt.core.problem import combined
from hardwatt.core.process import Process
from hardwatt.core.progress import RunningStep, step
from hardwatt.core.wait import wait
from hardwatt.machines import identity, rootfs
from hardwatt.machines.local import BootWait, LocalMachine
from hardwatt.machines.vm import disk, facts, qemu
from hardwatt.machines.vm import image as vm_image
from hardwatt.machines.vm.image import USER_NETWORK, Image
from hardwatt.machines.vm.qemu import Accel, Guest, Ports

BOOT_TIMEOUT: dict[Accel, float] = {"kvm": 120.0, "tcg": 600.0}
"""Seconds until the node answers; 21 to 39 were seen under emulation on two idle cores."""
OFF_GRACE: dict[Accel, float] = {"kvm": 30.0, "tcg": 90.0}
"""Seconds that the guest gets to power off."""
_LOOPBACK = "127.0.0.1"


@dataclasses.dataclass(frozen=True)
class VmMachine(LocalMachine):
    """The virtual machine of one lab; its disk is in the lab's ``machine/``."""

    kind: str = "vm"
    acceleration: tuple[Accel, str] | None = None
    """What QEMU can use here, and why, if the choice of the machine has probed it."""

    def start(self) -> Endpoint:
        """Make, clean and boot as needed; a machine that runs is left alone."""
        if self.status().state == "running":
            return self._booted()
        lab = self.lab
        self._state()  # another kind's machine is refused before anything is made
        if problems := facts.problems(lab.dir):
            raise combined(problems)
        lab.logs.mkdir(parents=True, exist_ok=True)
        made = self.image()
        accel, why = self.acceleration or qemu.acceleration(lab.cache, made)
        with step("Boot the virtual machine", folder=lab.dir) as current:
            current.note(f"KVM: {why}" if accel == "kvm" else f"by emulation, about ten times slower: {why}")
            self._boot(made, accel or "tcg", current)
            endpoint = self._booted()
            current.changed(1)
        return endpoint

    def image(self) -> Image:
        """Return the disk image of this host's distribution, made first where the cache has none."""
        distribution, codename = facts.distribution(), facts.codename()
        image = vm_image.image(self.lab.cache, distribution, codename)
        if not image.exists():
            with step("Make the virtual machine's disk image", folder=self.lab.dir if self.lab else None) as current:
                vm_image.build(image, distribution, rootfs.sources(codename), log=self.lab.logs / "vm-image.log")
                current.changed(1)
        return image

    def stop(self) -> None:
        """Power the machine off in order, by force where it does not end."""
        state = self._state()
        if not state:
            return
        with step("Stop the virtual machine", folder=self.lab.dir if self.lab else None):
            process = Process.from_dict(state["process"]) if state.get("process") else None
            if process and process.alive():
                with contextlib.suppress(LabError):  # it is ended by force below
                    qemu.say(self._folder, "system_powerdown")
                    wait(process.alive, lambda alive: not alive, what="power off",
                         timeout=OFF_GRACE[state["accel"]], delay=0.2)  # fmt: skip
            self._end()
        write_json(self._file, {**state, "process": None})

    def destroy(self) -> None:
        """End the machine and remove its disk and its keys."""
        state = self._state()
        if not state and not self._folder.exists():
            return
        with step("Remove the virtual machine", folder=self.lab.dir if self.lab else None):
            self._end()
            if self._folder.exists():
                shutil.rmtree(self._folder)
            if ports := state.get("ports"):
                identity.forget(self.lab, ssh_routes.known_name(_LOOPBACK, ports["ssh"]))
            self._forget()

    @property
    def _why_dead(self) -> str:
        return "QEMU ended without us, or the guest powered off"

    def _exists(self, state: dict[str, Any]) -> bool:
        return bool(state.get("endpoint"))

    def _address(self, state: dict[str, Any]) -> str:
        return f"{_LOOPBACK}:{state['ports']['ssh']}"

    def _boot_wait(self, state: dict[str, Any]) -> BootWait:
        log = self.lab.logs / "machine.log"
        hint = f"look into {log}, the console of the guest"
        timeout = BOOT_TIMEOUT[state["accel"]]
        return BootWait("QEMU", log.with_name("qemu.log"), "the virtual machine's boot", timeout, 0.5, hint)

    def _boot_state(self, endpoint: Endpoint) -> str:
        if not ssh_routes.ssh_answers(endpoint, 22):
            return "no SSH yet"
        return boot.state(Ssh(endpoint, timeout=20), timeout=300)

    @property
    def _disk(self) -> Path:
        return self._folder / "disk.raw"

    def _end(self) -> int:
        """End every QEMU that has this lab's disk, also one whose start was killed; return how many there were."""
        processes = qemu.running(self._disk)
        for process in processes:
            process.signal(signal.SIGKILL)
        wait(lambda: qemu.running(self._disk), lambda left: not left, what="end of QEMU", timeout=20, delay=0.1)
        return len(processes)

    def _boot(self, image: Image, accel: Accel, current: RunningStep) -> None:
        lab = self.lab
        client = identity.ensure_key(lab, identity.CLIENT_KEY)
        state = {"kind": self.kind, "ident": identity.ident(lab), "uuid": str(uuid.uuid4()), **self._state()}
        write_json(self._file, state)  # before anything is there, so that destroy finds what to remove
        if ended := self._end():
            current.note(f"ended what a killed start left: {ended} QEMU")
        disk.make(self._disk, image, self._identity(state, accel, client))
        with _ports_of_all_labs(lab):
            ports = qemu.free_ports(Ports(**state["ports"]) if state.get("ports") else None)
            endpoint = self._endpoint(ports, client)
            if state.get("ports") and state["ports"] != dataclasses.asdict(ports):
                identity.forget(lab, ssh_routes.known_name(_LOOPBACK, state["ports"]["ssh"]))
            public = (lab.keys / f"{identity.HOST_KEY}.pub").read_text()
            identity.learn(lab, _LOOPBACK, public, port=ports.ssh)
            state = {**state, "ports": dataclasses.asdict(ports), "accel": accel, "endpoint": endpoint.to_dict()}
            write_json(self._file, {**state, "process": None})
            process = self._spawn(state, ports)
        write_json(self._file, {**state, "process": process.to_dict(), "booting": True})

    def _spawn(self, state: dict[str, Any], ports: Ports) -> Process:
        lab, log = self.lab, self.lab.logs / "qemu.log"
        guest = Guest(
            name=lab.name,
            disk=self._disk,
            log=lab.logs / "machine.log",
            memory=facts.guest_memory(lab.settings.vm.memory),
            cpus=lab.settings.vm.cpus,
            uuid=state["uuid"],
            accel=state["accel"],
        )
        monitor = self._folder / qemu.MONITOR
        monitor.unlink(missing_ok=True)
        process = core_process.spawn(qemu.argv(guest, ports), log=log, cwd=self._folder)
        wait(
            lambda: (monitor.exists(), process.alive()),
            lambda seen: seen[0],
            error=lambda seen: None if seen[1] else f"QEMU ended; its log: {log}",
            what="QEMU", timeout=30, delay=0.1,
        )  # fmt: skip
        return process

    def _identity(self, state: dict[str, Any], accel: Accel, client: Path) -> disk.Identity:
        host = identity.ensure_key(self.lab, identity.HOST_KEY)
        return disk.Identity(
            hostname=self.lab.name,
            machine_id=state["uuid"].replace("-", ""),
            host_key=host.read_text(),
            host_public_key=host.with_name(f"{host.name}.pub").read_text(),
            authorized_keys=client.with_name(f"{client.name}.pub").read_text(),
            arguments=disk.arguments(emulated=accel == "tcg", cgroup=self.lab.settings.vm.cgroup),
        )

    def _endpoint(self, ports: Ports, client: Path) -> Endpoint:
        return Endpoint(
            name=self.lab.name,
            kind=self.kind,
            address=_LOOPBACK,
            port=ports.ssh,
            user="root",
            key=client,
            known_hosts=self.lab.known_hosts,
            controller_address=USER_NETWORK.host,
            listen_address=_LOOPBACK,
            node_address=USER_NETWORK.guest,
            forwards={str(there): here for here, there in ports.pairs},
            data={"cgroup_root": "/", "proc_stat": "node"},
        )


@contextlib.contextmanager
def _ports_of_all_labs(lab: Lab) -> Iterator[None]:
    """Let one lab at a time choose ports, until its QEMU listens."""
    folder = lab.cache / "vm"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "ports.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
