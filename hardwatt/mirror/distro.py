"""Small trees of the distribution's own packages, for images that need more than a static binary.

Which archive they come from is the machine's own configuration of apt, never a name in here.
"""

import dataclasses
import hashlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from hardwatt.core import files
from hardwatt.core.errors import CommandError, LabError
from hardwatt.core.process import run
from hardwatt.machines import host_facts, rootfs
from hardwatt.mirror.oci import EPOCH, Entry

_LEFT_OUT = (
    "/usr/share/doc/*",
    "/usr/share/man/*",
    "/usr/share/info/*",
    "/usr/share/locale/*",
    "/usr/share/bash-completion/*",
    "/usr/share/lintian/*",
    "/usr/lib/*/gconv/*",
    # git's rarely used commands are Perl or servers; a runner clones, and no more.
    "/usr/share/perl*/*",
    "/usr/lib/*/perl*/*",
    "/usr/lib/*/libperl*",
    "/usr/bin/perl*",
    "/usr/bin/git-shell",
    "*/scalar",
    "/usr/lib/git-core/git-daemon",
    "/usr/lib/git-core/git-http-backend",
    "/usr/lib/git-core/git-http-push",
    "/usr/lib/git-core/git-imap-send",
    "/usr/lib/git-core/git-shell",
)


@dataclasses.dataclass(frozen=True)
class Release:
    """The distribution that this machine runs."""

    origin: str
    """As its repositories say it, in small letters."""
    codename: str


def release(os_release: Path = Path("/etc/os-release")) -> Release:
    """Return the machine's distribution. Raises ``LabError`` where it has no codename."""
    values = host_facts.release(os_release.parents[1])
    if not (codename := host_facts.codename(values)):
        raise LabError(f"{values.get('PRETTY_NAME', 'this system')} has no apt repositories to take packages from",
                       hint="invoke mirror.import ARCHIVE with an export of a Debian or Ubuntu machine")  # fmt: skip
    return Release(values.get("ID", "linux").lower(), codename)


def key(packages: Iterable[str]) -> str:
    """Return what a tree is made from: the packages' names, the rules here, the distribution."""
    distribution = release()
    parts = [distribution.origin, distribution.codename, *sorted(packages), *_LEFT_OUT]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def tree(packages: Sequence[str], target: Path, *, work: Path, log: Path) -> None:
    """Write a tar of ``packages`` and what they depend on to ``target``; nothing in it has run.

    ``work`` is a folder for temporary files. Raises ``LabError``.
    """
    work.mkdir(parents=True, exist_ok=True)
    part = work / f"{target.name}.part"
    apt_sources = rootfs.sources(release().codename)
    options = work / "apt.conf"  # proxies may hold a password
    files.write_atomic(options, "\n".join([*apt_sources.options, ""]), mode=0o600)
    argv = ["mmdebstrap", "--variant=extract", "--format=tar", f"--include={','.join(packages)}"]
    argv += [f"--aptopt={options}"]
    argv += [f"--dpkgopt=path-exclude={pattern}" for pattern in _LEFT_OUT]
    argv += [apt_sources.codename, os.fspath(part), *apt_sources.files]
    env = {"TMPDIR": os.fspath(work), "SOURCE_DATE_EPOCH": str(EPOCH)}
    try:
        run(argv, env=env, timeout=1800, log=log)
    except CommandError as error:
        raise LabError(
            f"the packages {', '.join(packages)} cannot be brought: {error.stderr[-600:]}",
            hint="check the network and `apt-get update`, then run the same command again",
        ) from error
    part.replace(target)


def clean(work: Path) -> None:
    """Remove what a killed run left in ``work``; never crosses into another file system."""
    if work.exists():
        run(["rm", "-rf", "--one-file-system", "--", work])
    work.mkdir(parents=True)


def certificates(folder: Path = Path("/usr/share/ca-certificates/mozilla")) -> Entry:
    """Return the distribution's public certificate authorities as one file of a layer.

    Not the machine's own bundle: that may hold what its owner added.
    """
    authorities = sorted(folder.glob("*.crt"))
    if not authorities:
        raise LabError("the package ca-certificates is not installed", hint="make setup")
    content = b"".join(path.read_bytes().rstrip(b"\n") + b"\n" for path in authorities)
    return Entry("/etc/ssl/certs/ca-certificates.crt", content, mode=0o644)
