"""Headers of the running kernel, for what compiles against it (BCC, and so the Kepler of 2022)."""

from pyinfra.api import deploy

from deploys.labdata import (
    boot,
    family,
    headers,
    lab,
    own_kernel,
    renewal_reason,
    renews_kernel,
    wanted_arguments,
)
from deploys.operations import headers as operations


@deploy("Kernel headers")
def configure() -> None:
    """Install the matching headers, if [host] kernel_headers says so (it does unless it is "none").

    This comes before the reboot, because it may want one itself; where another one is due, it is
    the kernel of after that reboot whose headers count.
    """
    if not own_kernel() or lab().boot.kernel_headers == "none":
        return
    if renews_kernel():
        operations.matching(name="Of a newer kernel", family=family(), renew=renewal_reason(headers()["release"]))
    elif not boot()["required"] and not wanted_arguments()[0]:
        operations.matching(name="Of the running kernel", family=family())
