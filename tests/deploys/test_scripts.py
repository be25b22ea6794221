"""The scripts of the facts, run by a real shell on this machine: they parse, end well and make sense."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from pyinfra.api import FactBase

from deploys.facts.kernel import Modules, Settings
from deploys.facts.kubeadm import Answer, State
from deploys.facts.packages import Debs
from deploys.facts.system import System


def ask(fact: FactBase[Any], **arguments: Any) -> Any:
    done = subprocess.run(["sh", "-c", str(fact.command(**arguments))], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return fact.process(done.stdout.splitlines())


def test_system() -> None:
    found = ask(System())
    assert found["kernel"] == os.uname().release
    assert found["cpus"] == len(os.sched_getaffinity(0))
    assert found["memory_mib"] > 100
    assert found["root"] == (os.geteuid() == 0)


def test_settings_and_modules() -> None:
    settings = ask(Settings(), names=["kernel.ostype", "kernel.no-such-thing"])
    assert settings == {
        "kernel.ostype": {"value": "Linux", "writable": False},
        "kernel.no-such-thing": {"value": None, "writable": False},
    }
    assert ask(Modules(), names=["no_such_module"]) == {"no_such_module": {"present": False, "loadable": False}}


@pytest.mark.skipif(not Path("/usr/bin/dpkg-query").exists(), reason="no dpkg on this machine")
def test_packages() -> None:
    found = ask(Debs(), names=["dpkg", "no-such-package"])["packages"]
    assert set(found) == {"dpkg"}
    assert found["dpkg"]["version"][0].isdigit()


@pytest.mark.skipif(Path("/etc/kubernetes").exists(), reason="this machine is a node itself")
def test_kubeadm_on_a_machine_without_it() -> None:
    assert not any(ask(State()).values())
    assert ask(Answer()) == {"admin": False, "ready": False}
