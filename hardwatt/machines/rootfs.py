"""The node's root filesystem: a fresh installation of the host's own distribution, as one archive.

It is made by mmdebstrap from the package sources that apt uses on this machine, and kept in the
user's cache: labs unpack it, and it is made anew when the recipe changes. There is nothing of
Kubernetes in it: the deploys find a fresh host.
"""

import contextlib
import dataclasses
import fcntl
import hashlib
import os
import re
import shlex
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from hardwatt.core import process
from hardwatt.core.errors import CommandError, LabError
from hardwatt.core.files import sync_folder, write_atomic
from hardwatt.core.limits import BUILD
from hardwatt.machines.host_facts import MIN_DISK, search_path

RECIPE = 2
"""Raised with every change of the recipe below, so that caches made by the old one are passed over."""

PACKAGES = (
    "systemd",
    "systemd-sysv",
    "dbus",
    "openssh-server",  # how everything reaches the node
    "iproute2",
    "iptables",  # kube-proxy, CNI portmap
    "nftables",
    "ebtables",
    "conntrack",  # kubeadm's preflight and kube-proxy
    "ethtool",
    "socat",
    "kmod",
    "procps",
    "util-linux",
    "runc",
    "containernetworking-plugins",
    "git",  # the lab's repositories live on the node
    "python3",  # the meter and pyinfra's facts
    "ca-certificates",
    "gpgv",  # apt checks the mirror's signature
    "curl",
    "netbase",
    "tzdata",
)
"""Distribution packages of the node beyond the minimal base."""

_NODOC = ("/usr/share/man/*", "/usr/share/doc/*", "/usr/share/locale/*", "/usr/share/info/*")
_ACQUIRE = re.compile(r'^Acquire::(Check-|Retries|ForceIPv|https?(::[^ ]*)?::|Languages)[^"]*"[^"]+";$')
"""apt settings that say how this machine reaches its package sources (proxies, certificates, dates)."""
_BUILDING = ".building"
_AUTH = ("etc/apt/auth.conf", "etc/apt/auth.conf.d")


@dataclasses.dataclass(frozen=True)
class Sources:
    """Package sources that this machine installs from."""

    codename: str
    files: tuple[str, ...]
    options: tuple[str, ...]


def key(codename: str, architecture: str) -> str:
    """Return the name of the archive in the cache: the same recipe gives the same name."""
    text = "\n".join([str(RECIPE), codename, architecture, *PACKAGES])
    return f"{codename}-{architecture}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def archive(cache: Path, codename: str, architecture: str) -> Path:
    """Return the archive's path, whether it exists or not."""
    return cache / "rootfs" / f"{key(codename, architecture)}.tar"


def sources(codename: str) -> Sources:
    """Return the package sources of this machine that belong to its own distribution.

    Raises ``LabError`` where there is none.
    """
    format_ = "$(SOURCESENTRY)|$(ORIGIN)|$(RELEASE)"
    targets = process.run(["apt-get", "indextargets", "--format", format_, "Created-By: Packages"]).stdout
    files = parse_targets(targets, codename)
    if not files:
        raise LabError(f"apt on this machine has no sources of its own release {codename!r}",
                       hint="look at /etc/apt/sources.list and /etc/apt/sources.list.d")  # fmt: skip
    options = process.run(["apt-config", "dump"]).stdout.splitlines()
    return Sources(codename, files, tuple(line for line in options if _ACQUIRE.match(line)))


def parse_targets(targets: str, codename: str) -> tuple[str, ...]:
    """Return the source files that serve this release: the base suite, updates and security.

    A third party's source may use the same suite name; apt knows by its origin, once its
    lists are there, that it is not the distribution.
    """
    suites = {codename, f"{codename}-updates", f"{codename}-security"}
    rows = [line.split("|") for line in targets.splitlines() if line.count("|") == 2]
    ours = [(entry.rpartition(":")[0], origin) for entry, origin, release in rows if release in suites]
    distributions = {origin for file, origin in ours if origin in ("Debian", "Ubuntu")}
    files = [file for file, origin in ours if not distributions or origin in distributions]
    return tuple(dict.fromkeys(files))


