"""Images that containerd holds for Kubernetes."""

from collections.abc import Iterable

from pyinfra.api import FactBase


class Images(FactBase[dict[str, str]]):
    """Return the references of the images in containerd's namespace k8s.io, with their digests."""

    default = dict

    def requires_command(self) -> str:
        return "ctr"

    def command(self) -> str:
        # without containerd there are no images; that is an answer, not an error
        return ": facts.images\nif test -S /run/containerd/containerd.sock; then ctr --namespace k8s.io images list; fi"

    def process(self, output: Iterable[str]) -> dict[str, str]:
        digests = {}
        for line in output:
            fields = line.split()
            if len(fields) > 2 and fields[2].startswith("sha256:"):
                digests[fields[0]] = fields[2]
        return digests
