"""Tasks that need the lab's host: they fail first, and in one way, where it does not answer."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hardwatt.config.lab import Lab

OfLab = Callable[..., int | None]


def on_host(*, root: bool = False, unless_git_elsewhere: bool = False) -> Callable[[OfLab], OfLab]:
    """Make a task look for the host over SSH first; other machines are not looked at.

    Args:
        root: The task needs root on the host.
        unless_git_elsewhere: The task needs the lab's repository alone, which lab.toml may place on another server.
    """

    def wrap(function: OfLab) -> OfLab:
        @functools.wraps(function)
        def run(lab: Lab, *args: Any, **kwargs: Any) -> int | None:
            gitops = lab.settings.gitops
            if not (unless_git_elsewhere and (gitops.kind == "github" or gitops.url)):
                from hardwatt.machines import reach_host

                reach_host.require(lab, root=root)
            return function(lab, *args, **kwargs)

        return run

    return wrap
