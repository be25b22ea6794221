"""Boot arguments of the kernel: the unified cgroup hierarchy, which Kubernetes 1.35 and later want."""

from pyinfra.api import deploy

from deploys.labdata import own_kernel, wanted_arguments
from deploys.operations import boot as operations


@deploy("Boot arguments")
def configure() -> None:
    """Set what the preset wants and this boot has not; where that is nothing, do nothing."""
    if not own_kernel():
        return
    wanted, reason = wanted_arguments()
    if wanted:
        operations.arguments(name="For the next boot", arguments=wanted, reason=reason)
