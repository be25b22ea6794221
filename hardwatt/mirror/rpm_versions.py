"""Folder of the mirror's rpms, and their versions as rpm writes them."""

FOLDER = "rpm"
"""Where the repository lies, below the folder that the mirror serves."""


def version_release(version: str) -> tuple[str, str]:
    """Return version and release of a package of the mirror: ``1.36.3+lab.1`` is ``1.36.3`` and ``1.lab.1``."""
    number, _, lab = version.partition("+")
    return number, f"1.{lab}"


def evr(version: str) -> str:
    """Return the version as rpm prints it: ``1.36.3+lab.1`` is ``1.36.3-1.lab.1``."""
    return "-".join(version_release(version))
