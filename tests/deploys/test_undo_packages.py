"""What the lab's packages brought along goes again, and nothing else: the real apt on a host of a few lines."""

import re
import subprocess
from pathlib import Path

from deploys import undo_packages
from deploys.facts.record import FOLDER
from deploys.operations import packages
from deploys.operations.record import NOTE

STATUS = """\
Package: libstdc++6

Package: policy
Recommends: ours, wanted
Suggests: suggested

Package: theirs

Package: unneeded

Package: later
Depends: needed
Recommends: recommended

Package: recommended
Depends: underneath

Package: ours

Package: wanted

Package: suggested

Package: needed

Package: underneath

Package: chosen
"""
"""A host: up to ``unneeded`` of before the lab, the next two an administrator's later ones, the rest the lab's."""
BY_HAND = {"policy", "theirs", "later", "chosen"}
BROUGHT = ["ours", "wanted", "suggested", "needed", "underneath", "chosen"]
TOOLS = {
    "apt-get": "exec /usr/bin/apt-get -o Dir::State::status={at}/status -o Dir::State={at} -o Dir::Cache={at} "
    '-o APT::NeverAutoRemove::=apt -o APT::Architecture=amd64 --simulate "$@"',
    "dpkg-query": 'exec /usr/bin/dpkg-query --admindir={at} "$@"',
}


def host(at: Path) -> dict[str, str]:
    """Make the host; return the environment in which apt and dpkg see it."""
    (at / "status").write_text(
        STATUS.replace("\n\n", "\nVersion: 1\nArchitecture: amd64\nStatus: install ok installed\n\n")
        + "Version: 1\nArchitecture: amd64\nStatus: install ok installed\n"
    )
    names = re.findall(r"^Package: (.*)", STATUS, flags=re.MULTILINE)
    automatic = [f"Package: {name}\nArchitecture: amd64\nAuto-Installed: 1\n" for name in names if name not in BY_HAND]
    (at / "extended_states").write_text("\n".join(automatic))
    (at / "tools").mkdir()
    for name, text in TOOLS.items():
        (at / "tools" / name).write_text(f"#!/bin/sh\n{text.format(at=at)}\n")
        (at / "tools" / name).chmod(0o755)
    return {"PATH": f"{at / 'tools'}:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}


def test_what_came_along_goes_unless_it_is_needed_or_chosen_by_now(tmp_path: Path) -> None:
    environment = host(tmp_path)
    said = ""
    for command in undo_packages.purge([], BROUGHT):
        text = command.replace(FOLDER, str(tmp_path))
        said = subprocess.run(["sh", "-c", text], env=environment, capture_output=True, text=True, check=True).stdout
    gone = {line.split()[1] for line in said.splitlines() if line.startswith(("Remv", "Purg"))}
    # a package that an administrator has by now needs the next two
    assert gone == {"ours", "wanted", "suggested"}


def test_an_install_writes_down_what_is_new_and_not_what_it_moves(tmp_path: Path) -> None:
    (tmp_path / "apt-get").write_text(
        "#!/bin/sh\necho 'Inst gcc-12 (12.2.0-14 Debian:12 [amd64])'\n"
        "echo 'Inst libc6 [2.36-9] (2.36-10 Debian:12 [amd64]) []'\necho 'Conf gcc-12 (12.2.0-14 Debian:12)'\n"
    )
    (tmp_path / "note").write_text('#!/bin/sh\necho "$@"\n')
    for tool in ("apt-get", "note"):
        (tmp_path / tool).chmod(0o755)
    writes, install = packages.install("gcc-12")
    assert install == f"{packages.INSTALL} gcc-12"
    done = subprocess.run(
        ["sh", "-c", writes.replace(NOTE, str(tmp_path / "note"))],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "brought gcc-12\n"


def test_nothing_brought_is_no_command() -> None:
    assert undo_packages.purge([], []) == []
