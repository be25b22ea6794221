"""The recipe of the root filesystem, and its archive after a kill or on a full disk."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hardwatt.core import process
from hardwatt.core.errors import LabError
from hardwatt.core.process import Process
from hardwatt.core.wait import wait
from hardwatt.machines import rootfs

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
