"""The part of the embedded node that needs root: one verb, JSON in, JSON out.

Where we are root it is called as functions; elsewhere ``sudo -n`` runs this module, so that
the lab's own files stay the user's.
"""

import argparse
import contextlib
import dataclasses
import functools
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hardwatt.core import process as core_process
from hardwatt.core.errors import CommandError, LabError
from hardwatt.core.limits import BUILD
from hardwatt.core.process import Process
from hardwatt.core.wait import wait
from hardwatt.machines import host_facts, rootfs
from hardwatt.machines.embedded import cgroups, cleanup, host_record, network, node_files, nspawn
from hardwatt.machines.embedded.host_record import HostRecord
from hardwatt.machines.embedded.network import Addresses
from hardwatt.machines.embedded.node_files import Identity

_PROJECT = Path(__file__).resolve().parent.parent.parent.parent


@dataclasses.dataclass(frozen=True)
class Spec:
    """One machine, as the privileged part needs to know it."""

    ident: str
    hostname: str
    folder: str
    """The lab's folder."""
    archive: str
    log: str
    record: str
    """Where the host record lies."""
    reserved: tuple[str, ...] = ()
    """Networks of the cluster, which the machine's must not overlap."""

    @property
    def root(self) -> Path:
        return Path(self.folder, "machine", "root")

    @property
    def host_record(self) -> HostRecord:
        return HostRecord(Path(self.record))

    @property
    def facts(self) -> host_facts.HostFacts:
        return host_facts.gather(Path(self.folder))


def claim(spec: Spec, **_: Any) -> dict[str, Any]:
    """Give the lab a network of its own; the same one as before where it has one."""
    busy = [*network.taken(), *(network.Network(text) for text in spec.reserved)]
    pick = functools.partial(_pick, busy)
    with _orphans_routes(spec):
        return {"subnet": spec.host_record.claim(spec.ident, spec.folder, pick=pick)}


@contextlib.contextmanager
def _orphans_routes(spec: Spec) -> Iterator[None]:
    """Remove the unreachable routes of the labs that the host record drops meanwhile: their folders are gone."""
    before = {str(lab["subnet"]) for lab in spec.host_record.labs.values()}
    yield
    for subnet in before - {str(lab["subnet"]) for lab in spec.host_record.labs.values()}:
        network.drop_barrier(subnet)


def _pick(busy: list[network.Network], others: list[network.Network]) -> str:
    return network.pick([*busy, *others])


def make_rootfs(spec: Spec, *, codename: str, owner: list[int], **_: Any) -> dict[str, Any]:
    """Make the root filesystem's archive and give it to the user whose cache it lies in."""
    target = Path(spec.archive)
    built = rootfs.build(target, rootfs.sources(codename), log=Path(spec.log))
    for path in (target.parent, target):
        os.chown(path, owner[0], owner[1])
    return {"built": built}


def boot(spec: Spec, *, subnet: str, keys: dict[str, str], **_: Any) -> dict[str, Any]:
    """Clean up after a dead machine, make its tree where there is none, and start it."""
    facts = spec.facts
    addresses = Addresses(subnet)
    left = cleanup.machine(facts, spec.ident, spec.root)
    unpacked = rootfs.unpack(Path(spec.archive), spec.root)
    node_files.write(spec.root, Identity(hostname=spec.hostname, addresses=addresses, **keys))
    spec.host_record.hold(spec.ident)
    process = _start(spec, facts)
    link(spec, subnet=subnet)
    return {"process": process.to_dict(), "unpacked": unpacked, "cleaned": left}


def link(spec: Spec, *, subnet: str, **_: Any) -> dict[str, Any]:
    """Configure the host's end of the machine's link, with the unreachable route behind it.

    The host record names the network since ``claim``; ``destroy`` removes the route.
    """
    network.raise_barrier(subnet)
    network.protect(spec.facts, spec.ident)
    for command in network.up(spec.ident, Addresses(subnet)):
        core_process.run(command)
    return {}


