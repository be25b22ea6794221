"""Filling: what is made, once, and what survives a kill, a full disk or a wrong download."""

import errno
import hashlib
import io
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from hardwatt.config import versions
from hardwatt.core.errors import LabError
from hardwatt.mirror import apt, fill, oci, registry
from hardwatt.mirror.build import go_build
from hardwatt.mirror.index import Artefact, Index
from hardwatt.mirror.plan import Job, is_asked, is_current, is_made, upstream_index
from tests.mirror import small
from tests.mirror.standin import Standin, serving


@pytest.fixture(autouse=True)
def pushed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record what is published instead of starting a registry (the end-to-end test starts the real one)."""
    names: list[str] = []

    def push(root: Path, images: list[Artefact], **_: object) -> None:
        for image in images:
            oci.verify(root / image.path, image.digest)
            names.append(f"{image.name}:{image.version}")

    def publish(root: Path, packages: list[Path], _: str) -> bool:
        names.append(" ".join(path.name for path in packages if path.is_file()))
        return True

    monkeypatch.setattr(apt, "publish", publish)  # the real one has tests of its own
    monkeypatch.setattr(registry, "push", push)
    monkeypatch.setattr(registry, "holds", lambda _, image: f"{image.name}:{image.version}" in names)
    return names


@pytest.fixture
def standin() -> Iterator[Standin]:
    with serving() as running:
        yield running


def test_everything_is_made_recorded_and_published(tmp_path: Path, pushed: list[str]) -> None:
    lab, lock, build = small.lab(tmp_path), small.lock(), small.Builds(tmp_path / "built")
    index = small.filler(lab, lock, build).run(small.wanted(lock))
    assert set(index.artefacts) == set(Index.read(lab.cache / "mirror").artefacts)
    assert index.debs == {"kubelet": "1.36.3+lab.1"}
    assert index.image("pause").name == "registry.k8s.io/pause"
    assert index.image("hardwatt.dev/app").tag == "v1.0.0_lab.1"
    assert index.tool("crane").read_text().startswith("#!/bin/sh")
    assert index.tool("crane").stat().st_mode & 0o777 == 0o755
    assert pushed == [
        f"kubelet_1.36.3+lab.1_{small.ARCH}.deb",
        "registry.k8s.io/pause:3.10.2_lab.1",
        "hardwatt.dev/app:v1.0.0_lab.1",
    ]
    assert small.pending(index.root, lock) == []
    assert {artefact.source for artefact in index.artefacts} == {"built"}


def test_the_node_comes_first_and_its_tools_before_its_images() -> None:
    order = [(job.group, job.kind) for job in small.wanted(small.lock())]
    assert order.index(("node", "image")) > order.index(("node", "tool"))
    assert [group for group, _ in order] == sorted((group for group, _ in order), key=versions.GROUPS.index)


def test_what_is_optional_is_made_only_where_it_is_named_and_kept_once_it_is_there(tmp_path: Path) -> None:
    def artefact(name: str) -> Artefact:
        return Artefact(name, "image", "ci", "v1_lab.1", "built", "x", "sha256:aa", "p", "k")

    job = Job("image", "buildbot", "ci", "kubectl", "hardwatt.dev/buildbot", "v1_lab.1", "key")
    bare = Index(tmp_path)
    assert not is_asked(job, "", bare)
    assert not is_asked(job, "gitops", bare)
    assert is_asked(job, "ci", bare)
    assert is_asked(job, "", bare.with_artefact(artefact("hardwatt.dev/buildbot")))
    assert all(is_asked(one, "", bare) for one in small.wanted(small.lock()))


def test_the_same_binaries_give_the_same_digests(tmp_path: Path) -> None:
    lock = small.lock()
    digests = []
    for number in "12":
        lab = small.lab(tmp_path / number)
        index = small.filler(lab, lock, small.Builds(tmp_path / number / "built")).run(small.wanted(lock))
        digests.append({(a.kind, a.name): a.digest for a in index.artefacts})
    assert digests[0] == digests[1]


def test_a_kill_costs_only_what_was_being_made(tmp_path: Path) -> None:
    lab, lock = small.lab(tmp_path), small.lock()

    class Killed(BaseException):
        pass

    class Dying(small.Builds):
        def __call__(self, family: str) -> dict[str, Path]:
            if family == "kubernetes":
                raise Killed
            return super().__call__(family)

    first = Dying(tmp_path / "built")
    with pytest.raises(Killed):
        small.filler(lab, lock, first).run(small.wanted(lock))
    root = lab.cache / "mirror"
    left = small.pending(root, lock)
    assert {job.name for job in left} == {"kubelet", "pause", "app"}
    second = small.Builds(tmp_path / "built")
    small.filler(lab, lock, second).run(left)
    assert first.asked == ["crane", "registry"]
    assert second.asked == ["kubernetes", "pause", "app"]
    assert small.pending(root, lock) == []


def test_a_changed_version_makes_again_only_what_it_touches(tmp_path: Path) -> None:
    lab, lock = small.lab(tmp_path), small.lock()
    small.filler(lab, lock, small.Builds(tmp_path / "built")).run(small.wanted(lock))
    newer = small.lock(kubelet={"version": "1.36.4"})
    left = small.pending(lab.cache / "mirror", newer)
    assert [(job.kind, job.name, job.version) for job in left] == [("package", "kubelet", "1.36.4+lab.1")]
    index = small.filler(lab, newer, small.Builds(tmp_path / "built")).run(left)
    assert index.debs == {"kubelet": "1.36.4+lab.1"}
    assert [path.name for path in (index.root / "debs").iterdir()] == [f"kubelet_1.36.4+lab.1_{small.ARCH}.deb"]


def test_what_vanished_from_the_disk_is_made_again(tmp_path: Path) -> None:
    lab, lock = small.lab(tmp_path), small.lock()
    index = small.filler(lab, lock, small.Builds(tmp_path / "built")).run(small.wanted(lock))
    shutil.rmtree(index.root / index.get("image", "pause").path)
    index.tool("crane").unlink()
    assert {job.name for job in small.pending(index.root, lock)} == {"pause", "crane"}


def archive(member: str, content: bytes) -> bytes:
    """Return a .tar.gz with one file."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        info = tarfile.TarInfo(member)
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
    return packed.getvalue()


