"""Snapshot of a host: everything that a lab could change on it and must restore."""

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from hardwatt.core import process

PARENT = "hardwatt"
"""Folder of the machines' cgroups, and first part of their units' names."""

Snapshot = dict[str, dict[str, str]]
"""Section, name, value; every value is text, so that it can be kept, compared and shown."""

_VOLATILE = re.compile(
    r"^(kernel/random/|kernel/ns_last_pid$|kernel/pty/nr$|kernel/perf_event_max_sample_rate$|kernel/tainted$"
    r"|kernel/sched_domain|fs/(dentry-state|inode-nr|inode-state|file-nr|aio-nr|nr_free|quota/|binfmt_misc/)"
    r"|net/netfilter/nf_conntrack_count$|net/ipv[46]/(conf|neigh)/(?!all/|default/|lo/)"
    r"|net/ipv4/tcp_(mem|fastopen_key)|net/ipv4/udp_mem|.*stable_secret$|sunrpc/|abi/|dev/cdrom/info"
    r"|vm/stat_refresh$)"
)
"""Values that move by themselves, that belong to one link, or that are secret."""

_PACKAGE_STATE = "/var/lib/dpkg/status"
_FILES = ("etc", "usr/lib/systemd/system", "usr/local/bin", "usr/local/lib", "opt", "srv", "root/.ssh")
_FILES_DEPTH = {"usr/local/lib": 1, "opt": 1, "srv": 1}
_SHALLOW = ("var/lib", "run", "run/systemd/network", "run/systemd/nspawn/propagate", "run/NetworkManager/conf.d")
_SELF_WRITTEN = frozenset({"etc/mtab", "etc/adjtime", "etc/ld.so.cache", "etc/resolv.conf", "etc/.pwd.lock"})


def take(root: Path = Path("/")) -> Snapshot:
    """Return the host as it is now; what needs root is left out where we are not."""
    sections: dict[str, Callable[[], dict[str, str]]] = {
        "sysctl": lambda: sysctls(root / "proc/sys"),
        "module": lambda: _modules(root),
        "link": _links,
        "address": _addresses,
        "route": _routes,
        "mount": lambda: _mounts(root),
        "cgroup": lambda: _cgroups(root / "sys/fs/cgroup"),
        "firewall": _firewall,
        "package": lambda: _packages(root),
        "file": lambda: _files(root),
        "unit": _units,
        "process": lambda: _processes(root / "proc"),
    }
    return {name: section() for name, section in sections.items()}


def sysctls(top: Path) -> dict[str, str]:
    """Return the readable sysctls, without those that move by themselves; names with slashes."""
    values: dict[str, str] = {}
    for folder, _, names in os.walk(top):
        for name in names:
            path = Path(folder, name)
            relative = str(path.relative_to(top))
            if not _VOLATILE.match(relative) and path.stat().st_mode & 0o400:
                value = _read(path)
                if value is not None:
                    values[relative] = value
    return values


