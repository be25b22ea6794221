"""Files from the network: checked beside their place, and moved there only then.

pyinfra's own ``files.download`` moves a file into its place before it checks the sum.
"""

import shlex

from pyinfra import host
from pyinfra.api import OperationError, operation
from pyinfra.facts.files import Sha256File

from deploys.facts.download import KeyFile
from deploys.facts.rpm import FINGERPRINTS
from deploys.operations import Commands


@operation()
def verified(url: str, dest: str, sha256: str = "", fingerprint: str = "", mode: str = "644") -> Commands:
    """Have a file of a known content, or a key file with one known key and no other.

    + url: where it is fetched, by https unless it is the lab's own
    + dest: its place; its folder is made
    + sha256: its sum, in hexadecimal
    + fingerprint: of the one OpenPGP key that it may hold; one of the two has to be given
    + mode: its permissions
    """
    if bool(sha256) == bool(fingerprint):
        raise OperationError("either sha256 or fingerprint says what the file has to be")
    if sha256 and host.get_fact(Sha256File, path=dest) == sha256:
        host.noop(f"{dest} is what it has to be")
        return
    if fingerprint and host.get_fact(KeyFile, path=dest) == [fingerprint]:
        host.noop(f"{dest} is the key {fingerprint}")
        return
    yield from commands(url, dest, sha256=sha256, fingerprint=fingerprint, mode=mode)


def commands(url: str, dest: str, *, sha256: str, fingerprint: str, mode: str) -> Commands:
    """Yield the three commands: fetch beside its place, check, move."""
    part = shlex.quote(f"{dest}.part")
    yield (
        f"mkdir -p {shlex.quote(dest.rpartition('/')[0])} && "
        f"curl --fail --silent --show-error --location --retry 3 --output {part} {shlex.quote(url)}"
    )
    if sha256:
        check = f"actual=$(sha256sum <{part} | cut -d ' ' -f 1)"
    else:
        check = f"{FINGERPRINTS}\nactual=$(fingerprints <{part})"
    wanted = sha256 or fingerprint
    yield (
        f'{check}\nif test "$actual" != {wanted}; then rm -f {part}; '
        f'echo "{url} is $actual, and {wanted} is pinned: it was deleted" >&2; exit 1; fi'
    )
    yield f"chmod {mode} {part} && mv -f {part} {shlex.quote(dest)}"
