"""Arguments of the kernel, by the boot loader's own tools, and the reboot that they need."""

import shlex

from pyinfra import host
from pyinfra.api import operation

from deploys.facts.boot import DROP_IN, REQUIRED, Boot
from deploys.operations import Commands
from deploys.operations.record import note


def drop_in(arguments: list[str]) -> str:
    """Return the text of our file for update-grub."""
    return (
        "# Written by hardwatt; `invoke lab.down` takes it away.\n"
        f'GRUB_CMDLINE_LINUX_DEFAULT="$GRUB_CMDLINE_LINUX_DEFAULT {" ".join(arguments)}"\n'
    )


def require_reboot(reason: str) -> str:
    """Return the command that says why a reboot is wanted; what comes after it waits for the next run."""
    folder = REQUIRED.rpartition("/")[0]
    return f"mkdir -p {folder} && printf '%s\\n' {shlex.quote(reason)} >>{REQUIRED}"


@operation()
def arguments(arguments: list[str], reason: str) -> Commands:
    """Have the kernel started with these arguments from the next boot on, and ask for that boot.

    + arguments: as on the kernel's command line; of two with one name the last counts
    + reason: why, for the person whose machine is rebooted
    """
    state = host.get_fact(Boot)
    waiting = [argument for argument in arguments if argument not in state["running"]]
    text = drop_in(arguments)
    if state["loader"] == "grub":
        settled = state["file"] == text and all(argument in state["next"] for argument in arguments)
        change = [
            f"mkdir -p {DROP_IN.rpartition('/')[0]}",
            f"printf '%s' {shlex.quote(text)} >{DROP_IN}",
            "update-grub",
        ]
    else:
        settled = all(argument in state["next"] for argument in arguments)
        change = [f"grubby --update-kernel=ALL --args={shlex.quote(' '.join(arguments))}"]
    if settled and (not waiting or reason in state["required"]):
        host.noop("the boot arguments are set" + (", and a reboot is asked for" if waiting else ""))
        return
    if not settled:
        if state["loader"] == "grubby":
            yield note("bootarg", *(_before(argument, state["next"]) for argument in arguments))
        else:
            yield note("bootfile", DROP_IN)
        yield from change
    if reason not in state["required"]:
        yield require_reboot(reason)


@operation()
def waits(reasons: list[str]) -> Commands:
    """End this run's list: what comes next needs the machine as it will be after a reboot.

    + reasons: why
    """
    host.noop("what comes next waits for a reboot: " + "; ".join(reasons))
    yield from ()


def _before(argument: str, entry: list[str]) -> str:
    """Return ``NAME=VALUE`` of an argument as it was, or ``NAME`` where it was not set."""
    name = argument.partition("=")[0]
    return next((present for present in reversed(entry) if present.partition("=")[0] == name), name)
