"""The real mirror of this machine: what nodes are served is what the index says (slow when cold)."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hardwatt.config import versions
from hardwatt.config.lab import Lab, open_lab
from hardwatt.core import process
from hardwatt.core.errors import CommandError
from hardwatt.core.wait import wait
from hardwatt.mirror import fill, servers
from hardwatt.mirror.index import Index
from hardwatt.mirror.served import Served
from tests.mirror.test_packages import apt_get

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """A lab of our own on the cache that all labs share."""
    found = open_lab()
    lab = Lab(found.settings, found.root, tmp_path_factory.mktemp("lab"))
    fill.fill(lab, only="node")
    return lab


@pytest.fixture(scope="module")
def served(lab: Lab) -> Iterator[Served]:
    yield servers.serve(lab, "127.0.0.1")
    servers.stop_serving(lab)


@pytest.mark.mirror
def test_a_second_fill_makes_nothing(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    before = (lab.cache / "mirror" / "index.json").stat().st_mtime_ns
    fill.fill(lab, only="node")
    assert (lab.cache / "mirror" / "index.json").stat().st_mtime_ns == before
    assert capsys.readouterr().err == ""
    assert fill.missing(lab, only="node") == []


@pytest.mark.mirror
def test_every_image_is_served_under_its_hosts_prefix_by_tag_and_digest(lab: Lab, served: Served) -> None:
    index = fill.load(lab)
    crane = index.tool("crane")
    assert index.images
    for image in index.images:
        path = f"{served.registry}/{image.name}"
        assert process.run([crane, "digest", f"{path}:{image.tag}"]).stdout.strip() == image.digest
        process.run([crane, "validate", "--fast", "--remote", f"{path}@{image.digest}"])


@pytest.mark.mirror
def test_what_is_served_cannot_be_changed(lab: Lab, served: Served) -> None:
    index = fill.load(lab)
    pause = index.get("image", "pause")
    with pytest.raises(CommandError):
        process.run(
            [index.tool("crane"), "push", index.root / pause.path, f"{served.registry}/registry.k8s.io/pause:new"]
        )


@pytest.mark.mirror
def test_apt_brings_a_kubelet_that_runs(lab: Lab, served: Served, tmp_path: Path) -> None:
    version = fill.load(lab).debs["kubelet"]
    line = f"deb [arch={versions.machine_arch()} signed-by={served.key_path}] {served.apt_url} stable main"
    apt_get(tmp_path, line, "update")
    apt_get(tmp_path, line, "download", f"kubelet={version}")
    process.run(["dpkg-deb", "-x", next(tmp_path.glob("kubelet_*.deb")), tmp_path / "root"])
    said = process.run([tmp_path / "root" / "usr" / "bin" / "kubelet", "--version"]).stdout
    assert said.strip() == f"Kubernetes v{version.partition('+')[0]}"


def fill_node(folder: str) -> None:
    """Fill the part of the mirror that a node needs, for a lab in ``folder``; runs in a process that is killed."""
    ours = open_lab()
    fill.fill(Lab(ours.settings, ours.root, Path(folder)), only="node")


@pytest.mark.mirror
@pytest.mark.long
def test_a_killed_fill_goes_on(lab: Lab, tmp_path: Path) -> None:
    """Kill -9 three times on the way; what was whole before is not made again."""
    cache = tmp_path / "cache" / "hardwatt"
    cache.mkdir(parents=True)
    (cache / "built").symlink_to(lab.cache / "built")
    program = f"from tests.mirror.test_real_mirror import fill_node; fill_node({str(tmp_path / 'lab')!r})"
    env = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache"), "PYTHONPATH": str(ROOT)}
    root = cache / "mirror"
    for count in (2, 6, 9):
        child = subprocess.Popen([sys.executable, "-c", program], env=env, start_new_session=True)
        wait(lambda: len(Index.read(root).artefacts), lambda held, count=count: held >= count,  # type: ignore[misc]
             what=f"{count} artefacts", timeout=300, delay=0.02)  # fmt: skip
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    before = {a.name: (root / a.path).stat().st_mtime_ns for a in Index.read(root).artefacts}
    process.run(
        [sys.executable, "-c", program], env={"XDG_CACHE_HOME": str(tmp_path / "cache"), "PYTHONPATH": str(ROOT)}
    )
    index = Index.read(root)
    assert {(a.kind, a.name): a.digest for a in index.artefacts if a.group == "node"} == {
        (a.kind, a.name): a.digest for a in fill.load(lab).artefacts if a.group == "node"
    }
    after = {a.name: (root / a.path).stat().st_mtime_ns for a in index.artefacts}
    assert before.items() <= after.items()
    assert list((root / "tmp").glob("registry-*")) == []
