"""Packages of an exact version, and packages of the distribution."""

import fnmatch
import shlex

from pyinfra import host
from pyinfra.api import operation

from deploys.facts.packages import Debs
from deploys.operations import Commands
from deploys.operations.record import NOTE

# noninteractive and the old configuration files: nothing may ever stop to ask. The lock is waited
# for, because an apt that a killed run left behind goes on to its end.
INSTALL = (
    "DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "
    "-o DPkg::Lock::Timeout=300 -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold"
)
_REPAIR = "DEBIAN_FRONTEND=noninteractive dpkg --configure -a --force-confdef --force-confold"


@operation()
def pinned(packages: dict[str, str], source: str | None = None) -> Commands:
    """Install exactly these versions and hold them, so that no upgrade moves them.

    + packages: name to version, as apt prints it; ``1.36.3-*`` is any packaging of that version
    + source: the sources file to read first; None reads all of them
    """
    debs = host.get_fact(Debs, names=sorted(packages))
    installed = debs.get("packages", {})
    wrong = {
        name: version
        for name, version in sorted(packages.items())
        if name not in installed or not fnmatch.fnmatchcase(installed[name]["version"], version)
    }
    loose = [n for n in sorted(packages) if n in wrong or not installed[n]["held"]]
    if not wrong and not loose and not debs.get("broken"):
        host.noop(f"packages are installed and held: {', '.join(sorted(packages))}")
        return
    if debs.get("broken"):
        yield _REPAIR
    if wrong:
        yield update(source)
        names = " ".join(shlex.quote(f"{name}={version}") for name, version in wrong.items())
        yield from install(f"--allow-downgrades --allow-change-held-packages {names}")
    if loose:
        yield f"apt-mark hold {' '.join(shlex.quote(name) for name in loose)}"


@operation()
def present(names: list[str]) -> Commands:
    """Install packages of the distribution in whatever version it has.

    + names: the packages
    """
    debs = host.get_fact(Debs, names=sorted(names))
    missing = [name for name in sorted(names) if name not in debs.get("packages", {})]
    if not missing and not debs.get("broken"):
        host.noop(f"packages are installed: {', '.join(sorted(names))}")
        return
    if debs.get("broken"):
        yield _REPAIR
    if missing:
        yield update(None)
        yield from install(" ".join(shlex.quote(name) for name in missing))


def install(what: str) -> Commands:
    """Yield the commands that install it, all that comes along (a package of the host never does) written down before.

    apt itself forgets who brought what: it keeps a package for as long as any other recommends it.

    + what: arguments of ``apt-get install``, names and versions among them
    """
    new = "sed -n 's/^Inst \\([^ ]*\\) (.*/\\1/p'"
    yield f"apt-get --simulate --no-install-recommends install {what} | {new} | xargs --no-run-if-empty {NOTE} brought"
    yield f"{INSTALL} {what}"


def update(source: str | None) -> str:
    """Return the command that reads the package lists, all of them or one source's."""
    command = "apt-get update --quiet -o DPkg::Lock::Timeout=300 -o APT::Update::Error-Mode=any"
    if source is None:
        return command
    # the other lists stay as they are: a distribution's mirror that is away is no reason to fail
    return (
        f"{command} -o Dir::Etc::SourceList={shlex.quote(source)} "
        "-o Dir::Etc::SourceParts=- -o APT::Get::List-Cleanup=0"
    )
