"""Every other image that the lab will ever start, so that afterwards no registry is needed."""

from pyinfra.api import deploy

from deploys.labdata import lab
from deploys.operations import containerd


@deploy("Images of everything else")
def configure() -> None:
    """Pull what is not there yet, each by its digest, while the control plane's pods start."""
    containerd.images(name="Pulled", images=lab()["images"]["workload"])
