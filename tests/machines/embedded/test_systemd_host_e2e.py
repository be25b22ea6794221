"""A host with systemd as its first process, for real: an embedded node is one, and carries a machine itself.

With cgroup v1 as this machine mounts it, and with the unified tree (without controllers, where
this machine has them in v1). The project's own code runs inside, with the host's systemd-nspawn.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hardwatt.connect.ssh import Ssh
from hardwatt.machines import host_facts, rootfs
from hardwatt.machines.embedded import nspawn
from hardwatt.machines.embedded.machine import EmbeddedMachine
from tests.machines.embedded.test_node_e2e import machine_in

pytestmark = [pytest.mark.e2e, pytest.mark.long]

ROOT = Path(__file__).resolve().parents[3]
INSIDE = """
import json, sys
from pathlib import Path
from hardwatt.config.lab import Lab
from hardwatt.machines import host_facts
from hardwatt.machines.embedded.machine import EmbeddedMachine
from hardwatt.config.settings import Mirror, Settings
from hardwatt.connect.ssh import Ssh

top = Path("/opt/trial/labs")
machine = EmbeddedMachine(Lab(Settings(name="inner", mirror=Mirror(cache="/opt/trial/cache")), top, top / ".lab/inner"))
verb = sys.argv[1]
if verb == "look":
    facts = host_facts.gather(top)
    with Ssh(machine.endpoint()) as ssh:
        state = ssh.run("systemctl is-system-running").stdout.strip()
    print(json.dumps({"systemd": facts.systemd, "version": facts.cgroup_version, "state": state}))
else:
    getattr(machine, verb)()
"""
_IMPORTED = """
import sys, hardwatt.machines.choice
tops = {name.partition(".")[0] for name in sys.modules}
files = [getattr(sys.modules[top], "__file__", None) for top in tops if top in sys.modules]
print("\\n".join(file for file in files if file and "site-packages" in file))
"""


def copy_modules(target: Path) -> None:
    """Copy what the machines' code imports; the node has the same Python or the test cannot be made."""
    done = subprocess.run([sys.executable, "-c", _IMPORTED], cwd=ROOT, capture_output=True, text=True, check=True)
    no_caches = shutil.ignore_patterns("__pycache__")
    for line in done.stdout.split():
        path = Path(line)
        whole = path.parent if path.name.startswith("__init__.") else path
        if whole.is_dir():
            shutil.copytree(whole, target / whole.name, ignore=no_caches, dirs_exist_ok=True)
        else:
            shutil.copy2(whole, target)
    for extra in whole.parent.glob("_cffi_backend*"):
        shutil.copy2(extra, target)
    for facts in whole.parent.glob("*.dist-info"):
        shutil.copytree(facts, target / facts.name, dirs_exist_ok=True)
    shutil.copytree(ROOT / "hardwatt", target / "hardwatt", ignore=shutil.ignore_patterns("__pycache__", "data"))


@pytest.fixture(params=["as mounted", "unified"])
def host(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[EmbeddedMachine, int]]:
    """A node that can carry a machine, and its cgroup version."""
    facts = host_facts.gather(tmp_path)
    version = facts.cgroup_version
    if request.param == "unified":
        monkeypatch.setitem(nspawn.ENVIRONMENT, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1")
        version = 2
    outer = machine_in(tmp_path, "outer")
    try:
        with Ssh(outer.start()) as ssh:
            found = ssh.run("python3 -c 'import sys; print(*sys.version_info[:2])'").stdout.split()
            if found != [*map(str, sys.version_info[:2])]:
                pytest.skip("the node's Python is another one than ours: our modules do not run in it")
            prepare(outer, facts.codename)
            ssh.run("dpkg --install --force-depends /opt/trial/*.deb", timeout=120)
        yield outer, version
    finally:
        outer.destroy()


def prepare(outer: EmbeddedMachine, codename: str) -> None:
    """Put our modules, the root filesystem's archive and the host's tools into the node."""
    trial = outer.lab.dir / "machine/root/opt/trial"
    (trial / "cache/rootfs").mkdir(parents=True)
    shutil.copy2(rootfs.archive(outer.lab.cache, codename, os.uname().machine), trial / "cache/rootfs")
    copy_modules(trial)
    (trial / "inside.py").write_text(INSIDE)
    fetch = ["apt-get", "download", "systemd-container", "mmdebstrap"]
    subprocess.run(fetch, cwd=trial, check=True, capture_output=True)


def test_a_machine_lives_in_a_delegated_unit_and_leaves_nothing(host: tuple[EmbeddedMachine, int]) -> None:
    outer, version = host
    with Ssh(outer.endpoint()) as ssh:

        def inside(verb: str) -> str:
            return ssh.run(f"cd /opt/trial && PYTHONPATH=. python3 inside.py {verb}", timeout=240).stdout

        inside("start")
        assert json.loads(inside("look")) == {"systemd": True, "version": version, "state": "running"}
        unit = ssh.run("systemctl list-units --plain --no-legend 'hardwatt-*' | cut -d' ' -f1").stdout.strip()
        pid = ssh.run(f"systemctl show --value -p MainPID {unit}").stdout.strip()
        groups = ssh.run(f"cat /proc/{pid}/cgroup").stdout.splitlines()
        assert all("hardwatt" in line for line in groups if version == 1 or line.startswith("0::")), groups
        ssh.run(f"kill -9 {pid}")
        inside("start")
        assert json.loads(inside("look"))["state"] == "running"
        inside("stop")
        inside("destroy")
        left = ssh.run("systemctl list-units --all --no-legend 'hardwatt-*'; ip -br link | grep hw- || true;"
                       "find /sys/fs/cgroup /run /var/lib -name '*hardwatt*' -o -name 'hw-*'").stdout  # fmt: skip
    assert left == ""