def downloadable(standin: Standin, content: bytes, *, served: bytes | None = None) -> versions.Lock:
    """Return a lock whose pause comes in an archive from the stand-in, and serve ``served`` there."""
    standin.files["/example.org/3.10.2/pause.tgz"] = content if served is None else served
    data = {
        "kind": "archive", "url": "https://example.org/{version}/pause.tgz", "place": "a release page",
        "binaries": {"pause": "bin/pause"}, "sha256": {small.ARCH: hashlib.sha256(content).hexdigest()},
    }  # fmt: skip
    return small.lock(pause=data)


def run_auto(tmp_path: Path, lock: versions.Lock, base: str, mode: str = "auto") -> tuple[Index, small.Builds]:
    lab, build = small.lab(tmp_path), small.Builds(tmp_path / "built")
    index = small.filler(lab, lock, build, mode=mode, base=base).run(small.wanted(lock))
    return index, build


def test_auto_takes_what_the_lock_can_verify_and_builds_the_rest(tmp_path: Path, standin: Standin) -> None:
    lock = downloadable(standin, archive("bin/pause", b"upstream's own"))
    index, build = run_auto(tmp_path, lock, standin.base)
    pause = index.get("image", "pause")
    assert (pause.source, "a release page" in pause.verified) == ("downloaded", True)
    assert "pause" not in build.asked
    assert index.get("tool", "crane").source == "built"


def test_a_wrong_download_is_deleted_and_built_instead(
    tmp_path: Path, standin: Standin, capsys: pytest.CaptureFixture[str]
) -> None:
    lock = downloadable(standin, archive("bin/pause", b"right"), served=archive("bin/pause", b"wrong"))
    index, build = run_auto(tmp_path, lock, standin.base)
    assert index.get("image", "pause").source == "built"
    assert "pause" in build.asked
    assert "pause is built here instead" in capsys.readouterr().err.replace("\n", " ")
    assert list((tmp_path / "cache" / "downloads").iterdir()) == []


def test_an_archive_without_the_binary_is_built_instead(tmp_path: Path, standin: Standin) -> None:
    index, build = run_auto(tmp_path, downloadable(standin, archive("other", b"x")), standin.base)
    assert index.get("image", "pause").source == "built"
    assert "pause" in build.asked


def test_a_missing_file_is_built_instead(tmp_path: Path, standin: Standin) -> None:
    lock = downloadable(standin, archive("bin/pause", b"x"))
    standin.files.clear()
    assert run_auto(tmp_path, lock, standin.base)[0].get("image", "pause").source == "built"


