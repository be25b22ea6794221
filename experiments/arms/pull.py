"""Pull: Flux looks for new commits in the workload repository and applies what it finds."""

from hardwatt.delivery.arms import PullArm


class Arm(PullArm):
    """Two controllers run; a GitRepository looks every flux.interval_seconds, Kustomizations apply what is new."""
