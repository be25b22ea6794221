"""Recordings say where they are from, and the tools of this machine print the same."""

import re

import pytest

from tests.data.record import RECORDINGS, MissingToolError, record
from tests.data.recordings import FOLDER, recorded

_CHANGING = re.compile(
    r"SHA256:\S+|(?:[0-9a-f]{2}:){5}[0-9a-f]{2}|after \d+ ms|\"(?:ifindex|link_index)\": \d+|\"op_hash\": \"\w+\""
)
"""What differs each time: keys, hardware addresses, times and numbers."""


def test_every_file_is_recorded_by_the_script_and_says_so() -> None:
    assert {path.stem for path in FOLDER.glob("*.txt")} == set(RECORDINGS)
    for name, (_, what, _) in RECORDINGS.items():
        assert (FOLDER / f"{name}.txt").read_text().splitlines()[0].endswith(f": {what}")
        assert recorded(name).strip()


@pytest.mark.long
@pytest.mark.parametrize("name", RECORDINGS)
def test_the_tool_prints_what_was_recorded(name: str) -> None:
    try:
        again = record(name)
    except MissingToolError as error:
        pytest.skip(str(error))
    kept = (FOLDER / f"{name}.txt").read_text()
    if again.partition("\n")[0] != kept.partition("\n")[0]:
        pytest.skip(f"another version than the recorded one: {again.partition(chr(10))[0]}")
    assert _CHANGING.sub("...", again) == _CHANGING.sub("...", kept)
