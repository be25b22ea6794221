"""Push: each commit starts a Job in the cluster that clones the repository and applies it.

No CI server runs: the controller of the experiment creates the Job, as a CI system would on a
webhook. That is push at its cheapest.
"""

from hardwatt.delivery.arms import PushArm


class Arm(PushArm):
    """Flux is off; a Job per commit pushes."""
