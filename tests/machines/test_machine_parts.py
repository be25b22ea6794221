"""Leftovers, keys, the tree, the recipe of the root filesystem, and the choice of a machine."""

import contextlib
import dataclasses
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import paramiko
import pytest

from hardwatt.config.lab import Lab
from hardwatt.config.settings import Settings, parse
from hardwatt.connect.endpoint import Endpoint
from hardwatt.connect.host_keys import fingerprint, require_known
from hardwatt.core import process
from hardwatt.core.errors import LabError, RefusedError
from hardwatt.core.files import write_json
from hardwatt.core.problem import error
from hardwatt.core.process import Process
from hardwatt.core.wait import wait
from hardwatt.machines import choice, host_facts, identity, remote, rootfs
from hardwatt.machines.base import ssh_argv
from hardwatt.machines.embedded import cgroups, cleanup, node_files, privileged
from hardwatt.machines.embedded.network import Addresses
from hardwatt.machines.vm import facts
from tests.machines.constructed_hosts import BARE_V1


def lab(tmp_path: Path, name: str = "t1", **more: object) -> Lab:
    settings = parse(Settings, {"name": name, **more}, "test")
    return Lab(settings, tmp_path, tmp_path / ".lab" / name)


def test_only_mounts_of_this_lab_are_found_innermost_first() -> None:
    info = (
        "30 1 8:1 / / rw - ext4 /dev/sda rw\n"
        "31 30 0:9 / /lab/a/machine/root rw - tmpfs t rw\n"
        "32 31 0:9 / /lab/a/machine/root/var\\040x rw - tmpfs t rw\n"
        "33 30 0:9 / /lab/a/machine-of-b/root rw - tmpfs t rw\n"
        "34 30 0:9 / /lab/b/machine/root rw - tmpfs t rw\n"
    )
    assert cleanup.mounts_below(Path("/lab/a/machine"), info) == [
        Path("/lab/a/machine/root/var x"),
        Path("/lab/a/machine/root"),
    ]


def test_processes_are_found_by_their_cgroup_and_pods_apart(tmp_path: Path) -> None:
    for name, pids in (
        ("", "1\n"),
        ("payload/init.scope", "2\n"),
        ("kubepods/pod1/x", "3\n4\n"),
        ("payload/kubepods", "5\n"),
    ):
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
        (tmp_path / name / "cgroup.procs").write_text(pids)
    assert cgroups.processes([tmp_path]) == {1, 2, 3, 4, 5}
    assert cgroups.processes([tmp_path], "kubepods") == {3, 4, 5}
    assert cgroups.processes([tmp_path / "none"]) == set()


def test_another_labs_cgroups_stay(tmp_path: Path) -> None:
    hierarchy = host_facts.Hierarchy(tmp_path, ("pids",))
    facts = dataclasses.replace(BARE_V1, hierarchies=(hierarchy,))
    for name in ("mine/system.slice/a", "other/payload"):
        (tmp_path / "hardwatt" / name).mkdir(parents=True)
    assert cgroups.remove(facts, "mine") == 3
    assert (tmp_path / "hardwatt/other/payload").is_dir()
    shutil.rmtree(tmp_path / "hardwatt/other")
    cgroups.remove(facts, "mine")
    assert not (tmp_path / "hardwatt").exists()


def test_a_new_cpuset_gets_its_parents_processors(tmp_path: Path) -> None:
    (tmp_path / "cpuset.cpus").write_text("0-1\n")
    (tmp_path / "cpuset.mems").write_text("0\n")
    facts = dataclasses.replace(BARE_V1, hierarchies=(host_facts.Hierarchy(tmp_path, ("cpuset",)),))
    [procs] = cgroups.make(facts, "mine")
    assert procs == tmp_path / "hardwatt/mine/cgroup.procs"
    assert (procs.parent / "cpuset.cpus").read_text() == "0-1\n"


def test_a_unified_tree_passes_its_controllers_on(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "hardwatt"):
        folder.mkdir(exist_ok=True)
        (folder / "cgroup.controllers").write_text("cpu memory pids\n")
        (folder / "cgroup.subtree_control").write_text("memory\n")
    facts = dataclasses.replace(BARE_V1, hierarchies=(host_facts.Hierarchy(tmp_path, ()),))
    cgroups.make(facts, "mine")
    assert (tmp_path / "cgroup.subtree_control").read_text() == "+cpu +pids"
    assert (tmp_path / "hardwatt/cgroup.subtree_control").read_text() == "+cpu +pids"


