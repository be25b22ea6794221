"""A root filesystem whose package manager is the real dnf and rpm, and that says of itself to be RHEL 8.6.

It is a stand-in, for tests only: the programs in it are Debian's, and so are their versions. What is
real is what the deploys meet: os-release, dnf with signed repositories, rpm's database, firewalld. The
distribution's rpms are made here, with the programs that RHEL has in the package of that name: a node
where ``lab.up`` forgot to install one has not got it. apt and dpkg are gone.
"""

import dataclasses
import fcntl
import hashlib
import json
import os
import platform
import shutil
import tempfile
from pathlib import Path

from hardwatt.core import process
from hardwatt.core.files import write_atomic
from hardwatt.machines import host_facts, rootfs
from hardwatt.machines.embedded.machine import EmbeddedMachine
from hardwatt.machines.embedded.privileged import Spec
from hardwatt.mirror import apt, debs

PACKAGES = ("dnf", "rpm", "firewalld", "gpg")
"""What the tree has beside the embedded node's own packages."""
REPOSITORY = "srv/standin"
FORGED_PACKAGE, FORGED_INDEX = "srv/forged-package", "srv/forged-index"
KEY = "etc/pki/rpm-gpg/RPM-GPG-KEY-standin"
FOREIGN_KEY = "srv/foreign.asc"
SAYS = "A stand-in for the package of RHEL 8.6 of this name, made for tests of hardwatt. The programs are Debian's.\n"


@dataclasses.dataclass(frozen=True)
class Rpm:
    """One package of the distribution."""

    name: str
    evr: str
    programs: tuple[str, ...] = ()
    """What it takes from the tree, as shell patterns."""
    folder: str = "usr/sbin"
    """Where RHEL has them."""
    provides: tuple[str, ...] = ()
    born: bool = False
    """Installed on a fresh machine."""


RPMS = (
    Rpm("conntrack-tools", "1.4.4-10.el8", ("usr/sbin/conntrack",)),
    Rpm("container-selinux", "2:2.179.1-1.el8"),
    Rpm("containernetworking-plugins", "1:1.0.1-2.el8", ("usr/lib/cni/*",), "usr/libexec/cni"),
    Rpm("ethtool", "2:5.13-1.el8", ("usr/sbin/ethtool",)),
    Rpm("firewalld", "0.9.3-13.el8", born=True),
    Rpm("git", "2.31.1-2.el8"),
    Rpm("iproute", "5.15.0-4.el8", born=True),
    Rpm("iproute-tc", "5.15.0-4.el8", ("usr/sbin/tc",)),
    Rpm("iptables", "1.8.4-22.el8", born=True),
    # several of them stand side by side, as the real one's provides say
    *(
        Rpm("kernel-devel", f"4.18.0-{number}", provides=("installonlypkg(kernel)",))
        for number in ("372.9.1.el8", "372.32.1.el8_6")
    ),
    Rpm("kmod", "25-19.el8", born=True),
    # of no use but to be moved up and down
    *(Rpm("probe", f"{number}-1.el8") for number in ("1.0", "2.0", "3.0")),
    Rpm("openssh-server", "8.0p1-13.el8", born=True),
    Rpm("policycoreutils-python-utils", "2.9-19.el8"),
    Rpm("python36", "3.6.8-38.el8", provides=("python3 = 3.6.8",)),
    Rpm("redhat-release", "8.6-0.1.el8", provides=("system-release = 8.6",), born=True),
    Rpm("runc", "1:1.0.3-2.el8", ("usr/sbin/runc",), "usr/bin"),
    Rpm("socat", "1.7.4.1-1.el8", ("usr/bin/socat",), "usr/bin"),
    Rpm("tar", "2:1.30-5.el8", born=True),
    Rpm("util-linux", "2.32.1-35.el8", born=True),
)

_FILES = {
    "usr/lib/os-release": (
        'NAME="Red Hat Enterprise Linux"\nVERSION="8.6 (Ootpa)"\nID="rhel"\nID_LIKE="fedora"\nVERSION_ID="8.6"\n'
        'PLATFORM_ID="platform:el8"\nPRETTY_NAME="Red Hat Enterprise Linux 8.6 (a stand-in for tests)"\n'
    ),
    # Debian's rpm keeps its database in the user's home
    "etc/rpm/macros.dbpath": "%_dbpath /var/lib/rpm\n",
    "etc/dnf/dnf.conf": (
        "[main]\ngpgcheck=1\ninstallonly_limit=3\nclean_requirements_on_remove=True\nbest=True\n"
        "skip_if_unavailable=False\n"
    ),
    "etc/yum.repos.d/standin.repo": "\n".join(
        f"[{place.rpartition('/')[2]}]\nname=stand-ins for the distribution's packages\nbaseurl=file:///{place}\n"
        f"enabled={int(place == REPOSITORY)}\ngpgcheck=1\nrepo_gpgcheck=1\ngpgkey=file:///{KEY}\nexclude=probe\n"
        for place in (REPOSITORY, FORGED_PACKAGE, FORGED_INDEX)
    ),
}
_GONE = ("usr/bin/apt*", "usr/bin/dpkg*", "usr/sbin/dpkg*")


@dataclasses.dataclass(frozen=True)
class StandIn(EmbeddedMachine):
    """The embedded machinery with the other root filesystem."""

    def _spec(self, codename: str = "") -> Spec:
        return dataclasses.replace(super()._spec(codename), archive=str(archive(self.lab.cache, codename)))

    def _archive(self, facts: host_facts.HostFacts) -> Path:
        return build(self.lab.cache, facts.codename, self.lab.logs / "rootfs.log")


