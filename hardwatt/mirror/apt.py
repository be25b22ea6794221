"""A signed apt repository made of the mirror's packages, with a key that the lab made itself."""

import contextlib
import hashlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from hardwatt.core import files
from hardwatt.core.process import Result, run

SUITE = "stable"
COMPONENT = "main"
KEY_FILE = "hardwatt.asc"
_KEY_NAME = "hardwatt lab repository"
# What EL8's rpm can verify too (it has no Ed25519).
_KEY_TYPE = "rsa3072"
_PRIVATE = "private.asc"
_SOCKET_PATH_LIMIT = 70
"""gpg's agent makes sockets in its folder, whose path the kernel limits to 108 bytes."""


def public_key(root: Path) -> Path:
    """Return where the repository's public key lies."""
    return root / "apt" / KEY_FILE


def private_key(root: Path) -> Path:
    """Return where the key lies that signs; it has no passphrase."""
    return root / "keys" / _PRIVATE


def ensure_key(root: Path) -> Path:
    """Make the mirror's signing key where there is none; return the public key's path.

    The private key stays in ``keys/`` of the mirror, readable by the user alone; no export has it.
    """
    secret, public = private_key(root), public_key(root)
    if secret.exists() and public.exists():
        return public
    with keyring(root) as gpg:
        if secret.exists():
            gpg("--import", secret)
        else:
            gpg("--passphrase", "", "--quick-generate-key", _KEY_NAME, _KEY_TYPE, "sign", "never")
            exported = gpg("--passphrase", "", "--armor", "--export-secret-keys").stdout
            files.write_atomic(secret, exported, mode=0o600)
        files.write_atomic(public, gpg("--armor", "--export").stdout)
    return public


def fingerprint(key: Path) -> str:
    """Return the fingerprint of a public key, 40 hexadecimal digits: what a node is told to trust."""
    with tempfile.TemporaryDirectory(prefix="hardwatt-gpg-") as home:
        gpg = Gpg(Path(home))
        rows = gpg("--with-colons", "--show-keys", key).stdout.splitlines()
    return next(row.split(":")[9] for row in rows if row.startswith("fpr:"))


class Gpg:
    """Runs gpg with a keyring of its own."""

    def __init__(self, home: Path) -> None:
        self.env = {"GNUPGHOME": str(home)}

    def __call__(self, *arguments: str | Path) -> Result:
        argv = ["gpg", "--batch", "--no-tty", "--quiet", "--pinentry-mode", "loopback", *arguments]
        return run(argv, env=self.env, timeout=120, hint="make setup")


@contextlib.contextmanager
def keyring(root: Path) -> Iterator[Gpg]:
    """Run gpg in a keyring of its own, which is gone afterwards, its agent too."""
    keys = root / "keys"
    keys.mkdir(parents=True, exist_ok=True, mode=0o700)
    for left in keys.glob("gpg-*"):  # of a run that was killed
        shutil.rmtree(left)
    place = keys if len(str(keys)) < _SOCKET_PATH_LIMIT else None
    home = Path(tempfile.mkdtemp(prefix="gpg-", dir=place))
    gpg = Gpg(home)
    try:
        yield gpg
    finally:
        run(["gpgconf", "--kill", "gpg-agent"], env=gpg.env, check=False, timeout=30)
        # The agent removes its sockets itself while we remove the folder.
        shutil.rmtree(home, ignore_errors=True)


def publish(root: Path, packages: Sequence[Path], arch: str) -> bool:
    """Write the signed repository of ``packages`` under ``apt/``; return whether anything changed.

    The index is made beside the old one and put in its place at the end; a kill in between leaves
    no index, and the next call makes it.
    """
    apt, key = root / "apt", ensure_key(root)
    made_of = _fingerprint(packages, key, arch)
    stamp = apt / "dists" / ".made-of"
    if stamp.exists() and stamp.read_text() == made_of:
        return False
    _link_pool(apt / "pool", packages)
    new = apt / "dists.new"
    shutil.rmtree(new, ignore_errors=True)
    _write_index(apt, new / SUITE, arch)
    with keyring(root) as gpg:
        gpg("--import", private_key(root))
        release = new / SUITE / "Release"
        gpg("--passphrase", "", "--clearsign", "--output", new / SUITE / "InRelease", release)
        gpg("--passphrase", "", "--armor", "--detach-sign", "--output", new / SUITE / "Release.gpg", release)
    files.write_atomic(new / ".made-of", made_of)
    shutil.rmtree(apt / "dists", ignore_errors=True)
    new.rename(apt / "dists")
    return True


def _fingerprint(packages: Sequence[Path], key: Path, arch: str) -> str:
    parts = [f"{path.name} {files.sha256(path)}" for path in sorted(packages)]
    return hashlib.sha256("\n".join([*parts, files.sha256(key), arch]).encode()).hexdigest()


def _link_pool(pool: Path, packages: Sequence[Path]) -> None:
    """Make ``pool`` hold exactly ``packages``, as hard links."""
    new = pool.with_name("pool.new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    for package in packages:
        (new / package.name).hardlink_to(package)
    shutil.rmtree(pool, ignore_errors=True)
    new.rename(pool)


def _write_index(apt: Path, suite: Path, arch: str) -> None:
    """Write Packages and Release; apt-ftparchive names files relative to its working folder."""
    lists = suite / COMPONENT / f"binary-{arch}"
    lists.mkdir(parents=True)
    packages = run(["apt-ftparchive", "--arch", arch, "packages", "pool"], cwd=apt, hint="make setup").stdout
    files.write_atomic(lists / "Packages", packages)
    options = {
        "Origin": "hardwatt", "Label": "hardwatt", "Suite": SUITE, "Codename": SUITE,
        "Architectures": arch, "Components": COMPONENT, "Description": "the lab's own packages",
    }  # fmt: skip
    argv = ["apt-ftparchive"]
    for name, value in options.items():
        argv += ["-o", f"APT::FTPArchive::Release::{name}={value}"]
    release = run([*argv, "release", "."], cwd=suite).stdout
    files.write_atomic(suite / "Release", release)
