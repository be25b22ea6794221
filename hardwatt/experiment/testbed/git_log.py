"""The git server's log: one line a request, ``TIME KEY REPOSITORY SERVICE VERDICT``."""

import datetime
import re

from hardwatt.experiment.testbed.interface import Fetch

PATH = "/var/log/hardwatt/git.log"
_LINE = re.compile(r"(\S+) (\S+) (\S+) (\S+) (\S+)")


def parse_fetches(text: str, since_ms: int, until_ms: int) -> list[Fetch]:
    """Return the allowed fetches between two moments of the node's clock; other lines are passed over."""
    fetches = []
    for line in text.splitlines():
        match = _LINE.fullmatch(line.strip())
        if match is None or match[4] != "upload-pack" or match[5] != "allowed":
            continue
        try:
            moment = datetime.datetime.fromisoformat(match[1])
        except ValueError:
            continue
        if since_ms <= moment.timestamp() * 1000 <= until_ms:
            fetches.append(Fetch(match[1], match[2], match[3]))
    return fetches
