"""The recorder's file of a run: fetched from the node after its window, and cut to what is around it."""

import dataclasses
import tempfile
from collections.abc import Callable
from pathlib import Path

from hardwatt.bundle import recording_file
from hardwatt.core.errors import CommandError, LabError, VerifyError
from hardwatt.core.wait import wait
from hardwatt.instruments.recorded_window import span
from hardwatt.instruments.windows import WindowError
from hardwatt.meter.node_config import RECORD
from hardwatt.meter.record_file import EARLIER

MARGIN_MS = 5_000
"""The record reaches so far beyond each end: a register that stops at the end itself is seen only afterwards."""
TIMEOUT = 60.0


@dataclasses.dataclass(frozen=True)
class NodeRecord:
    """Fetches the record of a node. ``read`` returns a file of it, and raises ``CommandError`` where there is none."""

    read: Callable[[str], bytes]
    path: str = RECORD

    def around(self, t0_ms: int, t1_ms: int) -> bytes:
        """Return the lines of the record around a window (node's clock), once it reaches far enough.

        Never called inside a window. Raises ``LabError`` where the record does not carry it.
        """
        return wait(
            lambda: self._cut(t0_ms, t1_ms),
            lambda part: part[1] >= t1_ms + MARGIN_MS,
            what="the node's recorder to reach beyond the window",
            timeout=TIMEOUT,
            describe=lambda part: f"{max(0.0, (t1_ms + MARGIN_MS - part[1]) / 1000):.1f} s to go",
            hint="invoke meter.status says whether the meter runs",
        )[0]

    def _cut(self, t0_ms: int, t1_ms: int) -> tuple[bytes, float]:
        """Return the part of the record around a window, and the moment (ms) up to which there is a record."""
        with tempfile.TemporaryDirectory() as folder:
            present, earlier = Path(folder) / "recording", Path(folder) / "recording.1"
            try:
                present.write_bytes(self.read(self.path))
            except CommandError as error:
                raise LabError(f"the node has no record at {self.path}", hint="invoke lab.up") from error
            paths = [present]
            first = recording_file.read(present)
            if int(first.t_ns[0]) / 1e6 > t0_ms - MARGIN_MS:
                paths = self._with_earlier(earlier, present)
            recording = recording_file.read(*paths)
            newest = float(recording.t_ns[-1]) / 1e6
            if newest >= t1_ms + MARGIN_MS:
                try:
                    span(recording, t0_ms, t1_ms)
                except WindowError as error:
                    raise LabError(f"the node's record does not carry the window: {error.reason}",
                                   hint="invoke meter.status") from error  # fmt: skip
            return recording_file.cut(paths, t0_ms - MARGIN_MS, t1_ms + MARGIN_MS), newest

    def _with_earlier(self, earlier: Path, present: Path) -> list[Path]:
        """Return both files, where the earlier one is there and goes with the present one."""
        try:
            earlier.write_bytes(self.read(self.path + EARLIER))
            recording_file.read(earlier, present)
        except (CommandError, VerifyError):  # none, one of another boot, or replaced between the two reads
            return [present]
        return [earlier, present]
