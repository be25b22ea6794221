"""The images of the control plane, so that ``kubeadm init`` finds them on the node."""

from deploys.labdata import lab, step
from deploys.mirror import REGISTRIES
from deploys.operations import containerd


@step("Images of the control plane")
def configure() -> None:
    """Pull what is not there yet, each by its digest."""
    containerd.images(
        name="Pulled",
        images=[image.to_dict() for image in lab().images.node],
        mirrored=sorted(lab().registries),
        mirror_dir=REGISTRIES,
    )
