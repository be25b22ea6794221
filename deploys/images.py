"""The images of the control plane, so that ``kubeadm init`` finds them on the node."""

from pyinfra.api import deploy

from deploys.labdata import lab
from deploys.operations import containerd


@deploy("Images of the control plane")
def configure() -> None:
    """Pull what is not there yet, each by its digest."""
    containerd.images(name="Pulled", images=lab()["images"]["node"])
