"""Changes since an experiment was interrupted: refused or recorded before ``operations`` resumes it."""

import datetime
import hashlib
from collections.abc import Mapping
from pathlib import Path

from hardwatt.bundle.model import Check
from hardwatt.bundle.writer import Writer
from hardwatt.core import state_files
from hardwatt.core.errors import LabError, RefusedError
from hardwatt.core.files import sha256, write_json
from hardwatt.experiment.plan.protocol_file import is_protocol
from hardwatt.experiment.plan.run_table import FULL, RunTable, stored_plan
from hardwatt.experiment.plan.study_file import load_study
from hardwatt.experiment.run.journal import ExperimentState

RESUME = "invoke experiment.resume goes on with it; invoke experiment.abandon gives it up"
DESPITE = (
    "invoke experiment.resume --despite-changes goes on all the same and writes this into the bundle; "
    "invoke experiment.abandon gives the experiment up"
)
ABANDON = "invoke experiment.abandon"
"""Next command where a file of the unfinished bundle is damaged: the bundle stays as it is."""
LOG = "resumed.json"
TOOLKIT = "toolkit (experiment, delivery, cluster, dump, meter)"
_DECIDING = ("experiment", "delivery", "cluster", "dump", "meter")
_PACKAGE = Path(__file__).parents[2]


def toolkit_version(package: Path = _PACKAGE) -> str:
    """Return a hash over the files of the toolkit that decide what a run does and what is stored of it."""
    files = [file for folder in _DECIDING for file in sorted((package / folder).rglob("*.py"))]
    return hashlib.sha256("".join(sha256(file) for file in files).encode()).hexdigest()[:12]


def plan_of(bundle: Path) -> RunTable | None:
    """Return the plan of an unfinished bundle, or None where the process was killed before it was stored."""
    what = "the plan of an unfinished experiment,"
    return state_files.read(bundle / "plan.json", stored_plan, what=what, then=ABANDON, keep=True)


def refuse_another(
    state: ExperimentState, study: str, pairs: int | None, seed: int | None, size: str, session: int | None = None
) -> None:
    """Raise ``RefusedError`` where somebody asks for another experiment than the unfinished one."""
    kind = "protocol" if is_protocol(study) else "study"
    asked = {kind: study or None, "pairs": pairs, "seed": seed, "size": size or None, "session": session}
    other = [
        f"{name} {value}, not {getattr(state, name)}"
        for name, value in asked.items()
        if value is not None and value != getattr(state, name)
    ]
    if other:
        raise RefusedError(
            f"an experiment is unfinished ({state.study}, {state.size}, seed {state.seed}, {state.pairs} pairs) and "
            f"has another plan: {', '.join(other)}",
            hint=RESUME,
        )


def changes(root: Path, plan: RunTable, state: ExperimentState, versions: Mapping[str, str]) -> list[str]:
    """Return what is not as it was when the experiment began, one sentence each."""
    changed = [
        f"{name}: {state.versions.get(name, 'none')} -> {versions.get(name, 'none')}"
        for name in sorted(set(versions) | set(state.versions))
        if versions.get(name) != state.versions.get(name)
    ]
    for path, before in sorted(plan.code.items()):
        file = root / path
        if not file.exists() or sha256(file) != before:
            changed.append(f"{path} has changed" if file.exists() else f"{path} is gone")
    return changed if state.protocol else changed + _study_changes(root, plan)


def _study_changes(root: Path, plan: RunTable) -> list[str]:
    """Say whether the study file has changed; the bundle's plan is what is gone on with in any case."""
    try:
        now = load_study(root, plan.study.name)
        now = now.in_full() if plan.size == FULL else now
    except LabError as error:
        return [f"the study file cannot be read any more ({error.message}); the bundle's plan is used"]
    return [] if now == plan.study else ["the study file has changed; the bundle's plan is used"]


def accept(writer: Writer, changed: list[str], *, despite: bool) -> None:
    """Note in the bundle that it is gone on with, and what had changed.

    Raises ``RefusedError`` where something has changed and nobody said that it does not matter.
    """
    if changed and not despite:
        raise RefusedError("something has changed since the experiment began: " + "; ".join(changed), hint=DESPITE)
    path = writer.path / "log" / LOG
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    done = [run.run_id for run in writer.runs]
    known = state_files.read(path, state_files.entries, what="the list of resumptions,", then=ABANDON, keep=True)
    write_json(path, [*(known or []), {"at": now, "after_runs": done, "changes": changed}])
    if changed:
        said = f"after {len(done)} runs: {'; '.join(changed)}"
        writer.add_checks([Check("nothing has changed between the first run and the last", "warning", said)])