def test_build_never_asks_upstream(tmp_path: Path, standin: Standin) -> None:
    lock = downloadable(standin, archive("bin/pause", b"x"))
    index, _ = run_auto(tmp_path, lock, standin.base, mode="build")
    assert standin.asked == []
    assert index.get("image", "pause").source == "built"


def test_an_unreachable_upstream_is_asked_once(
    tmp_path: Path, standin: Standin, capsys: pytest.CaptureFixture[str]
) -> None:
    data = {
        "kind": "file", "url": "https://example.org/x", "place": "somewhere", "sha256": {small.ARCH: "0" * 64},
    }  # fmt: skip
    lock = small.lock(pause=data, app=data, crane=data)
    index, _ = run_auto(tmp_path, lock, "http://127.0.0.1:1")
    assert {artefact.source for artefact in index.artefacts} == {"built"}
    assert capsys.readouterr().err.count("upstream is not reachable") == 1


def test_what_was_downloaded_does_not_count_in_build_mode(tmp_path: Path, standin: Standin) -> None:
    lock = downloadable(standin, archive("bin/pause", b"upstream's own"))
    index, _ = run_auto(tmp_path, lock, standin.base)
    job = next(job for job in small.wanted(lock) if job.name == "pause")
    found = index.find("image", "registry.k8s.io/pause")
    assert is_current(job, found, index.root, "auto")
    assert not is_current(job, found, index.root, "build")


def test_a_disk_nearly_full_is_refused_before_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=2_000_000_000))
    lab = small.lab(tmp_path)
    with pytest.raises(LabError, match=r"2\.0 GB are free .* may take") as caught:
        fill.fill(lab)
    assert "mirror.cache" in caught.value.hint
    assert not (lab.cache / "mirror" / "index.json").exists()


def test_a_disk_that_fills_up_is_an_error_with_a_hint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> dict[str, Path]:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(go_build, "build", full)
    monkeypatch.setattr(fill, "_require_space", lambda *_: None)
    with pytest.raises(LabError, match="is full") as caught:
        fill.fill(small.lab(tmp_path, mode="build"))
    assert "same command" in caught.value.hint


def test_the_settings_name_a_proxy_for_upstream(
    tmp_path: Path, standin: Standin, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = downloadable(standin, archive("bin/pause", b"upstream's own"))
    build = small.Builds(tmp_path / "built")
    monkeypatch.setattr(go_build, "build", lambda family, **_: build(family))
    monkeypatch.setattr(fill, "_require_space", lambda *_: None)
    lab = small.lab(tmp_path, upstream=standin.base)
    index = fill.fill(lab, lock=lock, only="node")
    assert index.get("image", "pause").source == "downloaded"
    assert index.find("image", "app") is None
    assert fill.fill(lab, lock=lock).has_image("app")
    assert build.asked.count("crane") == 1


def test_upstream_mode_names_upstreams_versions_and_makes_only_tools_and_our_own(tmp_path: Path) -> None:
    lab, lock = small.lab(tmp_path, mode="upstream"), small.lock()
    index = fill.load(lab, lock=lock)
    assert index.debs == {"kubelet": "1.36.3-*"}
    assert index.image("pause").reference == "registry.k8s.io/pause:3.10.2"
    made = {job.name for job in small.wanted(lock) if is_made(job, lock, "upstream")}
    assert made == {"app", "crane", "registry"}
    assert not (lab.cache / "mirror" / "index.json").exists()


def test_an_unknown_group_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="no group 'nodes'") as caught:
        fill.fill(small.lab(tmp_path), only="nodes")
    assert caught.value.hint == "invoke mirror.fill --only node"
    with pytest.raises(LabError, match="no group 'qqq' of artefacts; groups: node, gitops"):
        fill.fill(small.lab(tmp_path), only="qqq")


def test_left_overs_of_a_killed_run_are_removed(tmp_path: Path) -> None:
    root = tmp_path / "mirror"
    (root / "tmp" / "half").mkdir(parents=True)
    (root / "tmp" / "half" / "file").write_text("x")
    with fill.held(root):
        assert list((root / "tmp").iterdir()) == []


def test_upstream_mode_names_what_only_upstreams_registries_hold() -> None:
    """The node pulls it: nothing is left out there but what the lock has no tag of."""
    lock = versions.lock()
    index = upstream_index(Index(Path("none")), lock)
    for name, entry in lock.foreign.items():
        assert index.has_image(entry.repository) is (entry.tag != versions.UNRESOLVED), name
    assert index.image("kepler").reference == "quay.io/sustainable_computing_io/kepler:v0.11.4"
