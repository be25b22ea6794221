"""Facts of the toolkit itself for a manifest."""

from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path

import hardwatt
from hardwatt.bundle.model import Check, Provenance, Source
from hardwatt.core.errors import LabError
from hardwatt.core.process import run


def provenance(
    *,
    seed: int,
    source: Source,
    versions: Mapping[str, str] | None = None,
    host: Mapping[str, object] | None = None,
    power_model: Mapping[str, object] | None = None,
    checks: Iterable[Check] = (),
    protocol_sha256: str | None = None,
    session: int | None = None,
) -> Provenance:
    """Return a provenance with this toolkit's version, commit and state of its checkout filled in."""
    sha, dirty = _checkout(Path(hardwatt.__file__).parent)
    return Provenance(
        seed=seed,
        source=source,
        tool_version=metadata.version("hardwatt") if _installed() else "unpackaged",
        git_sha=sha,
        dirty=dirty,
        versions=versions or {},
        host=host or {},
        power_model=power_model or {},
        checks=tuple(checks),
        protocol_sha256=protocol_sha256,
        session=session,
    )


def _installed() -> bool:
    try:
        metadata.version("hardwatt")
    except metadata.PackageNotFoundError:
        return False
    return True


def _checkout(folder: Path) -> tuple[str, bool]:
    """Return (commit, dirty) of the checkout around the package; ("", False) where it is not a tracked file."""
    try:
        run(["git", "-C", str(folder), "ls-files", "--error-unmatch", "__init__.py"])
        sha = run(["git", "-C", str(folder), "rev-parse", "HEAD"]).stdout.strip()
        return sha, bool(run(["git", "-C", str(folder), "status", "--porcelain"]).stdout.strip())
    except LabError:
        return "", False
