"""Every other image that the lab will ever start, so that afterwards no registry is needed."""

from deploys.labdata import lab, step
from deploys.mirror import REGISTRIES
from deploys.operations import containerd


@step("Images of everything else")
def configure() -> None:
    """Pull what is not there yet, each by its digest."""
    containerd.images(
        name="Pulled",
        images=[image.to_dict() for image in lab().images.workload],
        mirrored=sorted(lab().registries),
        mirror_dir=REGISTRIES,
    )
