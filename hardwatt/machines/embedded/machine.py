"""The embedded node: a machine of its own inside this one, by systemd-nspawn. Not a security boundary."""

import dataclasses
import os
import platform
from pathlib import Path
from typing import Any

from hardwatt.connect import boot
from hardwatt.connect.endpoint import Endpoint
from hardwatt.connect.ssh import Ssh
from hardwatt.core.files import write_json
from hardwatt.core.progress import say, step
from hardwatt.machines import host_facts, identity, rootfs
from hardwatt.machines.embedded import network, privileged
from hardwatt.machines.embedded.network import Addresses
from hardwatt.machines.embedded.privileged import Spec
from hardwatt.machines.local import BootWait, LocalMachine

BOOT_TIMEOUT = 120.0
"""Seconds until the node answers; 3 to 12 were seen on two cores."""


@dataclasses.dataclass(frozen=True)
class EmbeddedMachine(LocalMachine):
    """The embedded node of one lab."""

    kind: str = "embedded"

    def start(self) -> Endpoint:
        """Make, clean and boot as needed; a machine that runs is left alone."""
        lab = self.lab
        if self.status().state == "running":
            if self._mend_link():
                return self._booted()
            say(
                f"  {network.fault(identity.ident(lab), Addresses(self._state()['subnet']))}: booting the machine again"
            )
            self.stop()
        lab.logs.mkdir(parents=True, exist_ok=True)  # by the user, before root writes into it
        facts = host_facts.gather(lab.dir)
        host_facts.require_embedded(facts)
        archive = self._archive(facts)
        with step("Boot the embedded node", folder=lab.dir) as current:
            if cleaned := self._boot(facts, archive):
                current.note(f"removed what a dead machine left: {', '.join(cleaned)}")
            endpoint = self._booted()
            current.changed(1)
        return endpoint

    def stop(self) -> None:
        """Stop the machine in order, by force where it does not end, and give the host back."""
        state = self._state()
        if state:
            self._stop(state, in_order=True)

    def _stop(self, state: dict[str, Any], *, in_order: bool) -> None:
        with step("Stop the embedded node", folder=self.lab.dir if self.lab else None) as current:
            answer = privileged.call("stop", self._spec(), process=state.get("process") if in_order else None)
            for text in answer["restored"]:
                current.note(f"host: {text}")
        if state:
            write_json(self._file, {**state, "process": None})

    def destroy(self) -> None:
        """Stop the machine and remove its tree, its keys and its network."""
        state = self._state()
        if not state and not self._folder.exists():
            return
        self._stop(state, in_order=False)  # nothing in it is needed any more
        with step("Remove the embedded node", folder=self.lab.dir if self.lab else None):
            privileged.call("destroy", self._spec(), subnet=state.get("subnet", ""))
            if address := self._address(state):
                identity.forget(self.lab, address)
            self._forget()

    def obstacle(self) -> str:
        if reason := super().obstacle():
            return reason
        state = self._state()
        return network.fault(state.get("ident") or identity.ident(self.lab), Addresses(state["subnet"]))

    @property
    def _why_dead(self) -> str:
        return "systemd-nspawn ended without us"

    def _exists(self, state: dict[str, Any]) -> bool:
        return bool(state)

    def _address(self, state: dict[str, Any]) -> str:
        return Addresses(state["subnet"]).node if state.get("subnet") else ""

    def _boot_wait(self, state: dict[str, Any]) -> BootWait:
        log = self.lab.logs / "machine.log"
        return BootWait("systemd-nspawn", log, "the embedded node's boot", BOOT_TIMEOUT, 0.2, f"look into {log}")

    def _boot_state(self, endpoint: Endpoint) -> str:
        return boot.state(Ssh(endpoint, timeout=5), timeout=60)

    def _spec(self, codename: str = "") -> Spec:
        kubernetes = self.lab.settings.kubernetes
        return Spec(
            ident=identity.ident(self.lab),
            hostname=self.lab.name,
            folder=str(self.lab.dir),
            archive=str(rootfs.archive(self.lab.cache, codename, platform.machine())),
            log=str(self.lab.logs / "machine.log"),
            record=privileged.record_place(),
            reserved=tuple(net for net in (kubernetes.pod_cidr, kubernetes.service_cidr) if ":" not in net),
        )

    def _archive(self, facts: host_facts.HostFacts) -> Path:
        """Return the root filesystem's archive, made first where the cache has none."""
        spec = self._spec(facts.codename)
        archive = Path(spec.archive)
        if not archive.exists():
            archive.parent.mkdir(parents=True, exist_ok=True)
            with step("Make the node's root filesystem", folder=self.lab.dir if self.lab else None) as current:
                privileged.call("make_rootfs", spec, codename=facts.codename, owner=[os.getuid(), os.getgid()])
                current.changed(1)
        return archive

    def _boot(self, facts: host_facts.HostFacts, archive: Path) -> list[str]:
        lab, spec = self.lab, self._spec(facts.codename)
        client = identity.ensure_key(lab, identity.CLIENT_KEY)
        host = identity.ensure_key(lab, identity.HOST_KEY)
        public = host.with_name(f"{host.name}.pub").read_text()
        state = {"kind": self.kind, "ident": spec.ident, "process": None, **self._state()}
        write_json(self._file, state)  # before the host knows of us, so that destroy finds what to give back
        subnet = privileged.call("claim", spec)["subnet"]
        endpoint = self._endpoint(Addresses(subnet), facts, client)
        state = {**state, "subnet": subnet, "endpoint": endpoint.to_dict(), "process": None}
        identity.learn(lab, endpoint.address, public)
        write_json(self._file, state)
        keys = {
            "host_key": host.read_text(),
            "host_public_key": public,
            "authorized_keys": client.with_name(f"{client.name}.pub").read_text(),
        }
        answer = privileged.call("boot", spec, subnet=subnet, keys=keys)
        write_json(self._file, {**state, "process": answer["process"], "booting": True})
        cleaned: list[str] = answer["cleaned"]
        return cleaned

    def _endpoint(self, addresses: Addresses, facts: host_facts.HostFacts, client: Path) -> Endpoint:
        v1 = facts.cgroup_version == 1
        return Endpoint(
            name=self.lab.name,
            kind=self.kind,
            address=addresses.node,
            port=22,
            user="root",
            key=client,
            known_hosts=self.lab.known_hosts,
            controller_address=addresses.host,
            node_address=addresses.node,
            data={
                "cgroup_version": facts.cgroup_version,
                # a cgroup namespace: what the node sees as the root is the machine's own cgroup
                "cgroup_root": "/",
                "machine_cgroup": "/sys/fs/cgroup/cpuacct" if v1 else "/sys/fs/cgroup",
                "proc_stat": "host",  # /proc/stat and /proc/meminfo in the node are the whole host's
            },
        )

    def _mend_link(self) -> bool:
        """Configure the link again where a reboot inside the machine or somebody on the host made it bare.

        Return whether the machine has a link: a deleted one comes with the next boot only.
        """
        subnet, spec = self._state()["subnet"], self._spec()
        if not network.exists(spec.ident):
            return False
        if not network.configured(spec.ident, Addresses(subnet)):
            privileged.call("link", spec, subnet=subnet)
        return True