def test_keys_are_made_once_and_private(tmp_path: Path) -> None:
    mine = lab(tmp_path)
    path = identity.ensure_key(mine, "ssh")
    text = path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    assert mine.keys.stat().st_mode & 0o777 == 0o700
    assert identity.ensure_key(mine, "ssh").read_text() == text
    assert path.with_name("ssh.pub").read_text().startswith("ssh-ed25519 ")
    assert sorted(p.name for p in mine.keys.iterdir()) == ["ssh", "ssh.pub"]


def test_a_new_host_key_replaces_the_old_one_and_no_other(tmp_path: Path) -> None:
    mine = lab(tmp_path)
    identity.learn(mine, "192.0.2.7", "ssh-ed25519 THEIRS comment")
    identity.learn(mine, "10.77.0.2", "ssh-ed25519 OLD comment")
    identity.learn(mine, "10.77.0.2", "ssh-ed25519 NEW comment")
    lines = mine.known_hosts.read_text().splitlines()
    assert lines == ["192.0.2.7,[192.0.2.7]:2222 ssh-ed25519 THEIRS", "10.77.0.2,[10.77.0.2]:2222 ssh-ed25519 NEW"]
    identity.forget(mine, "10.77.0.2")
    assert mine.known_hosts.read_text().splitlines() == lines[:1]


def test_labs_of_one_name_in_two_checkouts_differ(tmp_path: Path) -> None:
    idents = {identity.ident(lab(tmp_path / checkout)) for checkout in ("a", "b")}
    assert len(idents) == 2
    assert all(len(ident) == 8 for ident in idents)


def test_the_tree_gets_the_machines_files_and_keeps_the_nodes(tmp_path: Path) -> None:
    for name in ("etc/ssh", "root", "etc/systemd/system"):
        (tmp_path / name).mkdir(parents=True)
    who = node_files.Identity("t1", Addresses("10.77.4.0/24"), "PRIVATE\n", "ssh-ed25519 AAAA\n", "ssh-ed25519 BBBB\n")
    node_files.write(tmp_path, who)
    assert (tmp_path / "etc/ssh/ssh_host_ed25519_key").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "root/.ssh/authorized_keys").read_text() == "ssh-ed25519 BBBB\n"
    init = (tmp_path / "usr/lib/hardwatt/init").read_text()
    assert "10.77.4.2/24" in init
    assert "via 10.77.4.1" in init
    assert "127." not in (tmp_path / "etc/resolv.conf").read_text()
    assert (tmp_path / "etc/systemd/system/apt-daily.timer").readlink() == Path("/dev/null")
    (tmp_path / "etc/hosts").write_text("the deploys' own\n")
    node_files.write(tmp_path, who)
    assert (tmp_path / "etc/hosts").read_text() == "the deploys' own\n"


TARGETS = """\
/etc/apt/sources.list.d/debian.sources:1|Debian|bookworm
/etc/apt/sources.list.d/debian.sources:2|Debian|bookworm-security
/etc/apt/sources.list.d/more.list:3|Debian|bookworm-backports
/etc/apt/sources.list.d/thirdparty.list:1|Third Party|bookworm
"""


def test_only_the_distributions_own_sources_are_used() -> None:
    assert rootfs.parse_targets(TARGETS, "bookworm") == ("/etc/apt/sources.list.d/debian.sources",)


def test_without_package_lists_the_suite_decides() -> None:
    bare = TARGETS.replace("|Debian|", "||").replace("|Third Party|", "||")
    assert len(rootfs.parse_targets(bare, "bookworm")) == 2
    assert rootfs.parse_targets(bare, "noble") == ()


def test_the_archive_is_named_by_its_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    before = rootfs.key("bookworm", "x86_64")
    assert rootfs.key("trixie", "x86_64") != before
    monkeypatch.setattr(rootfs, "PACKAGES", (*rootfs.PACKAGES, "stress-ng"))
    assert rootfs.key("bookworm", "x86_64") != before


def test_no_apt_setting_or_source_of_this_machine_is_on_the_command_line_or_left_in_the_tree() -> None:
    found = rootfs.Sources("bookworm", ("/etc/apt/x.sources",), ('Acquire::http::Proxy "http://user:secret@p";',))
    command = rootfs.build_command(Path("/c/out.tar"), found, Path("/c/apt.conf"), copy_auth=True)
    assert "secret" not in " ".join(command)
    assert command[-3:] == ["bookworm", "/c/out.tar", "/etc/apt/x.sources"]
    removed = " ".join(part for part in command if part.startswith("--customize-hook"))
    for path in ("sources.list.d", "auth.conf", "99mmdebstrap", "ssh_host_"):
        assert path in removed


