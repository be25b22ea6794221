"""Swap off: kubelet does not start with it, and a node that swaps cannot be measured."""

from deploys.labdata import own_kernel, step
from deploys.operations import swap


@step("Swap")
def configure() -> None:
    """Switch swap off, and keep it off over a boot; a container's swap is its host's affair."""
    if own_kernel():
        swap.off(name="Off")
