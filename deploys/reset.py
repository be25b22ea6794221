"""A host given back: everything that ``deploys/node.py`` did to it, in reverse, from its record.

``pyinfra inventory/lab.py deploys.reset.configure --dry`` lists it; ``invoke lab.down`` runs it.
"""

from pyinfra import host
from pyinfra.api import DeployError, deploy

from deploys.facts.record import NewPackages, Record
from deploys.labdata import family, lab
from deploys.operations import record
from deploys.undo import groups

EXTRA = ("ca-certificates", "curl", "git", "gnupg", "gnupg2", "openssh-server", "policycoreutils-python-utils")
"""Packages that single steps install beside those of the lab's data."""


@deploy("Give back")
def configure() -> None:
    """Undo what the record holds; a host without a record is left alone.

    Raises ``DeployError`` where the record is another lab's.
    """
    data, host_record = lab(), host.get_fact(Record)
    if not host_record["lab"] and not host_record["entries"]:
        return
    if host_record["lab"] not in ("", data.name):
        raise DeployError(f"the host is the node of the lab {host_record['lab']}, not of {data.name}: nothing was done")
    noted = [item for kind, item in host_record["entries"] if kind == "package"]
    names = sorted({*data.distribution_packages, *EXTRA, *data.pins, *noted})
    new: list[str] = host.get_fact(NewPackages, names=names)
    todo = groups(
        host_record,
        family=family(),
        new_packages=new,
        keep_packages=bool(host.data.get("keep_packages")),
    )
    for group in host.loop(todo):  # type: ignore[no-untyped-call] # it gives each turn its own place
        record.undo(name=group.title, commands=list(group.commands))