def test_a_killed_unpacking_is_done_again(tmp_path: Path) -> None:
    archive, root = tmp_path / "a.tar", tmp_path / "machine/root"
    (tmp_path / "content").mkdir()
    (tmp_path / "content/file").write_text("whole")
    shutil.make_archive(str(tmp_path / "a"), "tar", tmp_path / "content")
    half = tmp_path / "machine/root.new"
    half.mkdir(parents=True)
    (half / "half").touch()
    assert rootfs.unpack(archive, root)
    assert sorted(path.name for path in root.iterdir()) == ["file"]
    assert not half.exists()
    assert not rootfs.unpack(archive, root)


def fake_mmdebstrap(folder: Path, text: str) -> None:
    folder.mkdir(exist_ok=True)
    path = folder / "mmdebstrap"
    path.write_text(f"#!/bin/sh\nfor last; do case $last in *.tar) target=$last;; esac; done\n{text}\n")
    path.chmod(0o755)


def test_a_build_ends_with_its_killed_parent_and_the_next_one_makes_it_whole(tmp_path: Path) -> None:
    tools, cache = tmp_path / "bin", tmp_path / "cache"
    started = tmp_path / "started"
    fake_mmdebstrap(tools, f'echo half > "$target"; echo $$ > {started}.new; mv {started}.new {started}; exec sleep 60')
    program = (
        "import sys; from pathlib import Path; from hardwatt.machines import rootfs\n"
        "folder = Path(sys.argv[1])\n"
        "rootfs.build(folder / 'cache/x.tar', rootfs.Sources('bookworm', (), ()), log=folder / 'log')\n"
    )
    env = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "PYTHONPATH": os.pathsep.join(sys.path)}
    argv = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(argv, env=env, start_new_session=True) as parent:
        wait(started.exists, bool, what="the first build", timeout=20, delay=0.05)
        parent.kill()
    orphan = int(started.read_text())
    fake_mmdebstrap(tools, 'echo whole > "$target"')
    subprocess.run(argv, env=env, check=True, timeout=20)
    assert (cache / "x.tar").read_text() == "whole\n"
    assert not list(cache.glob("tmp.*"))
    assert Process.of(orphan) is None


def test_a_tree_that_is_half_removed_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "machine/root"
    root.mkdir(parents=True)

    def killed(argv: list[str]) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(process, "run", killed)
    with pytest.raises(KeyboardInterrupt):
        rootfs.remove(root)
    assert not root.exists()
    assert (tmp_path / "machine/root.gone").exists()


def test_a_finished_archive_is_not_built_again(tmp_path: Path) -> None:
    target = tmp_path / "x.tar"
    target.touch()
    assert not rootfs.build(target, rootfs.Sources("bookworm", (), ()), log=tmp_path / "log")


def test_a_full_disk_is_told_before_the_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1024**3))
    with pytest.raises(LabError, match="GiB free"):
        rootfs.build(tmp_path / "x.tar", rootfs.Sources("bookworm", (), ()), log=tmp_path / "log")


def test_auto_takes_the_host_of_the_settings_and_says_why(tmp_path: Path) -> None:
    machine = choice.machine_for(lab(tmp_path, host={"address": "192.0.2.9"}))
    assert machine.kind == "ssh"
    assert "192.0.2.9" in machine.why


def test_auto_takes_the_embedded_node_where_it_can_stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_facts, "gather", lambda _: BARE_V1)
    monkeypatch.setattr(facts, "problems", lambda _: [error("tools", "no qemu", "make setup")])
    assert choice.machine_for(lab(tmp_path)).kind == "embedded"
    monkeypatch.setattr(host_facts, "gather", lambda _: dataclasses.replace(BARE_V1, memory=0, is_root=False))
    with pytest.raises(LabError, match=r"root.*memory") as caught:
        choice.machine_for(lab(tmp_path))
    assert "lab.toml" in caught.value.hint


def test_a_machine_of_another_kind_is_not_touched(tmp_path: Path) -> None:
    mine = lab(tmp_path, machine="embedded")
    write_json(mine.dir / "machine.json", {"kind": "vm"})
    with pytest.raises(RefusedError, match="another kind"):
        choice.machine_for(mine).stop()


