"""Read the files of the recorder, which ``hardwatt/meter`` writes on the node, and cut windows out of them.

Each line is the CRC-32 of its text (eight hexadecimal digits), a space, a JSON object and a newline. ``k`` is its kind:

======= ==============================================================================================================
file    the first line of a file: ``format``, ``version``, ``number`` of the file, ``boot`` (boot id), ``cpus``,
        ``clock_ticks``, ``tick_seconds``, ``bound_bytes`` and, in words, what happens ``at_bound``
start   a process of the recorder: ``t`` and ``m`` of its start, ``version``, ``config_sha256``. In a later file of the
        same process it is repeated. Numbers of counters and of records are a process's own
counter a counter: ``id``, ``of`` (its kind), ``name``, ``unit``, ``source``; where they apply ``namespace``, ``pod``,
        ``path``, ``zone``, ``counted``, ``wraps_at``, ``granularity``, ``error``, ``misses``, ``from_zero``, and
        ``life``, by which a counter is known as the same one after a restart of the recorder
name    the name of a pod's cgroup that became known later: ``id``, ``namespace``, ``pod``
ended   a counter that is gone: ``id``, ``m``
unseen  a pod whose folder of logs appeared without a cgroup: ``uid``, ``namespace``, ``pod``
r       a record: ``n``, ``t`` (realtime, ns), ``m`` (monotonic, ns), ``d`` (duration, us), ``v`` (a list of readings
        ``[id, us after m, us it took, raw value]``), ``full`` (1: every counter is in it; else only those that
        moved), ``miss`` (ns that the node's counter may not have counted yet)
stop    an orderly end of a process: ``t``, ``m``
======= ==============================================================================================================

A record follows the record before it in number; after a failed write the next one is full. A last line without its
newline was torn by a crash, or by reading while the recorder wrote: it is dropped. Anything else is damage and refused.
"""

import json
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hardwatt.bundle.recording import Recording
from hardwatt.bundle.recording_lines import Assembly
from hardwatt.core.errors import VerifyError
from hardwatt.core.untrusted import Limits, show
from hardwatt.core.untrusted_packed import Packed

HINT = "fetch the recorder's file again from the node"
LIMITS = Limits(total=1 << 30)
_LONGEST = 1 << 20
_SHOWN = 200
_LINE = re.compile(rb"[0-9a-f]{8} \{.*\}")

Line = dict[str, Any]


def read(*paths: Path) -> Recording:
    """Return the recording that one or more files hold, the earlier first; plain or gzip.

    Raise VerifyError that names file and line of any damage.
    """
    return parse([(path.name, _lines(path)) for path in paths])


def parse(files: Sequence[tuple[str, Iterable[bytes]]]) -> Recording:
    """Return the recording of files that are given as (name, lines with their newline)."""
    assembly, torn = Assembly(), False
    for position, (name, lines) in enumerate(files):
        number = 0
        for number, raw in enumerate(lines, start=1):
            if not raw.endswith(b"\n"):
                if position < len(files) - 1:
                    raise _damage(name, number, "it is cut off, and another file follows")
                torn = True
                break
            try:
                assembly.add(_decoded(raw[:-1]), first=number == 1)
            except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
                raise _damage(name, number, _reason(error)) from None
        if number == 0:
            raise VerifyError(f"the recording {show(name)} is empty", hint=HINT)
    return assembly.recording(torn=torn)


def cut(paths: Sequence[Path], t0_ms: float, t1_ms: float) -> bytes:
    """Return the part of a recording around a window, as one file that ``read`` accepts.

    Records from the last full one before ``t0_ms`` (realtime, milliseconds since 1970) to the first one after
    ``t1_ms``, and every line that is not a record. Lines are not changed. Raise VerifyError where a file is damaged.
    """
    lines = [raw for path in paths for raw in _lines(path) if raw.endswith(b"\n")]
    parse([("the recording", lines)])
    kinds = [_decoded(raw[:-1]) for raw in lines]
    records = [place for place, line in enumerate(kinds) if line["k"] == "r"]
    begins = [place for place in records if kinds[place].get("full") and kinds[place]["t"] <= t0_ms * 1e6]
    after = [place for place in records if kinds[place]["t"] > t1_ms * 1e6]
    begin = begins[-1] if begins else 0
    stop = next((place for place in after if place > begin), len(lines))
    kept = (raw for place, raw in enumerate(lines) if kinds[place]["k"] != "r" or begin <= place <= stop)
    return b"".join(kept)


def _lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of a file, the last one perhaps without its newline."""
    with Packed(path, LIMITS) as file:
        rest = b""
        for piece in file.pieces():
            *whole, rest = (rest + piece).split(b"\n")
            yield from (line + b"\n" for line in whole)
            if len(rest) > _LONGEST:
                raise VerifyError(f"the recording {show(path.name)} has a line of over {_LONGEST} bytes", hint=HINT)
        if rest:
            yield rest


def _decoded(raw: bytes) -> Line:
    if not _LINE.fullmatch(raw):
        raise ValueError("it is not a checksum and an object")
    text = raw[9:]
    if int(raw[:8], 16) != zlib.crc32(text):
        raise ValueError("its checksum is wrong")
    line: Line = json.loads(text, object_pairs_hook=_once)
    return line


def _once(pairs: list[tuple[str, Any]]) -> Mapping[str, Any]:
    line = dict(pairs)
    if len(line) != len(pairs):
        raise ValueError("a key is there twice")
    return line


def _damage(name: str, number: int, reason: str) -> VerifyError:
    return VerifyError(f"the recording {show(name)} is damaged at line {number}: {reason}", hint=HINT)


def _reason(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"{error} is missing"
    text = str(error)
    return text if text.isprintable() and len(text) <= _SHOWN else show(text)
