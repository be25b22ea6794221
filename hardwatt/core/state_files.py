"""Files that the toolkit wrote for itself: one reader for a lab's state, journals and caches.

A state file that cannot be used is never replaced and never taken for a missing one: the error names the file, the
reason and the command that sets it aside. A cache that cannot be used is computed again.
"""

import json
import os
import shlex
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from hardwatt.core.errors import LabError
from hardwatt.core.files import WINDOWS

T = TypeVar("T")

LARGEST = 64 << 20
"""Bytes of a state file; a snapshot of a host takes less than one MiB."""
_WRONG = (AttributeError, IndexError, KeyError, LookupError, OverflowError, TypeError, ValueError)
"""Errors of a parser that was given a value of another shape."""


def read(
    path: Path,
    parse: Callable[[Any], T],
    *,
    what: str,
    then: str,
    schema: int | None = None,
    keep: bool = False,
    folder: Path | None = None,
) -> T | None:
    """Return what ``parse`` makes of a state file, or None if there is no file.

    ``what`` names the file in an error and ``then`` is the command that works once the file is set aside. With
    ``schema``, the file is an object that holds that number, else it holds none. With ``keep``, the file is needed
    where it is, so that ``then`` alone is the next command; with ``folder``, that is set aside as a whole. A
    ``LabError`` of ``parse`` passes.

    Raises ``LabError`` if the file is cut off, empty, not JSON, of another version or shape, a folder, or not this
    user's.
    """
    following = then if keep and not _irregular(path) else f"{aside(folder or path)} && {then}"
    try:
        value = _value(path)
    except FileNotFoundError:
        return None
    except PermissionError as error:
        _not_ours(path, what, then, error.strerror or "no permission")
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(path, what, following, _reason(error)) from None
    _require_owner(path, what, then)
    if _schema(value) != schema:
        versions = f"(schema {_schema(value)!r}, this one reads {schema or 'none'})"
        raise _damaged(path, what, following, f"was written by another version of the toolkit {versions}")
    try:
        return parse(value)
    except _WRONG as error:
        reason = f"does not have the shape that this version writes: {_reason(error)}"
        raise _damaged(path, what, following, reason) from None


def cached(path: Path, parse: Callable[[Any], T], *, schema: int | None = None) -> T | None:
    """Return what ``parse`` makes of a cache's file; None if it is missing or cannot be used."""
    try:
        return read(path, parse, what="the cache", then="the same command again", schema=schema)
    except LabError:
        return None


def mapping(value: Any) -> dict[str, Any]:
    """Return ``value`` if it is a JSON object. Raises ``TypeError``."""
    if not isinstance(value, dict):
        raise TypeError(f"an object is expected, not {type(value).__name__}")
    return value


def typed(kind: type[T], data: Any) -> T:
    """Return a dataclass of ``data``, whose keys and types are checked. Raises ``TypeError`` or ``ValueError``."""
    from pydantic import TypeAdapter, ValidationError  # only here: a command's help has no use for it

    kind(**mapping(data))  # names an unknown or missing key
    try:
        return TypeAdapter(kind).validate_python(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def text(value: Any) -> str:
    """Return ``value`` if it is text of printable characters. Raises ``TypeError`` or ``ValueError``."""
    if not isinstance(value, str):
        raise TypeError(f"text is expected, not {type(value).__name__}")
    if not value.isprintable():
        raise ValueError(f"{value!r} holds control characters")
    return value


def entries(value: Any) -> list[Any]:
    """Return ``value`` if it is a JSON list. Raises ``TypeError``."""
    if not isinstance(value, list):
        raise TypeError(f"a list is expected, not {type(value).__name__}")
    return value


def aside(path: Path) -> str:
    """Return the command that sets a file aside under a free name."""
    names = (path.with_name(f"{path.name}.damaged{number}") for number in ("", *(f"-{n}" for n in range(2, 1000))))
    free = next(name for name in names if not os.path.lexists(name))
    return f"mv {shlex.quote(str(path))} {shlex.quote(str(free))}"


def _irregular(path: Path) -> bool:
    return path.exists() and not path.is_file()


def _value(path: Path) -> Any:
    """Return the parsed file, whose size is checked before it is read."""
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with os.fdopen(handle, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("is not a regular file")
        if status.st_size > LARGEST:
            raise ValueError(f"is larger than {LARGEST} bytes")
        text = file.read(LARGEST + 1).decode("utf-8")
    if not text.strip("\0 \t\r\n"):
        raise ValueError("is empty")
    return json.loads(text)


def _reason(error: BaseException) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"is cut off or not JSON ({error.msg}, line {error.lineno})"
    if isinstance(error, UnicodeDecodeError):
        return "is not UTF-8"
    if isinstance(error, RecursionError):
        return "is nested too deeply"
    if isinstance(error, IsADirectoryError):
        return "is a folder"
    if isinstance(error, OSError):
        return f"cannot be read: {error.strerror}"
    if isinstance(error, KeyError):
        return f"{error.args[0]!r} is missing"
    return str(error)


def _schema(value: Any) -> Any:
    return value.get("schema") if isinstance(value, Mapping) else None


def _damaged(path: Path, what: str, following: str, reason: str) -> LabError:
    return LabError(f"{path}, {what} {reason}; nothing was changed", hint=following)


def _require_owner(path: Path, what: str, then: str) -> None:
    """Raise ``LabError`` unless a file belongs to this user, to root, or to the owner of its folder."""
    if WINDOWS:
        return
    if path.stat().st_uid not in (os.geteuid(), 0, path.parent.stat().st_uid):
        _not_ours(path, what, then, f"belongs to the user {path.stat().st_uid}")


def _not_ours(path: Path, what: str, then: str, reason: str) -> NoReturn:
    owner = "" if WINDOWS else f"sudo chown {os.geteuid()} {shlex.quote(str(path))} && "
    raise LabError(f"{path}, {what} cannot be used: {reason}; nothing was changed", hint=f"{owner}{then}") from None