def archive(cache: Path, codename: str) -> Path:
    """Return where the stand-in's tree is kept; another text of this module gives another one."""
    made_of = Path(__file__).read_bytes() + base(cache, codename).name.encode()
    return cache / "rootfs" / f"el8-standin-{hashlib.sha256(made_of).hexdigest()[:12]}.tar"


def base(cache: Path, codename: str) -> Path:
    """Return where Debian's tree with dnf in it is kept."""
    made_of = rootfs.key(codename, platform.machine()) + repr(PACKAGES)
    return cache / "rootfs" / f"el8-base-{hashlib.sha256(made_of.encode()).hexdigest()[:12]}.tar"


def build(cache: Path, codename: str, log: Path) -> Path:
    """Make the stand-in's tree where there is none; return its archive."""
    first, target = base(cache, codename), archive(cache, codename)
    first.parent.mkdir(parents=True, exist_ok=True)
    with (first.parent / "el8.lock").open("w") as lock, tempfile.TemporaryDirectory() as folder:
        fcntl.flock(lock, fcntl.LOCK_EX)
        work = Path(folder)
        work.chmod(0o755)  # apt's unprivileged download user passes through it
        if not first.exists():
            _bootstrap(work, first, codename, log)
        if not target.exists():
            tar, tree = ["tar", "--numeric-owner", "--xattrs", "--xattrs-include=*"], work / "tree"
            tree.mkdir()
            process.run([*tar, "-C", tree, "-xpf", first])
            turn(tree)
            process.run([*tar, "-C", tree, "-cf", work / "turned.tar", "."])
            for old in target.parent.glob("el8-standin-*"):
                old.unlink()
            shutil.move(work / "turned.tar", target)
    return target


def _bootstrap(work: Path, target: Path, codename: str, log: Path) -> None:
    """Make Debian's tree with the embedded node's own recipe, and a few packages more."""
    found, options, made = rootfs.sources(codename), work / "apt.conf", work / "tree.tar"
    write_atomic(options, "\n".join(found.options) + "\n", mode=0o600)
    command = rootfs.build_command(made, found, options, copy_auth=Path("/etc/apt/auth.conf").exists())
    include = next(place for place, part in enumerate(command) if part.startswith("--include="))
    command[include] += "," + ",".join(PACKAGES)
    env = {"TMPDIR": str(work), "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}
    process.run(command, env=env, log=log)
    shutil.move(made, target)


def turn(tree: Path) -> None:
    """Turn a tree of Debian into the stand-in."""
    with tempfile.TemporaryDirectory() as folder:
        work, foreign = Path(folder, "own"), Path(folder, "foreign")
        repository = tree / REPOSITORY
        for one in RPMS:
            _make(one, tree, repository, work)
        _sign(repository, work)
        # what must be refused: a package, and an index, that another key signed
        _make(Rpm("forged", "1.0-1"), tree, tree / FORGED_PACKAGE, foreign)
        _sign(tree / FORGED_PACKAGE, work)
        _make(Rpm("forged", "1.0-1"), tree, tree / FORGED_INDEX, work)
        _sign(tree / FORGED_INDEX, foreign)
        write_atomic(tree / KEY, apt.public_key(work).read_text())
        write_atomic(tree / FOREIGN_KEY, apt.public_key(foreign).read_text())
    for name, text in _FILES.items():
        write_atomic(tree / name, text)
    chroot = ["chroot", str(tree)]
    process.run([*chroot, "rpm", "--import", f"/{KEY}"])
    born = [f"/{REPOSITORY}/{file_name(one)}" for one in RPMS if one.born]
    process.run([*chroot, "rpm", "--install", *born])
    for pattern in _GONE:
        for path in tree.glob(pattern):
            path.unlink()


def _sign(repository: Path, keys: Path) -> None:
    process.run(["createrepo_c", "--quiet", "--no-database", repository])
    repomd = repository / "repodata/repomd.xml"
    with apt.keyring(keys) as gpg:
        gpg("--import", apt.private_key(keys))
        gpg("--passphrase", "", "--armor", "--detach-sign", "--output", f"{repomd}.asc", repomd)


def file_name(one: Rpm) -> str:
    """Return the name of an rpm's file."""
    return f"{one.name}-{one.evr.rpartition(':')[2]}.standin.x86_64.rpm"


def _make(one: Rpm, tree: Path, target: Path, work: Path) -> None:
    """Make one rpm, signed by the key in ``work``, with the programs that the tree then has no more."""
    apt.ensure_key(work)
    target.mkdir(parents=True, exist_ok=True)
    note = work / "note"
    note.write_text(SAYS)
    moved = [path for pattern in one.programs for path in sorted(tree.glob(pattern))]
    if one.programs and not moved:
        raise LookupError(f"the tree has no {one.programs}")
    contents = [{"src": str(path), "dst": f"/{one.folder}/{path.name}"} for path in moved]
    contents.append({"src": str(note), "dst": f"/usr/share/doc/standin/{one.name}-{one.evr}"})
    epoch, _, rest = one.evr.rpartition(":")
    version, _, release = rest.partition("-")
    settings = work / "nfpm.json"
    settings.write_text(json.dumps({
        "name": one.name, "arch": "amd64", "version": version, "release": f"{release}.standin", "epoch": epoch,
        "version_schema": "none", "maintainer": "hardwatt <hardwatt@localhost>", "description": SAYS,
        "license": "Apache-2.0", "provides": list(one.provides), "contents": contents,
        "rpm": {"summary": SAYS.strip(), "signature": {"key_file": str(apt.private_key(work))}},
    }))  # fmt: skip
    made = target / file_name(one)
    process.run([debs.nfpm(), "package", "--packager", "rpm", "--config", settings, "--target", made])
    for path in moved:
        path.unlink()
