"""One stand-in of RHEL 8.6 for all tests of this folder, and a lab that has it as somebody's host."""

import dataclasses
import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploys import contract
from hardwatt.config.lab import Lab, open_lab
from hardwatt.config.settings import ROOT, Settings, default_name
from hardwatt.connect.endpoint import Endpoint
from hardwatt.connect.ssh import Ssh
from hardwatt.testing import fake_host
from tests.e2e.support import Story
from tests.el8.standin import StandIn

_SETTINGS = """\
machine = "ssh"
# what a machine without a kernel of its own may do; everything else is as on any host
preset = "embedded"
results = "{folder}/results"

[host]
address = "{address}"
key = "{key}"

[meter]
source = "modelled"
"""


@dataclasses.dataclass
class Site(Story):
    """The lab under test, and its host as the host's owner reaches it."""

    machine: StandIn
    end: Endpoint

    def lab_address(self) -> str:
        """Return this machine's address as the host sees it."""
        return self.end.controller_address

    def root(self) -> Ssh:
        return Ssh(self.end)

    def run(self, command: str, *, check: bool = True) -> str:
        """Run a command on the host as its owner; return both outputs."""
        with self.root() as ssh:
            done = ssh.run(f"{{ {command}\n}} 2>&1", check=check, timeout=300)
        print(f"# {command}\n{done.stdout}")
        return done.stdout

    def operations(self, *asked: dict[str, Any], check: bool = True) -> "Ran":
        """Run operations of ``deploys.operations.rpm`` alone, with pyinfra and all."""
        env = {**self.env, "HARDWATT_NODE_FILE": str(self.lab.dir / "single.json"), "EL8_OPERATIONS": json.dumps(asked)}
        node = self.lab.dir / "single.json"
        connection = contract.Connection(
            self.end.address, self.end.port, self.end.user, str(self.end.key), str(self.end.known_hosts), config=""
        )
        lab = dataclasses.replace(fake_host.LAB, node=contract.Node("el8", self.end.address))
        data = contract.NodeData(connection, lab, contract.Git.from_dict(fake_host.GIT))
        node.write_text(json.dumps(data.to_dict()))
        argv = [sys.executable, "-m", "pyinfra", "inventory/lab.py", "tests/el8/operations.py", "--json", "-y"]
        done = subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True, timeout=300, check=False)
        print(f"$ {shlex.join(argv)}\n{done.stdout}{done.stderr}")
        assert not check or done.returncode == 0
        results = json.loads(done.stdout)["results"]["operations"] if done.returncode == 0 else []
        return Ran(done.returncode == 0, [bool(row["success"]) for row in results], done.stdout + done.stderr)


@dataclasses.dataclass
class Ran:
    """What single operations did."""

    ok: bool
    changed: list[bool]
    """One an operation: whether it ran a command."""
    text: str


@pytest.fixture(scope="session")
def site() -> Iterator[Site]:
    if os.geteuid() != 0:
        pytest.fail("the stand-in needs root: run the tests as root, or with sudo")
    name = default_name().removeprefix("lab-")
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory(prefix="hardwatt-el8-") as folder:
        machine = StandIn(Lab(Settings(name=f"el8-host-{name}"), ROOT, ROOT / ".lab" / f"el8-host-{name}"))
        machine.destroy()
        try:
            end = machine.start()
            patch.setenv("HARDWATT_LAB", f"el8-{name}")
            config = Path(folder) / "lab.toml"
            config.write_text(_SETTINGS.format(folder=folder, address=end.address, key=end.key))
            patch.setenv("HARDWATT_CONFIG", str(config))
            lab = open_lab()
            lab.dir.mkdir(parents=True, exist_ok=True)
            lab.known_hosts.unlink(missing_ok=True)  # of a run that was killed
            yield Site(lab, dict(os.environ), machine, end)
        finally:
            machine.destroy()
