"""A run held against its readings right after its dump, by the rules of the analysis.

One that it would leave out fails. Its pair is then repeated while the experiment runs, and not missed in the report.
"""

from hardwatt.analysis import plan_fit
from hardwatt.bundle.model import Run
from hardwatt.bundle.writer import Writer
from hardwatt.core.errors import LabError
from hardwatt.instruments.outcomes import measure


def why_not(writer: Writer, run: Run) -> str:
    """Return why the analysis would leave a stored run out; empty if it counts."""
    try:
        bundle = writer.so_far(run)
        reasons = plan_fit.misfits(bundle)
        if run.run_id in reasons:
            return reasons[run.run_id]
        measured, outcome = measure(bundle), bundle.plan.primary.outcome
    except LabError as error:
        return error.message
    if any(row.name == outcome for row in measured.outcomes):
        return ""
    refused = [row.reason for row in measured.refusals if row.name == outcome]
    return refused[0] if refused else f"no {outcome} was measured"
