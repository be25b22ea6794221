"""The exact commands of a full ``lab.up`` on five distributions, as files that are read like a page.

The hosts are constructed from documentation (hardwatt/testing/constructed_hosts.py): nobody has recorded them. After a
change that is meant: ``HARDWATT_WRITE_PLANS=1 pytest tests/deploys/test_plans.py``, then read the diff.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from deploys import explain, node
from hardwatt.provision import guide, runner
from hardwatt.testing import constructed_hosts
from tests.deploys.conftest import ROOT

FOLDER = Path(__file__).parent / "plans"


_plans: dict[str, list[str]] = {}


def plan(name: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return every command of every step, and the path of every file that is written."""
    monkeypatch.chdir(ROOT)
    if name in _plans:
        return _plans[name]
    lines = [f"# constructed, not recorded: {constructed_hosts.HOSTS[name].constructed_from}"]
    for step in explain.explain(*constructed_hosts.host(name, constructed_hosts.lab(name))):
        for operation in step["operations"]:
            lines += ["", f"[{operation['name']}]"]
            for command in operation["commands"]:
                lines.append(command["run"] if "run" in command else f"write {command['write']}")
    return _plans.setdefault(name, "\n".join(lines).split("\n"))


@pytest.mark.parametrize("name", sorted(constructed_hosts.HOSTS))
def test_the_exact_commands(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = plan(name, monkeypatch)
    file = FOLDER / f"{name}.txt"
    if os.environ.get("HARDWATT_WRITE_PLANS"):
        file.write_text("\n".join(found) + "\n")
    assert found == file.read_text().rstrip("\n").split("\n")


def test_each_host_is_there_and_marked_as_constructed() -> None:
    assert {file.stem for file in FOLDER.glob("*.txt")} == set(constructed_hosts.HOSTS)
    for name in ("rhel-8.6", "rocky-8.10", "rocky-9", "debian-12", "ubuntu-24.04"):
        assert (FOLDER / f"{name}.txt").read_text().startswith("# constructed, not recorded")


def test_rhel_86_comes_to_its_cluster_in_two_runs_with_one_reboot_between(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = plan("rhel-8.6", monkeypatch), plan("rhel-8.6-rebooted", monkeypatch)
    assert "grubby --update-kernel=ALL --args=systemd.unified_cgroup_hierarchy=1" in first
    assert not [line for line in first if "kubeadm" in line or line.startswith("dnf")]
    assert [line for line in second if "kubeadm init" in line]
    assert not [line for line in second if "grubby" in line]


def test_no_plan_ignores_a_check_or_weakens_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in constructed_hosts.HOSTS:
        text = "\n".join(plan(name, monkeypatch))
        for word in ("ignore-preflight", "setenforce", "disable --now firewalld", "stop firewalld", "nogpgcheck",
                     "allow-unauthenticated", "dnf update", "apt-get upgrade"):  # fmt: skip
            assert word not in text, f"{name}: {word}"


def test_the_explained_steps_are_those_of_the_list(monkeypatch: pytest.MonkeyPatch) -> None:
    assert runner.steps(ROOT) == node.STEPS
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(node, "STEPS", ("cni", "swap", "containerd"))
    found = explain.explain(*constructed_hosts.host("debian-12", constructed_hosts.lab("debian-12")))
    assert [step["step"] for step in found] == ["cni", "containerd"]


def test_the_guide_is_made_from_the_deploys() -> None:
    """``python -m inventory.guide >docs/the-hard-way.md`` after a change that is meant."""
    made = subprocess.run(
        [sys.executable, "-m", "inventory.guide"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert made.stdout == (ROOT / "docs/the-hard-way.md").read_text()


def test_every_block_of_the_guide_is_a_script_that_a_shell_can_read() -> None:
    text = (ROOT / "docs/the-hard-way.md").read_text()
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    assert len(blocks) > 20
    for block in blocks:
        done = subprocess.run(["bash", "-n", "-c", block], capture_output=True, text=True, check=False)
        assert done.returncode == 0, block + done.stderr
    assert "hardwatt/note" not in text
    assert len(re.findall(r"^### \d+\. ", text, re.MULTILINE)) > 10


def test_a_real_inventory_is_explained_as_json() -> None:
    argv = [sys.executable, "-m", "deploys.explain", "hardwatt/testing/fake_host.py"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True)
    explained = runner.payload(done.stdout, ROOT, "explained")["explained"]
    assert explained[0]["step"] == "host_record"
    text = "\n".join(guide.lines(explained))
    assert "kubeadm init" in text
    assert "(deploys/kubeadm.py)" in text
    assert "cat >/etc/hardwatt/kubeadm.yaml <<'END'" in text
