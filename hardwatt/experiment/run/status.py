"""Status of an experiment for another terminal: read from the journal and the bundle, never queried."""

import time
from pathlib import Path

from hardwatt.bundle.model import Run
from hardwatt.bundle.writer import Writer
from hardwatt.config.lab import Lab
from hardwatt.experiment.plan.preregistration import duration
from hardwatt.experiment.run import resume as resuming
from hardwatt.experiment.run.journal import JOURNAL, RUNNING, ExperimentState, Journal
from hardwatt.experiment.run.loop import runs_left


def status(lab: Lab) -> str:
    """Return what the journal says: what runs, what it waits for, what is done and left, what is switched off."""
    journal = Journal.load(lab.dir / JOURNAL)
    if journal is None:
        return "none"
    return "\n".join(status_lines(lab, journal.state, time.time()))


def switched_off(lab: Lab) -> dict[tuple[str, str, str], str]:
    """Return what the journal says that an experiment scaled or suspended: kind, namespace and name, to a sentence."""
    journal = Journal.load(lab.dir / JOURNAL)
    undone = journal.state.undo if journal is not None else ()
    return {(undo.kind, undo.namespace, undo.name): str(undo) for undo in undone if undo.action in ("scale", "resume")}


def status_lines(lab: Lab, state: ExperimentState, now: float) -> list[str]:
    """Return the lines of ``status`` at a moment (seconds since 1970)."""
    runs, holder = _runs(Path(state.bundle)), lab.holder()
    done, failed = (sum(run.status == wanted for run in runs) for wanted in ("done", "failed"))
    lines = [
        f"{state.study} ({state.size}): {state.state}, {done} runs done, {failed} failed, {state.pairs} pairs planned; "
        f"{state.bundle}"
    ]
    if state.state == RUNNING and not holder:
        lines.append(f"  nothing runs now; {resuming.RESUME}")
    elif state.state == RUNNING:
        seconds = max(0.0, now - state.since)
        lines.append(f"  now: {state.current or 'between runs'}: {state.doing}, for {seconds:.0f} s ({holder})")
        lines += _left(state, runs, seconds)
    lines += [f"  failed: {run.run_id}: {run.reason}" for run in runs if run.status == "failed"]
    return lines + [f"  to be put back: {undo}" for undo in state.undo]


def _left(state: ExperimentState, runs: list[Run], seconds: float) -> list[str]:
    wanted = resuming.plan_of(Path(state.bundle))
    if wanted is None:
        return []
    left = max(0.0, state.left_seconds - seconds)
    return [f"  left: {runs_left(wanted, runs, state.current)} runs, about {duration(left)}"]


def _runs(bundle: Path) -> list[Run]:
    return Writer(bundle).runs if bundle.exists() else []
