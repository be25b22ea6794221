"""The meter of a node as it runs now: its configuration, and whether it records."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hardwatt.bundle.exposition import labels_of
from hardwatt.core.errors import VerifyError
from hardwatt.meter import record_file
from hardwatt.meter.node_config import CONFIG, PAGE, RECORD

UNIT = "hardwatt-meter.service"
LATE_SECONDS = 15.0
"""A last record that is older says that the recorder does not record: it writes one each second."""
SCRIPT = f"""echo "active=$(systemctl is-active {UNIT})"
echo "written=$(sha256sum < {CONFIG} | cut -d ' ' -f 1)"
echo "info=$(grep '^hardwatt_meter_info' {PAGE})"
echo "now=$(date +%s)"
echo "bytes=$(cat {RECORD}{record_file.EARLIER} {RECORD} | wc -c)"
tail -c 100000 {RECORD} | grep '"k":"r"' | tail -n 2
true
"""


@dataclass(frozen=True)
class NodeMeter:
    """State of a node's meter. Texts are empty, numbers None, where the node does not report them."""

    active: str
    """State of the unit (``active``)."""
    written_sha256: str
    """SHA-256 of the configuration file."""
    running_sha256: str
    """SHA-256 of the configuration that the running meter has read."""
    recorded_bytes: int
    record_age: float | None
    """Seconds since the last record, by the node's clock."""

    @property
    def records(self) -> bool:
        """Return True if the recorder wrote a record a moment ago."""
        return self.active == "active" and self.record_age is not None and abs(self.record_age) <= LATE_SECONDS

    @property
    def sentence(self) -> str:
        """The recorder's state in words."""
        if self.active != "active":
            return f"{UNIT} is {self.active or 'unknown'}: nothing is recorded"
        if self.record_age is None:
            return f"{UNIT} runs but has recorded nothing"
        size = f"{self.recorded_bytes / 2**20:.1f} MiB in {RECORD}"
        if not self.records:
            return f"{UNIT} runs, but its last record is {self.record_age:.0f} s old ({size})"
        return f"{UNIT} runs and records ({size})"

    def difference(self, wanted_sha256: str) -> str:
        """Return why the meter does not measure as the lab says; the empty text where it does."""
        if self.active != "active":
            return f"the meter does not run on the node ({UNIT} is {self.active or 'unknown'})"
        if self.written_sha256 != wanted_sha256:
            return f"the meter's configuration on the node ({CONFIG}) is not the lab's"
        if self.running_sha256 != wanted_sha256:
            return f"the running meter has read another configuration than the lab's, which {CONFIG} holds now"
        return ""


def read(run: Callable[..., Any]) -> NodeMeter:
    """Ask a node; ``run(command, check=...)`` is that of an SSH connection. Raises ``VerifyError``."""
    return parse(run(SCRIPT, check=False).stdout)


def parse(text: str) -> NodeMeter:
    """Return what the script printed. Raises ``VerifyError`` where it is something else."""
    values: dict[str, str] = {}
    records: list[str] = []
    for line in text.splitlines():
        key, equals, value = line.partition("=")
        if equals and key.isalpha():
            values[key] = value.strip()
        else:
            records.append(line)
    try:
        labels = labels_of(values["info"].rpartition(" ")[0])
        age = _age(records, float(values["now"]))
        return NodeMeter(
            values["active"], values["written"], labels.get("config_sha256", ""), int(values["bytes"] or 0), age
        )
    except (KeyError, ValueError) as error:
        raise VerifyError(f"the node's answer about its meter is something else: {error}",
                          hint="invoke lab.status") from None  # fmt: skip


def _age(records: list[str], now: float) -> float | None:
    """Return how old the last whole record is; the last line may be cut off by reading while it is written."""
    for line in reversed(records):
        try:
            moment = record_file.decode(line.encode())["t"] / 1e9
        except (ValueError, KeyError, TypeError, json.JSONDecodeError):
            continue
        return now - float(moment)
    return None
