"""The host record: what a host was like before the first lab changed it, and who still holds it.

There is one for the whole host, whoever's labs they are. It gives every lab a network of its
own, snapshots the host before the first machine boots, and gives back what machines changed
when the last one is down. All changes happen under a lock that ends with its process, and the
record is written before the change that it describes.
"""

import contextlib
import dataclasses
import fcntl
import os
import re
from collections.abc import Callable, Iterable, Iterator
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from hardwatt.core import state_files
from hardwatt.core.files import write_json
from hardwatt.machines.embedded import host_snapshot
from hardwatt.machines.embedded.host_snapshot import Snapshot

_OURS = re.compile(
    r"^(kernel/(panic|panic_on_oops|pid_max|sysrq|core_pattern|core_uses_pid|printk|keys/.*)"
    r"|vm/(overcommit_memory|overcommit_ratio|panic_on_oom|max_map_count|swappiness)"
    r"|fs/(protected_.*|inotify/.*|file-max|nr_open|aio-max-nr)"
    r"|net/ipv4/(ip_forward|conf/(all|default)/(forwarding|rp_filter|route_localnet))"
    r"|net/ipv6/conf/(all|default)/forwarding|net/bridge/.*|net/netfilter/nf_conntrack_.*|net/nf_conntrack_max)$"
)
"""Sysctls that kubelet, kube-proxy, the distribution's sysctl.d or the deploys write on a node.

Of these, kernel, vm and fs are the whole host's even from inside the embedded node; net is per
network namespace. Another one that moved while labs were up was moved by somebody else.
"""

_PARENT_CGROUP = r"^cgroup /.*/hardwatt$"
"""Is there while any lab holds the host."""
_RECORD_FOLDER = r"^file /var/lib/hardwatt$"
"""Is there from the first lab of a host to the last, whether it is up or not."""


@dataclasses.dataclass(frozen=True)
class Difference:
    """One thing of the host that is not as it was."""

    section: str
    name: str
    before: str | None
    after: str | None

    def __str__(self) -> str:
        if self.before is None:
            return f"{self.section} {self.name} is new" + (f" ({self.after})" if self.after else "")
        if self.after is None:
            return f"{self.section} {self.name} is gone" + (f" (was {self.before})" if self.before else "")
        return f"{self.section} {self.name}: was {self.before!r}, is {self.after!r}"


def compare(before: Snapshot, after: Snapshot, *, ignore: Iterable[str] = ()) -> list[Difference]:
    """Return the differences of two snapshots in the order of sections and names.

    ``ignore`` holds regular expressions over ``"section name"``: another lab's things, and
    what the caller knows to be somebody else's.
    """
    patterns = [re.compile(pattern) for pattern in ignore]
    differences: list[Difference] = []
    for section in sorted({*before, *after}):
        old, new = before.get(section, {}), after.get(section, {})
        for name in sorted({*old, *new}):
            if old.get(name) != new.get(name) and not any(p.search(f"{section} {name}") for p in patterns):
                differences.append(Difference(section, name, old.get(name), new.get(name)))
    return differences


def of_other_labs(*own: str) -> list[str]:
    """Return patterns for ``compare`` that leave out what belongs to labs other than these.

    While one of them holds the host, the sysctls that a node writes and the parent of all cgroups are its business.
    """
    names = "|".join(own)
    theirs = [rf"hardwatt[/-](?!{names})[0-9a-f]{{8}}\b", rf"\bhw-(?!{names})[0-9a-f]{{8}}\b"]
    others = [lab for ident, lab in HostRecord(default_place()).labs.items() if ident not in own]
    # the unreachable route of a lab's network names no link
    theirs += [rf"^route \S+ {re.escape(lab['subnet'])} dev -" for lab in others]
    if others:
        theirs.append(_RECORD_FOLDER)
    if held_by_others(*own):
        theirs += [f"^sysctl {_OURS.pattern[1:]}", _PARENT_CGROUP]
    return theirs


def take() -> Snapshot:
    """Return the host as it is now, for ``compare``."""
    return host_snapshot.take()


@dataclasses.dataclass(frozen=True)
class HostState:
    """The host at one moment, to be compared with a later one; what other labs hold at either is left out."""

    own: tuple[str, ...]
    """Identities of the labs whose changes are to be seen."""
    snapshot: Snapshot
    others: tuple[str, ...]
    """Patterns of what other labs held at that moment."""

    @classmethod
    def now(cls, *own: str) -> "HostState":
        """Take the host as it is now."""
        return cls(own, take(), tuple(of_other_labs(*own)))

    def differences(self, *, ignore: Iterable[str] = ()) -> list[Difference]:
        """Return what changed on the host since; ``ignore`` as in ``compare``."""
        return compare(self.snapshot, take(), ignore=[*ignore, *self.others, *of_other_labs(*self.own)])


def held_by_others(*own: str) -> bool:
    """Return whether a lab other than these holds the host, so that it is restored only after that one."""
    return any(lab["holds"] for ident, lab in HostRecord(default_place()).labs.items() if ident not in own)


def default_place() -> Path:
    """Return where the host's record lies: root's state, or ``XDG_STATE_HOME`` where that is set."""
    base = os.environ.get("XDG_STATE_HOME") or "/var/lib"
    return Path(base) / "hardwatt" / "host"


