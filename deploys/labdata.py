"""What steps may decide by: the lab's data, and what no step changes about the machine."""

import weakref
from typing import Any, cast

from pyinfra import host
from pyinfra.api import DeployError, Host
from pyinfra.context import ctx_host

from deploys.facts.cgroup import Cgroup
from deploys.facts.system import System

_asked: weakref.WeakKeyDictionary[Host, dict[str, Any]] = weakref.WeakKeyDictionary()


def lab() -> dict[str, Any]:
    """Return the lab's data of the current host, as ``hardwatt.nodedata`` writes it.

    Raises ``DeployError`` where the inventory has none.
    """
    data = host.data.get("lab")
    if not data:
        raise DeployError("the inventory gives no lab data; use inventory/lab.py after `invoke lab.up`")
    return cast(dict[str, Any], data)


def cgroup() -> dict[str, Any]:
    """Return the fact ``Cgroup``, asked once in a run."""
    return cast(dict[str, Any], _once(Cgroup))


def system() -> dict[str, Any]:
    """Return the fact ``System``, asked once in a run; its clock and its free space are of that moment."""
    return cast(dict[str, Any], _once(System))


def _once(fact: type[Cgroup] | type[System]) -> Any:
    answers = _asked.setdefault(ctx_host.get(), {})  # type: ignore[no-untyped-call] # pyinfra has no types there
    if fact.__name__ not in answers:
        answers[fact.__name__] = host.get_fact(fact)
    return answers[fact.__name__]