def build_command(target: Path, sources: Sources, options: Path, copy_auth: bool) -> list[str]:
    """Return the mmdebstrap command that writes ``target``; ``options`` is a file of apt settings."""
    clean = [
        'rm -f "$1"/etc/ssh/ssh_host_* "$1"/etc/resolv.conf "$1"/etc/hostname "$1"/etc/hosts',
        # how this machine reaches its packages is nothing of the node's: it installs from the mirror
        'rm -rf "$1"/etc/apt/sources.list.d/* "$1"/etc/apt/sources.list "$1"/etc/apt/auth.conf*',
        'rm -f "$1"/etc/apt/apt.conf.d/99mmdebstrap "$1"/etc/dpkg/dpkg.cfg.d/99mmdebstrap',
    ]
    auth = [f'for f in {" ".join(_AUTH)}; do test ! -e "/$f" || cp -a "/$f" "$1/etc/apt/"; done'] if copy_auth else []
    return [
        "mmdebstrap",
        "--mode=root",
        "--variant=minbase",
        "--format=tar",
        f"--include={','.join(PACKAGES)}",
        f"--aptopt={options}",
        *(f"--dpkgopt=path-exclude={path}" for path in _NODOC),
        "--dpkgopt=path-include=/usr/share/doc/*/copyright",
        *(f"--setup-hook={hook}" for hook in auth),
        *(f"--customize-hook={hook}" for hook in clean),
        sources.codename,
        str(target),
        *sources.files,
    ]


def build(target: Path, sources: Sources, *, log: Path) -> bool:
    """Make the archive ``target`` unless it is there; return whether it was made (needs root)."""

    def make(work: Path) -> Path:
        made = work / target.name
        bootstrap(work, sources, log, lambda options, auth: build_command(made, sources, options, auth), target.parent)
        return made

    return cached(target, make)


def cached(target: Path, make: Callable[[Path], Path]) -> bool:
    """Have ``make`` fill a folder with what becomes ``target``, unless it is there; return whether it was made.

    A second lab waits for the first one's build. A killed build leaves only what the next one removes.
    """
    folder = target.parent
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder / ".lock"):
        if target.exists():
            return False
        _require_space(folder)
        with _locked(folder / _BUILDING):  # held by a build whose parent was killed, until it has ended too
            pass
        for old in folder.glob("tmp.*"):
            _remove_work(old)
        work = Path(tempfile.mkdtemp(prefix="tmp.", dir=folder))
        try:
            made = make(work)
            made.replace(target)
            sync_folder(folder)
        finally:
            _remove_work(work)
    return True


def as_owner_of_all() -> list[str]:
    """Return the start of a command that may own files as everybody: in a user namespace where we are not root."""
    return [] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--map-auto", "--"]


def _remove_work(folder: Path) -> None:
    process.run([*as_owner_of_all(), "rm", "-rf", "--one-file-system", str(folder)])


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def with_us(signal_name: str) -> list[str]:
    """Return the start of a command that ends with us, also when we are killed."""
    return ["setpriv", "--pdeathsig", signal_name, "--"]


def bootstrap(
    work: Path, sources: Sources, log: Path, command: Callable[[Path, bool], list[str]], folder: Path
) -> None:
    """Run an mmdebstrap ``command`` (of the file of apt's settings, and whether to copy credentials) in ``work``."""
    work.chmod(0o755)  # apt's unprivileged download user passes through it
    options = work / "apt.conf"
    write_atomic(options, "\n".join(sources.options) + "\n", mode=0o600)
    copy_auth = any(Path("/", name).exists() for name in _AUTH)
    start = [*with_us("TERM"), "flock", "--no-fork", str(folder / _BUILDING)]
    if os.geteuid() == 0:  # its mounts end with it, also when it is killed; in a user namespace they do so anyway
        start += ["unshare", "--mount", "--"]
    try:
        env = {"TMPDIR": str(work), "PATH": search_path()}
        process.run([*start, *command(options, copy_auth)], env=env, log=log, timeout=BUILD.whole)
    except CommandError as error:
        raise LabError(f"the root filesystem could not be made\n{error.stderr}",
                       hint=f"check that `apt-get update` works on this machine; whole log: {shlex.quote(str(log))}",
                       ) from error  # fmt: skip


def _require_space(folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if free < MIN_DISK:
        raise LabError(
            f"{free / 1024**3:.1f} GiB free in {folder}, and a lab needs {MIN_DISK / 1024**3:.0f} GiB",
            hint="free some space, or set mirror.cache in lab.toml",
        )


def remove(root: Path) -> None:
    """Remove a machine's folder with its tree; a tree that is half removed is none (needs root)."""
    if root.exists():
        root.replace(root.with_name(f"{root.name}.gone"))
    process.run(["rm", "-rf", "--one-file-system", str(root.parent)])


def unpack(source: Path, root: Path) -> bool:
    """Unpack the archive to ``root`` unless it is there; return whether it was unpacked (needs root)."""
    if root.exists():
        return False
    fresh = root.with_name(f"{root.name}.new")
    process.run(["rm", "-rf", "--one-file-system", str(fresh), str(root.with_name(f"{root.name}.gone"))])
    fresh.mkdir(parents=True)
    tar = [*with_us("KILL"), "tar", "--numeric-owner", "--xattrs", "--xattrs-include=*", "-xpf", str(source)]
    process.run([*tar, "-C", str(fresh)])
    fresh.replace(root)
    return True
