"""From the record to the commands that give a host back: nothing that was not done, nothing left out."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
from pyinfra.api import DeployError

from deploys import undo
from hardwatt.meter import node_config
from hardwatt.provision import runner
from tests.deploys.conftest import ROOT, Run, Runner

RECORD = """\
read=yes
lab fake
entry sysctl net.ipv4.ip_forward=0
entry sysctl kernel.keys.root_maxkeys=1000000
entry user git
entry bootfile /etc/default/grub.d/zz-hardwatt.cfg
entry package linux-headers-6.1.0-28-amd64
entry brought linux-headers-6.1.0-28-amd64
entry brought gcc-12
entry module br_netfilter
entry swap /dev/sda2
entry mask dev-sda2.swap
entry firewallsource 10.244.0.0/16
entry firewallport 6443/tcp=public
entry firewallzone trusted
entry firewallflush yes
kept /etc/default/kubelet"""
NEW = "kubelet\nkubeadm\ncontainerd.io\nlinux-headers-6.1.0-28-amd64"
TITLES = [
    "the cluster",
    "units",
    "packages that were not there before: kubelet, kubeadm, containerd.io, linux-headers-6.1.0-28-amd64",
    "files and folders of the lab, its git repositories included; as they were: /etc/default/kubelet",
    "package sources",
    "firewalld lets through no more: 10.244.0.0/16, 6443/tcp",
    "NetworkManager",
    "swap on again: /dev/sda2",
    "2 kernel settings",
    "kernel modules: br_netfilter",
    "boot arguments as they were",
    "the record of this host",
]


def reset(run_node: Runner, **answers: str) -> Run:
    return run_node(answers={"record": RECORD, "newpackages": NEW, **answers}, steps=["reset"])


def test_everything_in_the_record_is_undone_in_reverse(run_node: Runner) -> None:
    run = reset(run_node)
    titles = [name.removeprefix("Give back | ") for name in run.results]
    assert len(titles) == len(TITLES)
    assert all(title.startswith(wanted) for title, wanted in zip(titles, TITLES, strict=True)), titles
    for wanted in (
        "kubeadm reset --force --cri-socket",
        "apt-get purge --yes kubelet kubeadm containerd.io linux-headers-6.1.0-28-amd64",
        "grep -vxF -e linux-headers-6.1.0-28-amd64 -e gcc-12",
        "autoremove --purge --yes",
        "cp -p /var/lib/hardwatt/record/files/etc/default/kubelet /etc/default/kubelet",
        "userdel git",
        "firewall-cmd --quiet --permanent --zone=trusted --remove-source=10.244.0.0/16",
        "firewall-cmd --quiet --zone=public --remove-port=6443/tcp",
        "firewall-cmd --quiet --permanent --load-zone-defaults=trusted",
        "s/^FlushAllOnReload=no$/FlushAllOnReload=yes/",
        "systemctl unmask dev-sda2.swap",
        "swapon /dev/sda2",
        "sysctl --quiet --write kernel.keys.root_maxkeys=1000000",
        "modprobe --remove br_netfilter",
        "rm -f /etc/default/grub.d/zz-hardwatt.cfg; update-grub",
        "boot arguments are as before the lab from the next boot on",
    ):
        assert [text for text in run.commands if wanted in text], wanted
    assert "rm -f /etc/sysctl.d" in "\n".join(run.commands)
    assert "/var/lib/hardwatt/record" in run.commands[-2], "the record goes last"


def test_packages_may_stay(run_node: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    made = undo.groups({"entries": [], "kept": []}, family="debian", new_packages=["kubelet"], keep_packages=True)
    commands = [command for group in made for command in group.commands]
    assert "apt-mark unhold kubelet" in commands
    assert not [command for command in commands if "purge" in command or "/var/lib/containerd" in command]


def test_a_host_without_a_record_is_left_alone(run_node: Runner) -> None:
    assert reset(run_node, record="read=yes").commands == []


def test_another_labs_host_is_refused(run_node: Runner) -> None:
    with pytest.raises(DeployError, match="node of the lab other, not of fake"):
        reset(run_node, record="read=yes\nlab other")


def test_grubby_gives_back_the_value_that_was_there() -> None:
    entries = [["bootarg", "systemd.unified_cgroup_hierarchy=0"], ["bootarg", "cgroup.memory"]]
    made = undo.groups({"entries": entries, "kept": []}, family="el", new_packages=[], keep_packages=False)
    commands = [command for group in made for command in group.commands]
    assert "grubby --update-kernel=ALL --args=systemd.unified_cgroup_hierarchy=0" in commands
    assert "grubby --update-kernel=ALL --remove-args=cgroup.memory" in commands


def test_labels_go_back_to_what_the_administrator_had() -> None:
    entries = [["label", "/opt/cni/bin(/.*)?=lib_t"], ["label", "/var/lib/etcd(/.*)?"]]
    made = undo.groups({"entries": entries, "kept": []}, family="el", new_packages=[], keep_packages=False)
    text = "\n".join(command for group in made for command in group.commands)
    assert "semanage fcontext --modify --type lib_t '/opt/cni/bin(/.*)?'" in text
    assert "semanage fcontext --delete '/var/lib/etcd(/.*)?'" in text
    assert "restorecon -R /var/lib/etcd" in text


def test_ports_have_the_label_of_before_while_semanage_is_still_there() -> None:
    entries = [["labelport", "2222/tcp"], ["labelport", "2200/tcp=http_port_t"]]
    packages = ["policycoreutils-python-utils"]
    made = undo.groups({"entries": entries, "kept": []}, family="el", new_packages=packages, keep_packages=False)
    text = "\n".join(command for group in made for command in group.commands)
    assert "semanage port --delete --proto tcp 2222" in text
    assert "semanage port --modify --type http_port_t --proto tcp 2200" in text
    assert text.index("semanage") < text.index("rpm --erase")


def test_every_file_that_a_run_writes_is_taken_away(run_node: Runner) -> None:
    """A file that a step writes in future has to be in one of the lists."""
    gone = [*undo.FILES, *undo.FOLDERS, *undo.CLUSTER_FOLDERS, *undo.CONTAINERD_FOLDERS]
    gone += [f"/etc/systemd/system/{unit}" for unit in undo.UNITS]
    globs = tuple(pattern.partition("*")[0] for pattern in undo.SOURCES)
    written = {*run_node().files, *node_config.NODE_FILES}
    left = [p for p in written if not p.startswith(tuple(gone)) and not p.startswith(globs)]
    assert left == []


@pytest.mark.parametrize("family", ["debian", "el"])
def test_every_command_is_a_script_that_a_shell_can_read(family: str) -> None:
    entries: list[list[str]] = [
        line.removeprefix("entry ").split(" ", 1) for line in RECORD.splitlines() if "entry" in line
    ]
    record: dict[str, Any] = {
        "entries": [*entries, ["label", "/x(/.*)?"], ["labelport", "1/tcp"], ["bootarg", "a=b"]],
        "kept": ["/etc/f"],
    }
    for keep in (True, False):
        for group in undo.groups(record, family=family, new_packages=["a", "b"], keep_packages=keep):
            for command in group.commands:
                done = subprocess.run(["sh", "-n", "-c", command], capture_output=True, text=True, check=False)
                assert done.returncode == 0, command + done.stderr


def test_the_reset_is_no_step_of_the_list() -> None:
    assert "reset" not in runner.steps(ROOT)
    assert Path(ROOT / "deploys/reset.py").exists()


# Stand-ins for what the zone's commands call: the zone is what its file says, and the n-th call ends its shell instead
# (of a look, that is a shell of its own: the look fails).
_CALLED = """#!/bin/sh
echo >>"$STATE/calls"
if [ "$(wc -l <"$STATE/calls")" = "$KILL" ]; then kill -9 $PPID; exit 1; fi
"""
_FIREWALL_CMD = """case "$*" in
*--list-all) cat "$ZONES/public.xml" 2>/dev/null || echo defaults ;;
*--load-zone-defaults=public) /bin/rm -f "$ZONES/public.xml" ;;
*) exit 2 ;;
esac
"""


@pytest.mark.parametrize("administrators", [True, False])
@pytest.mark.parametrize("kill", range(1, 9))
def test_a_zone_whose_undoing_is_killed_is_given_back_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kill: int, administrators: bool
) -> None:
    zones, tools, state = (tmp_path / name for name in ("zones", "tools", "state"))
    for folder in (zones, tools, state):
        folder.mkdir()
    bodies = {"firewall-cmd": _FIREWALL_CMD, "systemctl": ""}
    bodies |= {name: f'exec /bin/{name} "$@"\n' for name in ("cp", "mv", "rm")}
    for name, body in bodies.items():
        (tools / name).write_text(_CALLED + body)
        (tools / name).chmod(0o755)
    zone = zones / "public.xml"
    zone.write_text("the administrator's" if administrators else "defaults\n")
    monkeypatch.setattr(undo, "ZONES", str(zones))
    made = undo.groups({"entries": [["firewallzone", "public"]], "kept": []}, family="el", new_packages=[],
                       keep_packages=False)  # fmt: skip
    script = next(command for group in made for command in group.commands if str(zones) in command)
    env = {"PATH": f"{tools}:/usr/bin:/bin", "STATE": str(state), "ZONES": str(zones)}
    killed = subprocess.run(["sh", "-c", script], env={**env, "KILL": str(kill)}, check=False).returncode
    calls = len((state / "calls").read_text().splitlines())
    assert calls == kill or (killed == 0 and calls == 8)
    subprocess.run(["sh", "-c", script], env={**env, "KILL": "0"}, check=True)
    assert [path.name for path in zones.iterdir()] == (["public.xml"] if administrators else [])
    assert not administrators or zone.read_text() == "the administrator's"
