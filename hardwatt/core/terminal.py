"""Text for a terminal: control characters of foreign text are shown as escapes, and every character can be printed."""

import contextlib
import re
import sys
from collections.abc import Iterator
from typing import Any, TextIO, cast

_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 without tab and line feed, DEL, C1
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # marks that turn the direction of text
    "\u2028\u2029\ufeff"
    "\ud800-\udfff]"
)


def printable(text: str) -> str:
    """Return ``text`` with control characters as escapes (``\\x1b``); tabs and line feeds stay.

    A carriage return before a line feed is dropped: it is the line end of Windows.
    """
    return _CONTROL.sub(_escaped, text.replace("\r\n", "\n"))


def _escaped(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape", "surrogatepass").decode("ascii")


def complain(text: str) -> None:
    """Print a line of an error on stderr."""
    print(printable(text), file=sys.stderr)


class _Printable:
    """A stream that escapes control characters, and characters that its encoding does not have."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        shown = printable(text)
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        self._stream.write(shown.encode(encoding, "backslashreplace").decode(encoding))
        return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextlib.contextmanager
def printable_output() -> Iterator[None]:
    """Escape control characters in everything that is printed on stdout."""
    with contextlib.redirect_stdout(cast(TextIO, _Printable(sys.stdout))):
        yield
