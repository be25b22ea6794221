"""Names of artefacts: their grammar, and the one place in a mirror that kind and name give.

Names come from archives that others made, so each is matched before it is part of a path.
"""

import re
from collections.abc import Collection, Iterable
from pathlib import Path

from hardwatt.core.errors import LabError, RefusedError, VerifyError
from hardwatt.core.untrusted import AGAIN, show
from hardwatt.mirror import debs

NAME_HINT = "invoke mirror.import ARCHIVE --name HOST/REPOSITORY:TAG"
_LABEL = r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})+|localhost")
_PART = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_PART}(?:/{_PART})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_SUM = re.compile(r"[0-9a-f]{64}")
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]{1,99}")
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+~_-]{0,99}")
_TOOL = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
_NAME_LENGTH = 255


def reference(text: object) -> tuple[str, str]:
    """Return repository (with its host) and tag of a reference such as ``grafana/grafana:12.0``.

    The grammar is the one of the OCI distribution specification; the host is in small letters and
    has no port, because it is a path prefix in the mirror's registry. Raises ``LabError``.
    """
    if not isinstance(text, str):
        raise LabError(f"the archive names its image {show(text)}", hint=NAME_HINT)
    name, _, digest = text.partition("@")
    repository, _, tag = name.rpartition(":")
    if not repository or "/" in tag:
        raise LabError(f"the archive does not say which image it holds (it says {show(text)})", hint=NAME_HINT)
    host = repository.partition("/")[0]
    if not ("." in host or ":" in host or host == "localhost"):
        repository = f"docker.io/{repository if '/' in repository else f'library/{repository}'}"
    if "@" in text and not _DIGEST.fullmatch(digest):
        raise VerifyError(f"{show(text)} names a digest that is not sha256: and 64 hexadecimal digits", hint=NAME_HINT)
    image_path(repository, tag)
    return repository, tag


def image_path(repository: object, tag: object) -> Path:
    """Return where an image lies, relative to the mirror. Raises ``VerifyError`` for a name outside the grammar."""
    if not isinstance(repository, str) or not isinstance(tag, str):
        raise VerifyError(f"{show(repository)} with the tag {show(tag)} is not an image's name", hint=NAME_HINT)
    host, _, path = repository.partition("/")
    whole = _HOST.fullmatch(host) and _PATH.fullmatch(path) and _TAG.fullmatch(tag)
    if not whole or len(repository) > _NAME_LENGTH:
        raise VerifyError(f"{show(f'{repository}:{tag}')} is not an image's name: HOST/REPOSITORY:TAG, "
                          "host and repository in small letters, no port", hint=NAME_HINT)  # fmt: skip
    return Path("images", repository, tag)


def package_path(name: object, version: object, arch: str) -> Path:
    """Return where a package lies, relative to the mirror. Raises ``VerifyError``."""
    if not (isinstance(name, str) and isinstance(version, str)) or not (
        _PACKAGE.fullmatch(name) and _VERSION.fullmatch(version)
    ):
        raise VerifyError(f"{show(name)} {show(version)} is not a package's name and version", hint=AGAIN)
    return Path("debs", debs.file_name(name, version, arch))


def tool_path(name: object) -> Path:
    """Return where a tool lies, relative to the mirror. Raises ``VerifyError``."""
    if not isinstance(name, str) or not _TOOL.fullmatch(name):
        raise VerifyError(f"{show(name)} is not a tool's name", hint=AGAIN)
    return Path("tools", name)


def place(kind: object, name: object, version: object, arch: str) -> Path:
    """Return where an artefact lies, relative to the mirror: kind and name decide, nothing else."""
    if kind == "image":
        return image_path(name, version)
    if kind == "package":
        return package_path(name, version, arch)
    if kind == "tool":
        return tool_path(name)
    raise VerifyError(f"{show(kind)} is not a kind of artefact: image, package, tool", hint=AGAIN)


def digest(value: object, what: str) -> str:
    """Return the 64 hexadecimal digits of ``sha256:...``. Raises ``VerifyError``."""
    if not isinstance(value, str) or not _DIGEST.fullmatch(value):
        raise VerifyError(f"{what} has the digest {show(value)}, not sha256: and 64 hexadecimal digits", hint=AGAIN)
    return value.removeprefix("sha256:")


def is_sum(value: str) -> bool:
    """Return True for a SHA-256 as 64 hexadecimal digits."""
    return _SUM.fullmatch(value) is not None


def require_apart(repository: str, others: Iterable[str]) -> None:
    """Refuse an image whose folder would lie in another image's folder, or around it."""
    for other in others:
        if other != repository and (
            f"{other}/".startswith(f"{repository}/") or f"{repository}/".startswith(f"{other}/")
        ):
            raise RefusedError(f"the image {repository} would lie in one folder with {other}",
                               hint="invoke mirror.import ARCHIVE --name HOST/OTHER-REPOSITORY:TAG")  # fmt: skip


def own_like(repository: str, made_here: Iterable[str], optional: Collection[str]) -> str:
    """Return the lab's own image whose last name part ``repository`` has, though it is another; or empty.

    An image that the lock lists as optional is never another.
    """
    last = repository.rpartition("/")[2]
    like = (own for own in made_here if own.rpartition("/")[2] == last)
    own = next(like, repository)
    return "" if repository in optional or own == repository else own
