"""The proof of the road to fresh hardware: a machine with a kernel of its own, from cgroup v1 to Ready.

By emulation the whole takes more than twenty minutes where nothing else runs, so ``make test`` boots the machine and
finds its fault, and the rest is in ``make test-long``. Every limit here has a factor of three.
"""

import json
import os
import platform
import time
from functools import partial
from typing import Any

import pytest

from hardwatt.cluster import port_forward
from hardwatt.cluster import status as cluster_status
from hardwatt.connect import boot
from hardwatt.core.errors import LabError
from hardwatt.core.wait import wait
from hardwatt.dump.client import Client
from hardwatt.machines import choice
from hardwatt.machines.embedded import host_record
from hardwatt.machines.embedded.host_snapshot import Snapshot
from hardwatt.provision import reboot, runner
from tests.dashboards.test_dashboards import panels
from tests.e2e.support import Story
from tests.vm import guest

pytestmark = pytest.mark.vm

UP = 3000.0
"""Seconds for lab.up from a bare machine."""
KEPLER = os.environ.get("HARDWATT_KEPLER_ARCHIVE", "")
"""An image of Kepler, for ``mirror.import``: it cannot be built from what every machine reaches."""
READY = 1500.0
"""Seconds until a rebooted node's pods are all Ready; 320 were seen on two idle cores."""


def test_a_fresh_machine_is_as_rhel_8_comes(story: Story) -> None:
    story.invoke("lab.machine.start", timeout=1200)
    with story.node() as node:
        release = node.run("uname -r").stdout.strip()
        assert release != platform.release()
        assert node.run("stat -fc %T /sys/fs/cgroup").stdout.strip() == "tmpfs", "cgroup v1"
        assert node.run("cat /proc/1/comm").stdout.strip() == "systemd"
        assert node.run("firewall-cmd --state").stdout.strip() == "running"
        assert node.run("systemctl --failed --no-legend").stdout == ""
        arguments = node.run("cat /proc/cmdline").stdout.split()
        assert set(arguments) & {"tsc=reliable", "mitigations=off"} == emulated(story)


@pytest.fixture(scope="module")
def bare(story: Story) -> Snapshot:
    """The guest before the lab touched it."""
    story.invoke("lab.machine.start", timeout=1200)
    with story.node() as node:
        assert node.run("test -e /etc/kubernetes", check=False).returncode != 0
        node.run("update-grub", timeout=300)  # as after any installation: the image's first grub.cfg is a few lines
        return guest.take(node)


def emulated(story: Story) -> set[str]:
    """Return the kernel arguments that only an emulated machine has."""
    return {"tsc=reliable", "mitigations=off"} if choice.machine_for(story.lab).status().detail == "tcg" else set()


@pytest.mark.usefixtures("bare")
def test_a_stepped_clock_is_found(story: Story) -> None:
    with story.node() as node:
        node.run("date --set=@$(($(date +%s) + 3600))")
    try:
        done = story.invoke("lab.check", "--as-json", check=False, timeout=600)
    finally:
        with story.node() as node:
            node.run(f"date --set=@{int(time.time())}")
    errors = [problem for problem in json.loads(done.stdout) if problem["severity"] == "error"]
    assert [problem["name"] for problem in errors] == ["clock"], errors
    assert "+36" in errors[0]["what"] or "+35" in errors[0]["what"]
    assert "synchronise" in errors[0]["remedy"]
    assert done.returncode == 1


@pytest.mark.long
@pytest.mark.usefixtures("bare")
def test_the_plan_tells_of_the_reboot(story: Story) -> None:
    done = story.invoke("lab.plan", timeout=600)
    assert "a reboot" in done.stderr
    with story.node() as node:
        assert node.run("stat -fc %T /sys/fs/cgroup").stdout.strip() == "tmpfs", "nothing was changed"


@pytest.mark.long
def test_lab_up_switches_the_cgroups_reboots_and_ends_in_ready(story: Story) -> None:
    with story.node() as node:
        before = node.run(f"cat {boot.BOOT_ID}").stdout
    done = story.invoke("lab.up", timeout=UP)
    assert "cgroup v2 is switched on" in done.stderr
    assert "reboots" in done.stderr
    with story.node() as node:
        assert node.run(f"cat {boot.BOOT_ID}").stdout != before
        assert node.run("stat -fc %T /sys/fs/cgroup").stdout.strip() == "cgroup2fs"
        assert node.run("test -e /lib/modules/$(uname -r)/build/Makefile", check=False).returncode == 0, "headers"
        assert node.run("firewall-cmd --state").stdout.strip() == "running"
    found = cluster_status.read(story.lab)
    assert found.ready
    assert found.nodes == {story.lab.name: True}