def _read(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:  # some only say why they cannot be read when they are
        return None


def _modules(root: Path) -> dict[str, str]:
    text = _read(root / "proc/modules") or ""
    return {line.split()[0]: "loaded" for line in text.splitlines()}


def _ip(*arguments: str) -> list[dict[str, object]]:
    entries: list[dict[str, object]] = json.loads(process.run(["ip", "-json", *arguments]).stdout or "[]")
    return entries


def _links() -> dict[str, str]:
    return {str(link["ifname"]): str(link.get("operstate", "")) for link in _ip("link")}


def _addresses() -> dict[str, str]:
    addresses: dict[str, str] = {}
    for link in _ip("address"):
        infos = link["addr_info"]
        assert isinstance(infos, list)
        for info in infos:
            if "local" in info:
                addresses[f"{link['ifname']} {info['local']}/{info['prefixlen']}"] = str(info.get("scope", ""))
    return addresses


def _routes() -> dict[str, str]:
    routes: dict[str, str] = {}
    for family in ("-4", "-6"):
        for route in _ip(family, "route", "show", "table", "all"):
            name = f"{route.get('table', 'main')} {route['dst']} dev {route.get('dev', '-')}"
            kind = str(route.get("type", "unicast"))
            routes[name] = str(route.get("gateway", "" if kind == "unicast" else kind))
    return routes


def _mounts(root: Path) -> dict[str, str]:
    mounts: dict[str, str] = {}
    for line in (root / "proc/self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        mounts[left.split()[4]] = " ".join(right.split()[:2])
    return mounts


def _cgroups(top: Path) -> dict[str, str]:
    """Return the top level of every hierarchy, and all of ours: sessions come and go below."""
    folders: dict[str, str] = {}
    for hierarchy in [top, *top.glob("*/")]:
        for path in hierarchy.glob("*/"):
            folders[str(path)] = ""
            if path.name == PARENT:
                folders.update({str(inner): "" for inner in path.rglob("*/")})
    return folders


def _firewall() -> dict[str, str]:
    """Return the rules as text, without the counters that every packet moves."""
    commands = {
        "nftables": ["nft", "--stateless", "list", "ruleset"],
        "iptables": ["iptables-save"],
        "ip6tables": ["ip6tables-save"],
        "iptables-legacy": ["iptables-legacy-save"],
    }
    rules: dict[str, str] = {}
    for name, command in commands.items():
        if shutil.which(command[0], path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") and os.geteuid() == 0:
            text = process.run(command, check=False).stdout
            lines = [re.sub(r"\[\d+:\d+\]", "", line) for line in text.splitlines() if not line.startswith("#")]
            rules[name] = "\n".join(line.rstrip() for line in lines)
    return rules


def _packages(root: Path) -> dict[str, str]:
    status = root / _PACKAGE_STATE.lstrip("/")
    if not status.exists():
        return {}
    packages: dict[str, str] = {}
    for paragraph in status.read_text(errors="replace").split("\n\n"):
        fields = dict(line.split(": ", 1) for line in paragraph.splitlines() if re.match(r"[A-Z][\w-]*: ", line))
        if fields.get("Status", "").endswith(" installed"):
            packages[f"{fields['Package']}:{fields.get('Architecture', '')}"] = fields.get("Version", "")
    return packages


def _files(root: Path) -> dict[str, str]:
    return dict(_walk(root))


def _walk(root: Path) -> Iterator[tuple[str, str]]:
    for name in _FILES:
        limit = _FILES_DEPTH.get(name, 99)
        top = root / name
        for folder, folders, files in os.walk(top):
            if len(Path(folder).relative_to(top).parts) >= limit - 1:
                folders.clear()
            for file in files:
                path = Path(folder, file)
                if str(path.relative_to(root)) not in _SELF_WRITTEN:
                    yield str(path), _mark(path)
    for name in _SHALLOW:
        for path in (root / name).glob("*"):
            yield str(path), "there"


def _mark(path: Path) -> str:
    try:
        facts = path.lstat()
    except OSError:
        return "gone"
    return f"{facts.st_size} bytes, modified {facts.st_mtime_ns}, mode {facts.st_mode:o}"


def _units() -> dict[str, str]:
    if not Path("/run/systemd/system").is_dir():
        return {}
    out = process.run(["systemctl", "list-units", "--all", "--plain", "--no-legend", f"{PARENT}-*"], check=False).stdout
    return {line.split()[0]: "loaded" for line in out.splitlines() if line.split()}


def _processes(proc: Path) -> dict[str, str]:
    """Return the processes that run inside a machine of a lab."""
    processes: dict[str, str] = {}
    for path in proc.glob("[0-9]*"):
        inside = re.search(rf"/{PARENT}[/-][0-9a-f]+", _read(path / "cgroup") or "")
        stat = _read(path / "stat") or ""
        if inside and stat and ") Z " not in stat:
            processes[f"{inside[0].lstrip('/')} {path.name}"] = _read(path / "comm") or ""
    return processes
