"""The controller's own processor time in a window. It told the counter at both ends, by its own clock."""

from hardwatt.bundle.model import Run
from hardwatt.bundle.reader import Bundle
from hardwatt.instruments.figure import Figure
from hardwatt.instruments.interface import Found
from hardwatt.instruments.readings import edges_of

CONTROLLER_CPU = "hardwatt_controller_cpu_seconds_total"
"""Series of a window's ends: CPU-seconds of the experiment's process and its descendants."""
TICK_SECONDS = 0.01
"""Resolution of the counter, once for each end."""
SHARES = "on the node's processors, not in the node's figure"
APART = "on a machine of its own"


def figures(bundle: Bundle, run: Run) -> Found:
    """Yield ``controller_cpu_seconds``; nothing where the ends do not hold the counter (former bundles)."""
    values = {edge.edge: edge.values.get(CONTROLLER_CPU) for edge in edges_of(bundle, run)}
    before, after = values.get("start"), values.get("end")
    if before is None or after is None:
        return
    if after < before:
        yield "controller_cpu_seconds", "the controller's counter fell: it was started anew in the window"
        return
    rise, error = after - before, 2 * TICK_SECONDS
    where = SHARES if bundle.manifest.host.get("kind") == "embedded" else APART
    source = f"the controller's own processes, by its /proc; {where}"
    yield "controller_cpu_seconds", Figure(rise, "CPU-seconds", source, max(0.0, rise - error), rise + error)