@pytest.mark.long
def test_nothing_was_set_that_real_hardware_would_not_have(story: Story) -> None:
    with story.node() as node:
        config = node.run("cat /etc/hardwatt/kubeadm.yaml").stdout
        assert "ignorePreflightErrors: []" in config
        assert "failCgroupV1: false" not in config
        assert "cgroupDriver: systemd" in config
        log = node.run("cat /var/log/hardwatt/kubeadm-init.log").stdout
        assert "[ERROR" not in log
        assert "will be ignored" not in log
        assert "restrict_oom_score_adj = true" not in node.run("cat /etc/containerd/config.toml").stdout
        arguments = set(node.run("cat /proc/cmdline").stdout.split())
        assert arguments & {"tsc=reliable", "mitigations=off"} == emulated(story)


@pytest.mark.long
def test_a_second_up_changes_nothing(story: Story) -> None:
    assert "No changes" in story.invoke("lab.up", timeout=1200).stderr


def some_watts(found: list[dict[str, Any]]) -> bool:
    return any(float(row["value"][1]) > 0 for row in found)


def answer(client: Client, query: str) -> list[dict[str, Any]]:
    return client.query(query)


@pytest.mark.long
@pytest.mark.skipif(not KEPLER, reason="HARDWATT_KEPLER_ARCHIVE names no archive of Kepler's image")
def test_an_imported_kepler_is_on_the_boards(story: Story) -> None:
    """Its node is the whole machine here, so its figures are valid, and each panel that asks for them has some."""
    story.invoke("mirror.import", KEPLER)
    story.invoke("lab.up", timeout=UP)
    assert [pod for pod in cluster_status.read(story.lab).pods if pod.name.startswith("kepler-") and pod.ready]
    with Client(port_forward.prometheus_url(story.lab)) as client:
        asked = [target["expr"] for _, panel in panels() for target in panel.get("targets", [])]
        of_kepler = [query for query in asked if "kepler_" in query]
        assert of_kepler
        for query in of_kepler:
            # a pod that Kepler has seen once only has no watts yet
            found = wait(partial(answer, client, query), some_watts, what=query, timeout=120, delay=5)
            print(query, found)
        series = answer(client, "count by (pod_name, pod_namespace) (pod_curr_energy_in_pkg_millijoule)")
        assert {row["value"][1] for row in series} == {"1"}, "one series a pod, so a sum does not double"


@pytest.mark.long
def test_after_a_reboot_the_cluster_returns_by_itself(story: Story) -> None:
    before = {pod.uid for pod in cluster_status.read(story.lab).pods}
    reboot.reboot(choice.machine_for(story.lab).endpoint())

    def ready() -> str:
        try:
            found = cluster_status.read(story.lab)
        except LabError as error:
            return error.message
        return "ready" if found.ready else found.summary

    wait(ready, lambda text: text == "ready", what="cluster after the reboot", timeout=READY, delay=5, successes=2)
    assert {pod.uid for pod in cluster_status.read(story.lab).pods} == before, (
        "the same pods, started again by the kubelet"
    )


@pytest.mark.long
def test_the_guest_is_given_back_as_it_was(story: Story, bare: Snapshot) -> None:
    """What lab.down does on somebody's host, run on the guest before it is thrown away."""
    assert runner.reset(story.lab)
    end = choice.machine_for(story.lab).endpoint()
    reboot.reboot(end)  # boot arguments were changed, so one announced reboot is part of it
    with story.node() as node:
        found = host_record.compare(bare, guest.take(node), ignore=guest.BY_ITSELF)
    assert not found, "\n".join(map(str, found))


def test_down_leaves_nothing_behind_on_the_host(story: Story) -> None:
    story.invoke("lab.down", "--yes")
    assert not story.lab.kubeconfig.exists()
    assert not (story.lab.dir / "machine").exists()
    found = story.differences()
    assert not found, "\n".join(map(str, found))
