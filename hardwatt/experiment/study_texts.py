"""Studies and plans in words: the list, one study, and a plan's text for others."""

from pathlib import Path

from hardwatt.config.lab import Lab
from hardwatt.core.errors import LabError
from hardwatt.core.files import write_atomic
from hardwatt.experiment.plan import protocol_file
from hardwatt.experiment.plan import study_file as studies
from hardwatt.experiment.plan.preregistration import described, duration, markdown
from hardwatt.experiment.plan.qualification import Qualification
from hardwatt.experiment.plan.run_table import RunTable, make_plan
from hardwatt.experiment.plan.study_file import load_study


def listed(lab: Lab) -> dict[str, str]:
    """Return name -> one line for every study; one with a mistake says which, and hides no other."""
    lines = {}
    for name in studies.list_studies(lab.root):
        try:
            study = load_study(lab.root, name)
        except LabError as error:
            lines[name] = f"cannot be read: {error.message}"
            continue
        quick = duration(make_plan(study, seed=0).estimated_seconds())
        needs = f"; needs {', '.join(study.needs)}" if study.needs else ""
        lines[name] = f"{study.title} ({', '.join(study.arms)}; quick {quick}{needs})"
    return lines


def show(lab: Lab, study: str) -> list[str]:
    """Return a study in words, one line each."""
    return described(load_study(lab.root, study))


def export(wanted: RunTable, qualification: Qualification | None, path: Path) -> Path:
    """Write a plan as preregistration text, or as a protocol for others (FILE.json); return the file."""
    protocol = protocol_file.is_protocol(path.name)
    write_atomic(path, protocol_file.written(wanted) if protocol else markdown(wanted, qualification))
    return path
