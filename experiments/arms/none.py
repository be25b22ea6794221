"""Nothing installed: the baseline. The application runs, and nothing in the cluster delivers to it."""

from hardwatt.delivery.arms import IdleArm


class Arm(IdleArm):
    """Flux is off; the commit before the window comes by a Job, and those of the window are not delivered."""
