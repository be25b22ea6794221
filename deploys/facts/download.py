"""Files that came from the network."""

import shlex
from collections.abc import Iterable

from pyinfra.api import FactBase

from deploys.facts.rpm import FINGERPRINTS


class KeyFile(FactBase[list[str]]):
    """Return the fingerprints of all OpenPGP keys in a file; empty where it is not there or gpg is not."""

    default = list

    def command(self, path: str) -> str:
        quoted = shlex.quote(path)
        return (
            f": facts.keyfile\n{FINGERPRINTS}\n"
            f"if test -e {quoted} && command -v gpg >/dev/null 2>&1; then fingerprints <{quoted}; fi"
        )

    def process(self, output: Iterable[str]) -> list[str]:
        return [line.strip() for line in output if line.strip()]
