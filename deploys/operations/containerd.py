"""Images for Kubernetes."""

import shlex

from pyinfra import host
from pyinfra.api import operation

from deploys.facts.containerd import Images
from deploys.operations import Commands

_CTR = "ctr --namespace k8s.io images"
# kubelet removes unused images when the disk fills; these cannot be had again without the mirror
_PINNED = "io.cri-containerd.pinned=pinned"


@operation()
def images(
    images: list[dict[str, str]],
    hosts_dir: str = "/etc/containerd/certs.d",
    mirrored: list[str] | None = None,
    mirror_dir: str = "",
) -> Commands:
    """Have each image under its tag and, where its digest is known, under its digest too.

    The digest is what is pulled, so a tag can only ever name what the index says. kubelet finds
    ``NAME@DIGEST`` by that very reference.

    + images: ``name``, ``tag`` and ``digest`` (may be empty) of each
    + hosts_dir: containerd's folder of registry hosts
    + mirrored: registries whose hosts are in ``mirror_dir`` instead
    """
    digests = host.get_fact(Images)
    missing = [image for image in images if not _held(digests, image)]
    if not missing:
        host.noop(f"all {len(images)} images are there")
    for image in missing:
        tagged = f"{image['name']}:{image['tag']}"
        pulled = f"{image['name']}@{image['digest']}" if image["digest"] else tagged
        folder = mirror_dir if image["name"].partition("/")[0] in (mirrored or ()) else hosts_dir
        yield f"{_CTR} pull --hosts-dir {shlex.quote(folder)} --label {_PINNED} {shlex.quote(pulled)} >/dev/null"
        if pulled != tagged:
            yield f"{_CTR} tag --force {shlex.quote(pulled)} {shlex.quote(tagged)} >/dev/null"


def _held(digests: dict[str, str], image: dict[str, str]) -> bool:
    tagged = f"{image['name']}:{image['tag']}"
    if not image["digest"]:
        return tagged in digests
    return digests.get(tagged) == image["digest"] == digests.get(f"{image['name']}@{image['digest']}")
