"""What delivers a commit, as objects of Kubernetes: Flux, a runner's Job, a CI server. The arms are made of these."""

from hardwatt.delivery.buildbot import Buildbot
from hardwatt.delivery.burn import Burner
from hardwatt.delivery.flux import Flux, deployment_patch, flux_off
from hardwatt.delivery.runner import Runner

__all__ = ["Buildbot", "Burner", "Flux", "Runner", "deployment_patch", "flux_off"]