def _start(spec: Spec, facts: host_facts.HostFacts) -> Process:
    enter = cgroups.make(facts, spec.ident)
    log = Path(spec.log)
    command = nspawn.command(facts, spec.ident, spec.hostname, spec.root, enter, log)
    if facts.systemd:
        core_process.run(command, log=log, hint=f"journalctl -u {cgroups.unit(spec.ident)}")
        process = Process.of(_main_pid(spec.ident))
        if process is None:
            raise LabError("the machine ended as soon as it was started",
                           hint=f"journalctl -u {cgroups.unit(spec.ident)}")  # fmt: skip
    else:
        process = core_process.spawn(command, log=log, env=nspawn.ENVIRONMENT)
    wait(
        lambda: (network.exists(spec.ident), process.alive()),
        lambda state: state[0],
        error=lambda state: None if state[1] else f"systemd-nspawn ended; its log: {log}",
        what="the machine's link",
        timeout=30,
        delay=0.05,
    )
    return process


def _main_pid(ident: str) -> int:
    return int(core_process.run(["systemctl", "show", "--value", "-p", "MainPID", cgroups.unit(ident)]).stdout or 0)


def stop(spec: Spec, *, process: dict[str, int] | None, **_: Any) -> dict[str, Any]:
    """Stop the machine, in order where it answers and by force where not, and give the host back."""
    facts = spec.facts
    if process:
        cleanup.power_off(facts, spec.ident, Process.from_dict(process))
    left = cleanup.machine(facts, spec.ident, spec.root)
    with _orphans_routes(spec):
        return {"cleaned": left, "restored": spec.host_record.release(spec.ident)}


def destroy(spec: Spec, *, subnet: str = "", **_: Any) -> dict[str, Any]:
    """Remove the machine's tree, its place in the host record and its unreachable route; it is stopped before."""
    rootfs.remove(spec.root)
    if subnet:
        network.drop_barrier(subnet)
    spec.host_record.forget(spec.ident)
    return {}


VERBS: dict[str, Callable[..., dict[str, Any]]] = {
    "boot": boot,
    "claim": claim,
    "destroy": destroy,
    "link": link,
    "make_rootfs": make_rootfs,
    "stop": stop,
}


def call(verb: str, spec: Spec, **arguments: Any) -> dict[str, Any]:
    """Run a verb as root and return its answer; its ``LabError`` comes through."""
    if os.geteuid() == 0:
        return VERBS[verb](spec, **arguments)
    text = json.dumps({"spec": dataclasses.asdict(spec), "arguments": arguments})
    keep = [f"{name}={os.environ[name]}" for name in ("XDG_STATE_HOME",) if name in os.environ]
    modules = os.pathsep.join([str(_PROJECT), *(path for path in sys.path if path)])
    command = [
        "env",
        f"PYTHONPATH={modules}",
        *keep,
        sys.executable,
        "-m",
        "hardwatt.machines.embedded.privileged",
        verb,
    ]
    done = core_process.run(core_process.root(command), stdin=text, check=False, timeout=BUILD.whole)
    if done.returncode not in (0, 3):
        raise CommandError(done.argv, done.returncode, done.stdout, done.stderr, hint="sudo -v, then again")
    answer: dict[str, Any] = json.loads(done.stdout)
    if done.returncode == 3:
        raise LabError(answer["message"], hint=answer["hint"])
    return answer


def main() -> int:
    """Answer one call of ``call``: 0 with an answer, 3 with an error that a person can mend."""
    parser = argparse.ArgumentParser(prog="python -m hardwatt.machines.embedded.privileged", description=__doc__)
    parser.add_argument("verb", choices=sorted(VERBS), help="its arguments are read as JSON from the standard input")
    verb = parser.parse_args().verb
    asked = json.load(sys.stdin)
    spec = Spec(**{**asked["spec"], "reserved": tuple(asked["spec"]["reserved"])})
    try:
        answer, code = VERBS[verb](spec, **asked["arguments"]), 0
    except LabError as error:
        answer, code = {"message": error.message, "hint": error.hint}, 3
    sys.stdout.write(json.dumps(answer))
    return code


def record_place() -> str:
    """Return where the host's record lies."""
    return str(host_record.default_place())


if __name__ == "__main__":
    sys.exit(main())