def test_the_jump_host_s_key_is_learned_as_the_host_s_is(tmp_path: Path, ssh_server: tuple[int, paramiko.PKey]) -> None:
    port, key = ssh_server
    host = {"address": "192.0.2.9", "jump": f"admin@127.0.0.1:{port}"}
    mine = lab(tmp_path, machine="ssh", host=host)
    end = choice.machine_for(mine).endpoint()
    assert (end.jump, end.reverse, end.controller_address) == (f"admin@127.0.0.1:{port}", True, "127.0.0.1")
    with pytest.raises(LabError, match="does not know the host key") as unknown:
        choice.machine_for(mine).start()
    assert unknown.value.hint.startswith("invoke lab.trust 127.0.0.1")
    offered = remote.offer(mine, "127.0.0.1")
    assert remote.learn(mine, offered, fingerprint(key)) == fingerprint(key)
    with pytest.raises(LabError, match=r"host key of 192\.0\.2\.9"):
        require_known(end)
    with pytest.raises(LabError, match=r"'192\.0\.2\.9' and '127\.0\.0\.1', not"):
        remote.offer(mine, "192.0.2.8")
    named = lab(tmp_path, machine="ssh", host={**host, "address": "behind"})
    with pytest.raises(LabError, match=r"is behind admin@127\.0\.0\.1"):
        choice.machine_for(named).endpoint()


def test_an_unknown_host_key_is_refused_and_lab_trust_is_next(
    tmp_path: Path, ssh_server: tuple[int, paramiko.PKey]
) -> None:
    port, key = ssh_server
    mine = lab(tmp_path, machine="ssh", host={"address": "127.0.0.1", "port": port})
    status = choice.machine_for(mine).status()
    assert (status.state, status.hint) == ("dead", "invoke lab.trust 127.0.0.1")
    assert fingerprint(key) in status.detail


class HostKeyOnly(paramiko.ServerInterface):
    """An SSH server that nobody can log in to."""


@pytest.fixture
def ssh_server() -> Iterator[tuple[int, paramiko.PKey]]:
    key = paramiko.ECDSAKey.generate()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            transport = paramiko.Transport(connection)
            transport.add_server_key(key)
            with contextlib.suppress(EOFError, OSError, paramiko.SSHException):  # whoever asked may hang up
                transport.start_server(server=HostKeyOnly())
            transport.join(10)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1], key
        thread.join(10)


def test_a_key_in_the_user_s_known_hosts_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    ssh_server: tuple[int, paramiko.PKey],
) -> None:  # fmt: skip
    port, key = ssh_server
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    users = tmp_path / "home/.ssh/known_hosts"
    users.parent.mkdir(parents=True)
    other = paramiko.RSAKey.generate(1024)
    hashed = paramiko.HostKeys.hash_host(f"[127.0.0.1]:{port}")
    users.write_text(
        f"{hashed} ssh-rsa {other.get_base64()}\n{hashed} {key.get_name()} {key.get_base64()}\n@revoked * x\nnonsense\n"
        "a line of more words\n192.0.2.1 ssh-ed25519 no-base64\n"
    )
    mine = lab(tmp_path, machine="ssh", host={"address": "127.0.0.1", "port": port})
    assert remote.offer(mine).known_to_user()
    end = choice.machine_for(mine).endpoint()
    require_known(end)
    assert f"{key.get_name()} {key.get_base64()}" in mine.known_hosts.read_text()
    assert fingerprint(key) in capsys.readouterr().err
    users.write_text(f"{hashed} {other.get_name()} {other.get_base64()}\n")
    choice.machine_for(mine).endpoint()
    assert other.get_base64() not in mine.known_hosts.read_text(), "what the lab knows stays"


def test_a_revoked_key_in_the_user_s_known_hosts_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    key, other = paramiko.ECDSAKey.generate(), paramiko.RSAKey.generate(1024)
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh/known_hosts").write_text(
        f"192.0.2.9 {key.get_name()} {key.get_base64()}\n192.0.2.9 {other.get_name()} {other.get_base64()}\n"
        f"@revoked * {key.get_name()} {key.get_base64()} leaked\n@revoked *\n"
    )
    mine = lab(tmp_path, machine="ssh", host={"address": "192.0.2.9"})
    assert not remote.Offer("192.0.2.9", 22, key).known_to_user()
    assert remote.Offer("192.0.2.9", 22, other).known_to_user()
    remote.adopt(mine)
    assert key.get_base64() not in mine.known_hosts.read_text()
    assert other.get_base64() in mine.known_hosts.read_text()


