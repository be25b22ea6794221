"""rpms of an exact version, rpms of the distribution, and the key of a repository.

pyinfra's own ``dnf.packages`` takes a pinned package for installed where another version of it is
(https://github.com/pyinfra-dev/pyinfra/issues/1910), and finds nothing behind a repository's
``exclude``.
"""

import fnmatch
import hashlib
import shlex

from pyinfra import host
from pyinfra.api import operation

from deploys.facts.rpm import FINGERPRINTS, Keys, Rpms
from deploys.operations import Commands

# dnf waits for another one's lock: one that a killed run left behind goes on to its end
_DNF = "dnf --assumeyes --setopt=install_weak_deps=False"


@operation()
def pinned(packages: dict[str, str], repository: str, arch: str = "x86_64") -> Commands:
    """Install exactly these versions, up or down, although their repository is excluded from upgrades.

    Only this repository is asked: what the packages depend on is there before, and a mirror of the
    distribution that is away is no reason to fail.

    + packages: name to ``[EPOCH:]VERSION-RELEASE``; ``1.36.3-*`` is any release of that version
    + repository: the identifier of the repository that has them
    + arch: the architecture of all of them
    """
    installed = host.get_fact(Rpms, names=sorted(packages)).get("packages", {})
    wrong = [name for name, version in sorted(packages.items()) if not fnmatch.filter(installed.get(name, []), version)]
    twice = [
        f"{name}-{other}.{arch}"
        for name, version in sorted(packages.items())
        for other in installed.get(name, [])
        if name not in wrong and not fnmatch.fnmatchcase(other, version)
    ]
    if not wrong and not twice:
        host.noop(f"packages are installed: {', '.join(sorted(packages))}")
        return
    if twice:
        # a transaction that was cut off between "the new one is there" and "the old one is gone"
        yield f"rpm --erase --nodeps --noscripts {' '.join(shlex.quote(package) for package in twice)}"
    if wrong:
        names = " ".join(shlex.quote(f"{name}-{packages[name]}.{arch}") for name in wrong)
        source = shlex.quote(repository)
        yield (
            f"{_DNF} --disablerepo='*' --enablerepo={source} --disableexcludes={source} --refresh install {names}"
            f" && {_installed(names)}"
        )


def _installed(names: str) -> str:
    """Return the command that fails where dnf left one out; rpm takes a pattern only among all packages."""
    if "*" not in names:
        return f"rpm --query {names}"
    return f'for name in {names}; do rpm --query --all "$name" | grep . || exit 1; done'


@operation()
def present(names: list[str]) -> Commands:
    """Install packages of the distribution in whatever version it has.

    + names: packages, what packages provide, or ``NAME-VERSION-RELEASE.ARCH``
    """
    rpms = host.get_fact(Rpms, names=sorted(names))
    there = {*rpms.get("packages", {}), *rpms.get("provided", [])}
    missing = [name for name in sorted(names) if name not in there]
    if not missing:
        host.noop(f"packages are installed: {', '.join(sorted(names))}")
        return
    yield f"{_DNF} install {' '.join(shlex.quote(name) for name in missing)}"


@operation()
def key(content: str, path: str, fingerprint: str) -> Commands:
    """Have rpm trust a key, if it is the pinned one; another one is neither kept nor imported.

    + content: the ASCII armoured key
    + path: where the repository file expects it
    + fingerprint: the only fingerprint that the key may have, 40 hexadecimal digits
    """
    trusted = host.get_fact(Keys, path=path)
    same = trusted.get("sha256") == hashlib.sha256(content.encode()).hexdigest()
    if same and fingerprint in trusted.get("imported", []):
        host.noop(f"the key {fingerprint} is trusted")
        return
    place, new = shlex.quote(path), shlex.quote(f"{path}.new")
    yield "\n".join(
        [
            FINGERPRINTS,
            f"umask 022; mkdir -p {shlex.quote(path.rpartition('/')[0])} && printf %s {shlex.quote(content)} >{new}",
            f'actual=$(fingerprints <{new}); if test "$actual" != {shlex.quote(fingerprint)}; then rm -f {new}; '
            f'echo "the key is $actual, and {fingerprint} is pinned: nothing was imported" >&2; exit 1; fi',
            f"mv {new} {place} && rpm --import {place}",
        ]
    )