@dataclasses.dataclass(frozen=True)
class HostRecord:
    """The record of this host. ``sysctl`` and ``boot_id`` can point elsewhere in tests."""

    place: Path
    sysctl: Path = Path("/proc/sys")
    boot_id: Path = Path("/proc/sys/kernel/random/boot_id")
    take: Callable[[], Snapshot] = host_snapshot.take

    @property
    def labs(self) -> dict[str, dict[str, Any]]:
        """The labs that this host knows: folder, network, and whether they hold the host."""
        return dict(self._read()["labs"])

    @property
    def before(self) -> Snapshot | None:
        """The host before the first lab that holds it, or None where none does."""
        kept: Snapshot | None = self._read()["before"]
        return kept

    def claim(self, ident: str, folder: str, *, pick: Callable[[list[IPv4Network]], str]) -> str:
        """Return the network of a lab: the one that it has had before, or one that ``pick`` chooses.

        ``pick`` is given the networks of the other labs, also of those that are down.
        """
        with self._change() as data:
            labs = data["labs"]
            _drop_orphans(labs, ident)
            if ident in labs:
                return str(labs[ident]["subnet"])
            others = [IPv4Network(lab["subnet"]) for lab in labs.values()]
            subnet = pick(others)
            labs[ident] = {"folder": folder, "subnet": subnet, "holds": False}
            return subnet

    def hold(self, ident: str) -> None:
        """Say that a lab is about to change the host; the first one's call keeps the host as it is now."""
        with self._change() as data:
            boot = self.boot_id.read_text().strip()
            if data["boot_id"] != boot:  # what the kernel was told is gone with the last boot
                data["before"] = None
                for lab in data["labs"].values():
                    lab["holds"] = False
            if data["before"] is None:
                data["before"], data["boot_id"] = self.take(), boot
            data["labs"][ident]["holds"] = True

    def release(self, ident: str) -> list[str]:
        """Say that a lab is down; the last one's call gives the host back. Return what was restored."""
        with self._change() as data:
            labs = data["labs"]
            _drop_orphans(labs, ident)
            if ident in labs:
                labs[ident]["holds"] = False
            before = data["before"]
            if before is None or any(lab["holds"] for lab in labs.values()):
                return []
            same_boot = data["boot_id"] == self.boot_id.read_text().strip()
            restored = self._restore(before.get("sysctl", {})) if same_boot else []
            data["before"], data["boot_id"] = None, ""
            return restored

    def forget(self, ident: str) -> None:
        """Remove a lab; the record goes with the last one."""
        with self._change() as data:
            data["labs"].pop(ident, None)
            empty = not data["labs"] and data["before"] is None
        if empty:
            self._remove()

    def _restore(self, before: dict[str, str]) -> list[str]:
        restored: list[str] = []
        for name, value in sorted(before.items()):
            path = self.sysctl / name
            if not _OURS.match(name) or not path.exists() or path.read_text().strip() == value:
                continue
            try:
                path.write_text(value)
            except OSError as error:
                restored.append(f"{name} could not be set back to {value}: {error.strerror}")
            else:
                restored.append(f"{name} = {value}")
        return restored

    def _read(self) -> dict[str, Any]:
        empty: dict[str, Any] = {"boot_id": "", "before": None, "labs": {}}
        file = self.place / "record.json"
        what, then = "the record of what this host was like before its labs,", "invoke lab.status"
        return state_files.read(file, lambda value: _checked({**empty, **value}), what=what, then=then) or empty

    @contextlib.contextmanager
    def _change(self) -> Iterator[dict[str, Any]]:
        with self._locked():
            data = self._read()
            yield data
            write_json(self.place / "record.json", data, mode=0o600)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        path = self.place / "lock"
        while True:
            self.place.mkdir(parents=True, exist_ok=True)
            with path.open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                if path.exists() and os.path.samestat(path.stat(), os.fstat(lock.fileno())):
                    yield
                    return
            # the last lab took its record away while we waited: wait at the new one

    def _remove(self) -> None:
        """Remove the record's files, unless another lab came in between."""
        with self._locked():
            if self._read()["labs"]:
                return
            (self.place / "record.json").unlink(missing_ok=True)
            (self.place / "lock").unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # somebody else's files are in it
                self.place.rmdir()
                self.place.parent.rmdir()


def _checked(data: dict[str, Any]) -> dict[str, Any]:
    """Return a record whose entries have the shape that ``hold`` writes. Raises ``ValueError`` or its like."""
    state_files.text(data["boot_id"])
    for lab in state_files.mapping(data["labs"]).values():
        Path(state_files.text(lab["folder"])), IPv4Network(state_files.text(lab["subnet"]))
        if not isinstance(lab["holds"], bool):
            raise TypeError("holds is neither true nor false")
    for section in state_files.mapping(data["before"] or {}).values():
        state_files.mapping(section)
    return data


def _drop_orphans(labs: dict[str, dict[str, Any]], asking: str) -> None:
    """Remove labs whose folder is gone: nobody can take them down any more."""
    for ident in [ident for ident, lab in labs.items() if ident != asking and not Path(lab["folder"]).exists()]:
        del labs[ident]