@pytest.mark.parametrize(
    ("answer", "learns"),
    [("yes", True), ("no", False), ("", False), ("SHA256:other", False), ("the fingerprint", True), (None, False)],
)
def test_the_offered_key_is_shown_and_asked_for(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    answer: str | None,
    learns: bool,
) -> None:
    key = paramiko.ECDSAKey.generate()
    mine = lab(tmp_path, machine="ssh", host={"address": "127.0.0.1"})
    offered = remote.Offer("127.0.0.1", 22, key)
    monkeypatch.setattr("sys.stdin.isatty", lambda: answer is not None, raising=False)
    monkeypatch.setattr("builtins.input", lambda _: fingerprint(key) if answer == "the fingerprint" else answer)
    if learns:
        remote.learn(mine, offered, remote.asked(offered))
        require_known(choice.machine_for(mine).endpoint())
    else:
        with pytest.raises(LabError) as caught:
            remote.learn(mine, offered, remote.asked(offered))
        assert not mine.known_hosts.exists()
        assert "fingerprint" in caught.value.hint
    shown = capsys.readouterr().out
    assert (fingerprint(key) in shown) == (answer is not None)
    assert ("ssh_host_ecdsa_key.pub" in shown) == (answer is not None)


@pytest.mark.parametrize("right", [True, False])
def test_a_host_is_trusted_by_its_fingerprint_only(
    tmp_path: Path, ssh_server: tuple[int, paramiko.PKey], right: bool
) -> None:
    port, key = ssh_server
    mine = lab(tmp_path, machine="ssh", host={"address": "127.0.0.1", "port": port})
    if right:
        assert remote.learn(mine, remote.offer(mine), fingerprint(key)) == fingerprint(key)
        assert mine.known_hosts.read_text().startswith(f"[127.0.0.1]:{port},[127.0.0.1]:2222 {key.get_name()} ")
        require_known(choice.machine_for(mine).endpoint())
    else:
        with pytest.raises(RefusedError) as caught:
            remote.learn(mine, remote.offer(mine), "SHA256:other")
        assert fingerprint(key) in caught.value.message
        assert "SHA256:other" in caught.value.message
        assert not mine.known_hosts.exists()


def test_a_host_is_never_powered_off(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    choice.machine_for(lab(tmp_path, machine="ssh", host={"address": "192.0.2.9"})).stop()
    assert "stays on" in capsys.readouterr().err


def test_the_shell_uses_the_labs_keys_only() -> None:
    end = Endpoint("t1", "embedded", "10.77.0.2", 22, "root", Path("/k/ssh"), Path("/k/known_hosts"), "", "", {})
    argv = ssh_argv(end)
    assert "StrictHostKeyChecking=yes" in argv
    assert "UserKnownHostsFile=/k/known_hosts" in argv
    assert argv[-1] == "root@10.77.0.2"


def spec(tmp_path: Path, **more: object) -> privileged.Spec:
    given = {"ident": "0a1b2c3d", "hostname": "t1", "folder": str(tmp_path / "lab"), "archive": str(tmp_path / "a.tar"),
             "log": str(tmp_path / "log"), "record": str(tmp_path / "state/hardwatt/host")}  # fmt: skip
    return privileged.Spec(**{**given, **more})  # type: ignore[arg-type]


@pytest.fixture
def sudo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user who is not root, and a sudo that only checks how it is called."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "sudo").write_text('#!/bin/sh\ntest "$1" = -n || exit 99\nshift\nexec "$@"\n')
    (folder / "sudo").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)


@pytest.mark.usefixtures("sudo")
def test_the_part_that_needs_root_answers_through_sudo(tmp_path: Path) -> None:
    (tmp_path / "lab").mkdir()
    first = privileged.call("claim", spec(tmp_path))["subnet"]
    assert first.startswith("10.77.")
    assert privileged.call("claim", spec(tmp_path, reserved=(first,)))["subnet"] == first, "a lab keeps its network"
    other = privileged.call("claim", spec(tmp_path, ident="ffffffff", reserved=("10.77.0.0/17",)))["subnet"]
    assert int(other.split(".")[2]) >= 128


@pytest.mark.usefixtures("sudo")
def test_an_error_of_the_part_that_needs_root_comes_through_with_its_hint(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="taken") as caught:
        privileged.call("claim", spec(tmp_path, reserved=("10.0.0.0/8",)))
    assert "lab.down" in caught.value.hint


def test_a_start_that_was_killed_before_it_had_an_address_is_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = lab(tmp_path, machine="embedded")
    machine = choice.machine_for(mine)
    write_json(mine.dir / "machine.json", {"kind": "embedded", "ident": "0a1b2c3d", "process": None})
    assert machine.status().state == "stopped"
    with pytest.raises(LabError, match="no machine"):
        machine.endpoint()
    called: list[str] = []

    def call(verb: str, _: privileged.Spec, **more: object) -> dict[str, object]:
        called.append(verb)
        return {"restored": [], "cleaned": []}

    monkeypatch.setattr(privileged, "call", call)
    machine.destroy()
    assert called == ["stop", "destroy"]
    assert machine.status().state == "absent"
