"""The record's own script, run by a real shell in a folder of the test."""

import subprocess
from pathlib import Path

from tests.deploys.conftest import ROOT


def note(journal: Path, *arguments: str) -> None:
    text = (ROOT / "templates/note.sh").read_text().replace("/var/lib/hardwatt/record/journal", str(journal))
    subprocess.run(["sh", "-c", text, "note", *arguments], check=True, timeout=10)


def test_the_first_value_of_a_name_stays_and_names_are_told_apart(tmp_path: Path) -> None:
    journal = tmp_path / "record/journal"
    note(journal, "sysctl", "kernel.panic=0", "vm.overcommit_memory=0")
    note(journal, "sysctl", "kernel.panic=10")
    note(journal, "sysctl", "kernel.panic_on_oops=1")
    note(journal, "package", "kubelet")
    note(journal, "package", "kubelet", "kube*")
    note(journal, "bootarg", "systemd.unified_cgroup_hierarchy=0")
    assert journal.read_text().splitlines() == [
        "sysctl kernel.panic=0",
        "sysctl vm.overcommit_memory=0",
        "sysctl kernel.panic_on_oops=1",
        "package kubelet",
        "package kube*",
        "bootarg systemd.unified_cgroup_hierarchy=0",
    ]
