"""The experiment engine: plan, gates, runs, journal, qualification; what the commands call is here.

The engine runs a plan on a plant (``hardwatt.engine.plant.Plant``): the real lab, or a simulated one.
It does not import ``deploys``.
"""

from hardwatt.engine.api import abandon, export, forget, listed, plan, restore, run, show
from hardwatt.engine.arm import BaseArm, Bench, Commit
from hardwatt.engine.plan import Plan, Row, make_plan
from hardwatt.engine.preregistration import printed
from hardwatt.engine.qualification import load as qualified
from hardwatt.engine.qualify import qualify
from hardwatt.engine.status import status, switched_off
from hardwatt.engine.studymodel import Study

__all__ = [
    "BaseArm",
    "Bench",
    "Commit",
    "Plan",
    "Row",
    "Study",
    "abandon",
    "export",
    "forget",
    "listed",
    "make_plan",
    "plan",
    "printed",
    "qualified",
    "qualify",
    "restore",
    "run",
    "show",
    "status",
    "switched_off",
]
