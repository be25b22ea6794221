"""mirror.*: everything that a lab installs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from hardwatt.cli.registry import LAB, command

if TYPE_CHECKING:
    from hardwatt.config.lab import Lab

GROUPS = ("node", "gitops", "ci")


@command(
    "mirror.fill",
    needs=LAB,
    arguments={"only": "one group: node, gitops, or ci (the image of a CI server, made only when asked for)"},
    values={"only": GROUPS},
)
def mirror_fill(lab: Lab, *, only: str = "") -> None:
    """Download and verify, or build, everything that a lab installs."""
    from hardwatt.mirror import fill

    fill.fill(lab, only=only)


@command("mirror.list", needs=LAB, arguments={"as_json": "print JSON"})
def mirror_list(lab: Lab, *, as_json: bool = False) -> None:
    """List each artefact with version, source and how it was verified."""
    from hardwatt.mirror import listing

    rows = listing.listing(lab)
    print(json.dumps(rows, indent=2) if as_json else "\n".join("  ".join(str(v) for v in row.values()) for row in rows))


@command("mirror.export", needs=LAB, arguments={"folder": "an empty or new folder, or a FILE.tar or FILE.tar.gz"})
def mirror_export(lab: Lab, folder: Path) -> None:
    """Write the mirror into a folder that another machine can import; prints its size and its sum."""
    from hardwatt.mirror import archive

    print(archive.export(lab, folder))


@command(
    "mirror.import",
    needs=LAB,
    arguments={
        "path": "an exported folder or archive",
        "name": "HOST/REPOSITORY:TAG, where an image archive does not say",
        "sha256": "the sum that mirror.export printed; of an image archive, the sum of the file",
    },
)
def mirror_import(lab: Lab, path: Path, *, name: str = "", sha256: str = "") -> None:
    """Fill the mirror from an export or an image archive, without a network."""
    from hardwatt.mirror import imports

    imports.import_(lab, path, name=name, sha256=sha256)


@command("mirror.lock", needs=LAB)
def mirror_lock(lab: Lab) -> None:
    """Read upstream's published sums and digests into versions.lock.toml; needs upstream's hosts."""
    from hardwatt.mirror import fill

    for line in fill.resolve_lock(lab):
        print(line)
