"""Background processes: started until they answer, recorded in a file, found again and stopped.

A forward, the tunnel to the API and the mirror's servers outlive the step that started them. Their record is what a
later command knows of them: process number and start time, so that another process with the number is left alone.
"""

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hardwatt.core import process as core_process
from hardwatt.core import state_files
from hardwatt.core.files import write_json
from hardwatt.core.process import Process
from hardwatt.core.wait import wait


def start(
    argv: Sequence[str | os.PathLike[str]],
    ready: Callable[[], bool],
    *,
    what: str,
    log: Path,
    timeout: float,
    delay: float = 0.1,
    env: Mapping[str, str] | None = None,
    tied: bool = False,
    started: Callable[[Process], None] | None = None,
    hint: str = "",
) -> Process:
    """Start a program in the background and return when it is ``ready``; stop it where that fails.

    ``started`` gets the process before the wait, which is when to record it. With ``tied``, the process ends with
    this one.

    Raises ``LabError`` with the last line of ``log`` if the program ends, and if it is not ready in time.
    """
    process = core_process.spawn(argv, log=log, env=env, tied=tied)
    program = Path(argv[0]).name
    try:
        if started:
            started(process)
        wait(
            lambda: (ready(), process.alive()),
            lambda state: state[0],
            error=lambda state: None if state[1] else f"{program} ended: {_last_line(log)} (the whole log: {log})",
            what=what,
            timeout=timeout,
            delay=delay,
            describe=lambda state: "answers" if state[0] else "no answer yet",
            hint=hint,
        )
    except BaseException:
        process.stop()
        raise
    return process


def _last_line(log: Path) -> str:
    return log.read_text(errors="replace").strip().rpartition("\n")[2]


@dataclasses.dataclass(frozen=True)
class Record:
    """The file in which background processes are found again, with whatever else belongs to them."""

    path: Path
    check: Callable[[dict[str, Any]], object] = dict
    """Raises an error (``KeyError``, ``TypeError``, ``ValueError``) for a record that its owner cannot use."""

    def read(self) -> dict[str, Any]:
        """Return what was written; empty: nothing was. Raises ``LabError`` if the file is damaged."""
        return self._read(self.check)

    def _read(self, check: Callable[[dict[str, Any]], object] = dict) -> dict[str, Any]:
        def checked(value: Any) -> dict[str, Any]:
            state = state_files.mapping(value)
            _processes(state)
            check(state)
            return state

        what = "the record of background processes,"
        return state_files.read(self.path, checked, what=what, then="invoke lab.status") or {}

    def processes(self) -> tuple[Process, ...]:
        """Return the recorded processes, also those that ended. Labs made at 800bb92 may name a single one."""
        return _processes(self._read())  # to stop them, nothing else is needed

    def alive(self) -> bool:
        """Return True if there are recorded processes and all of them run."""
        processes = self.processes()
        return bool(processes) and all(process.alive() for process in processes)

    def write(self, state: Mapping[str, Any], *processes: Process) -> None:
        """Record processes and what belongs to them, instead of what was recorded before."""
        write_json(self.path, {**state, "processes": [process.to_dict() for process in processes]})

    def restore(self, state: Mapping[str, Any]) -> None:
        """Record what ``read`` returned before; without anything, remove the record."""
        if state:
            write_json(self.path, dict(state))
        else:
            self.path.unlink(missing_ok=True)

    def stop(self) -> bool:
        """Stop the recorded processes; return True if one ran. The rest of the record stays."""
        running = [process for process in self.processes() if process.alive()]
        for process in running:
            process.stop()
        return bool(running)

    def forget(self) -> bool:
        """Stop the recorded processes and remove the record; return True if one ran."""
        stopped = self.stop()
        self.path.unlink(missing_ok=True)
        return stopped


def _processes(state: Mapping[str, Any]) -> tuple[Process, ...]:
    rows = state.get("processes") or ([state["process"]] if state.get("process") else [])
    return tuple(map(Process.from_dict, rows))
