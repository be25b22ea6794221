"""Installed rpms with their exact versions, and the keys that rpm trusts."""

import shlex
from collections.abc import Iterable
from typing import Any

from pyinfra.api import FactBase

_FORMAT = r"rpm $name %|EPOCH?{%{EPOCH}:}:{}|%{VERSION}-%{RELEASE} %{ARCH}\n"


class Rpms(FactBase[dict[str, Any]]):
    """Return ``packages`` (name as asked to its versions) and ``provided`` (names that another package provides).

    A version is ``[EPOCH:]VERSION-RELEASE``. Several of one name are a kernel's packages, or the
    old and the new one where a transaction was cut off. A name may also be a whole
    ``NAME-VERSION-RELEASE.ARCH``.
    """

    default = dict

    def requires_command(self, names: list[str]) -> str:
        return "rpm"

    def command(self, names: list[str]) -> str:
        wanted = " ".join(shlex.quote(name) for name in names)
        return "\n".join(
            [
                ": facts.rpms",
                # pyinfra takes an empty answer for "no answer"
                "echo read=yes",
                f"for name in {wanted}; do",
                f'  rpm -q --qf "{_FORMAT}" "$name" 2>/dev/null | grep "^rpm " || ',
                '  if rpm -q --whatprovides "$name" >/dev/null 2>&1; then echo "provided $name"; fi',
                "done",
            ]
        )

    def process(self, output: Iterable[str]) -> dict[str, Any]:
        packages: dict[str, list[str]] = {}
        provided = []
        for line in output:
            fields = line.split()
            if len(fields) == 4 and fields[0] == "rpm":
                packages.setdefault(fields[1], []).append(fields[2])
            elif len(fields) == 2 and fields[0] == "provided":
                provided.append(fields[1])
        return {"packages": packages, "provided": provided}


FINGERPRINTS = """fingerprints() {
  home=$(mktemp -d) || return
  gpg --homedir "$home" --batch --quiet --with-colons --show-keys 2>/dev/null |
    sed -n '/^pub:/{n;s/^fpr:*\\([0-9A-F]*\\):.*/\\1/p;}'
  rm -rf "$home"
}"""
"""Shell: the fingerprints of the primary keys that come in; every key of a file would be trusted."""


class Keys(FactBase[dict[str, Any]]):
    """Return the ``sha256`` of a key file (empty where it is not there) and the fingerprints rpm has ``imported``."""

    default = dict

    def requires_command(self, path: str) -> str:
        return "rpm"

    def command(self, path: str) -> str:
        return "\n".join(
            [
                ": facts.keys",
                FINGERPRINTS,
                f'echo "sha256 $(sha256sum {shlex.quote(path)} 2>/dev/null)"',
                "rpm -q gpg-pubkey --qf '%{DESCRIPTION}\\n' | fingerprints | sed 's/^/imported /'",
            ]
        )

    def process(self, output: Iterable[str]) -> dict[str, Any]:
        rows = [line.split() for line in output]
        sums = [row[1] for row in rows if row[0] == "sha256" and len(row) > 1]
        return {"sha256": "".join(sums), "imported": [row[1] for row in rows if row[0] == "imported"]}
