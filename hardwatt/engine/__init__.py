"""The experiment engine: plan, gates, runs, journal; what ``tasks.py`` calls is here.

The engine runs a plan on a plant (``hardwatt.engine.plant.Plant``): the real lab, or a simulated one
in tests. It does not import ``deploys``.
"""

from hardwatt.engine.api import abandon, forget, list_studies, plan, restore, run, status
from hardwatt.engine.arm import BaseArm, Bench, Commit
from hardwatt.engine.plan import Plan, Row, make_plan
from hardwatt.engine.studymodel import Study

__all__ = [
    "BaseArm",
    "Bench",
    "Commit",
    "Plan",
    "Row",
    "Study",
    "abandon",
    "forget",
    "list_studies",
    "make_plan",
    "plan",
    "restore",
    "run",
    "status",
]
