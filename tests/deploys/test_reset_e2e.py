"""A real node is made, given back from its record, and made again; what is left of the lab is nothing."""

import os
from collections.abc import Iterator

import pytest

from hardwatt.cluster import client
from hardwatt.cluster import status as cluster_status
from hardwatt.config.lab import Lab, open_lab
from hardwatt.config.settings import default_name
from hardwatt.connect.ssh import Ssh
from hardwatt.core.wait import wait
from hardwatt.machines import choice
from hardwatt.mirror import fill, servers
from hardwatt.provision import node_data, runner

SNAPSHOT = r"""
dpkg-query -W -f='package ${Package} ${Version} ${db:Status-Status}\n'
apt-mark showhold | sed 's/^/held /'
find /etc /usr/local /opt /srv /var/lib -xdev -maxdepth 4 -not -path '/var/lib/dpkg*' -not -path '/var/lib/apt*' \
  -not -path '/var/lib/systemd*' -not -path '*/.cache*' -printf 'file %p\n' | grep -vE '/etc/(mtab|ld.so.cache|.*-)$'
md5sum /etc/passwd /etc/group /etc/fstab 2>/dev/null | sed 's/^/content /'
systemctl list-unit-files --state=enabled,masked --plain --no-legend | sed 's/^/unit /'
ip -o link show | sed 's/^[0-9]*: \([^:@]*\).*/link \1/'
ip -o route show | sed 's/^/route /'
for tool in iptables ip6tables; do $tool-save | grep -E '^(-A|:(KUBE|CNI))' | sed "s/ \[.*//; s/^/$tool /"; done
mount | sed 's/ (.*//; s/^/mount /' | grep -vE '/run/(user|credentials)'
for name in net.ipv4.ip_forward net.ipv4.conf.all.route_localnet net.bridge.bridge-nf-call-iptables; do
  sysctl $name 2>/dev/null | sed 's/^/sysctl /'; done
"""


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    if os.geteuid() != 0:
        pytest.fail("the embedded node needs root: run the tests as root, or with sudo")
    monkeypatch.setenv("HARDWATT_LAB", "reset-" + default_name().removeprefix("lab-"))
    monkeypatch.delenv("HARDWATT_CONFIG", raising=False)
    found = open_lab()
    machine = choice.machine_for(found)
    machine.destroy()
    try:
        end = machine.start()
        node_data.write_node_data(found, end, fill.load(found), servers.serve(found, end.controller_address))
        yield found
    finally:
        servers.stop_serving(found)
        machine.destroy()


def snapshot(lab: Lab) -> set[str]:
    with Ssh(choice.machine_for(lab).endpoint()) as ssh:
        return set(ssh.run(SNAPSHOT).stdout.splitlines())


def ready(lab: Lab) -> None:
    client.fetch_kubeconfig(lab, choice.machine_for(lab).endpoint())
    wait(lambda: cluster_status.read(lab), lambda status: status.ready, what="cluster", timeout=300,
         describe=lambda status: status.summary)  # fmt: skip


@pytest.mark.e2e
@pytest.mark.long
def test_a_node_is_given_back_and_made_again(lab: Lab) -> None:
    before = snapshot(lab)
    runner.apply(lab)
    ready(lab)
    planned = runner.reset(lab, dry=True)
    assert any("kubelet" in line for line in planned)
    assert planned == runner.reset(lab)
    after = snapshot(lab)
    assert sorted(after - before) == []
    assert sorted(before - after) == []
    assert runner.reset(lab) == [], "nothing is left to undo"
    runner.apply(lab)
    assert runner.apply(lab).changed == []
    ready(lab)
