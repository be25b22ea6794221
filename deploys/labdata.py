"""What the controller says about the lab: the host data ``lab``, as ``hardwatt.provision`` writes it."""

from typing import Any, cast

from pyinfra import host
from pyinfra.api import DeployError


def lab() -> dict[str, Any]:
    """Return the lab's data of the current host.

    Raises ``DeployError`` where the inventory has none.
    """
    data = host.data.get("lab")
    if not data:
        raise DeployError("the inventory gives no lab data; use inventory/lab.py after `invoke lab.up`")
    return cast(dict[str, Any], data)
