"""Export, import, and images that somebody brings."""

import dataclasses
import hashlib
import io
import json
import platform
import re
import shutil
import tarfile
from pathlib import Path
from typing import Any

import pytest

from hardwatt.config import versions
from hardwatt.config.lab import Lab
from hardwatt.core import files
from hardwatt.core.errors import LabError, RefusedError, VerifyError
from hardwatt.machines import rootfs
from hardwatt.mirror import apt, archive, distro, fill, image_import, oci, registry
from hardwatt.mirror.index import Artefact, Index
from tests.mirror import small


@pytest.fixture(autouse=True)
def pushed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record pushes instead of starting a registry."""
    names: list[str] = []

    def push(root: Path, images: list[Artefact], **_: object) -> None:
        names.extend(f"{image.name}:{image.version}" for image in images)

    monkeypatch.setattr(registry, "push", push)
    monkeypatch.setattr(registry, "holds", lambda *_: False)
    return names


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    folder = tmp_path_factory.mktemp("filled")
    lab, lock = small.lab(folder), small.lock()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "push", lambda *_, **__: None)
        small.filler(lab, lock, small.Builds(folder / "built")).run(small.wanted(lock))
    files.write_atomic(node_archive(lab), b"a root filesystem")
    files.write_atomic(lab.cache / "rootfs" / "older.tar", b"of another recipe")
    return lab


def node_archive(lab: Lab) -> Path:
    """Return where the machine keeps the archive that nodes' root filesystems are made of."""
    return rootfs.archive(lab.cache, distro.release().codename, platform.machine())


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_export_is_the_same_each_time_and_says_its_size(filled: Lab, tmp_path: Path) -> None:
    one = archive.export(filled, tmp_path / "one")
    two = archive.export(filled, tmp_path / "two")
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert one.size == two.size == sum(map(len, contents(tmp_path / "one").values()))
    assert str(one.size) in str(one)
    for suffix in (".tar", ".tar.gz"):
        tars = [archive.export(filled, tmp_path / f"{name}{suffix}").path.read_bytes() for name in "ab"]
        assert tars[0] == tars[1]
    assert archive.export(filled, tmp_path / "one").digest == one.digest  # an older export is replaced


def test_an_export_holds_no_key(filled: Lab, tmp_path: Path) -> None:
    archive.export(filled, tmp_path / "out")
    found = contents(tmp_path / "out")
    assert "index.json" in found
    assert not any(b"PRIVATE KEY" in data for data in found.values())


def test_a_file_system_of_another_release_is_said(
    filled: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    archive.export(filled, tmp_path / "out")
    monkeypatch.setattr(distro, "release", lambda: distro.Release("debian", "another"))
    archive.import_(small.lab(tmp_path / "second"), tmp_path / "out")
    assert "this machine (another) makes its own" in capsys.readouterr().err


def test_an_export_over_something_else_is_refused(filled: Lab, tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.txt").write_text("x")
    with pytest.raises(RefusedError, match="something else"):
        archive.export(filled, tmp_path / "precious")
    assert (tmp_path / "precious" / "thesis.txt").exists()


def test_an_empty_mirror_is_not_exported(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="the mirror is empty"):
        archive.export(small.lab(tmp_path), tmp_path / "out")


@pytest.mark.parametrize("name", ["out", "out.tar", "out.tar.gz"])
def test_a_second_lab_has_all_of_it_with_a_key_of_its_own(
    filled: Lab, tmp_path: Path, name: str, pushed: list[str]
) -> None:
    archive.export(filled, tmp_path / name)
    second = small.lab(tmp_path / "second")
    index = archive.import_(second, tmp_path / name)
    before = fill.load(filled)
    assert {(a.kind, a.name): a.digest for a in index.artefacts} == {
        (a.kind, a.name): a.digest for a in before.artefacts
    }
    assert {a.source for a in index.artefacts} == {"imported"}
    assert small.pending(index.root, small.lock()) == []
    assert index.tool("crane").stat().st_mode & 0o777 == 0o755
    assert node_archive(second).read_bytes() == b"a root filesystem"
    assert len(list(node_archive(second).parent.iterdir())) == 1
    assert apt.public_key(index.root).read_text() != apt.public_key(before.root).read_text()
    assert sorted(pushed) == ["hardwatt.dev/app:v1.0.0_lab.1", "registry.k8s.io/pause:3.10.2_lab.1"]
    assert not (second.cache / "go").exists()


@pytest.mark.parametrize("part", ["debs/kubelet", "images/registry.k8s.io/pause", "tools/crane", "rootfs", "index"])
def test_a_changed_file_is_refused_by_name_and_nothing_is_placed(filled: Lab, tmp_path: Path, part: str) -> None:
    archive.export(filled, tmp_path / "out")
    victim = next(path for path in sorted(contents(tmp_path / "out")) if path.startswith(part))
    (tmp_path / "out" / victim).write_bytes(b"changed")
    second = small.lab(tmp_path / "second")
    with pytest.raises(VerifyError, match=re.escape(victim)):
        archive.import_(second, tmp_path / "out")
    assert fill.load(second).artefacts == ()


def test_a_lost_file_and_a_cut_archive_are_refused(filled: Lab, tmp_path: Path) -> None:
    archive.export(filled, tmp_path / "out")
    (tmp_path / "out" / "tools" / "crane").unlink()
    with pytest.raises(VerifyError, match="lacks tools/crane"):
        archive.import_(small.lab(tmp_path / "second"), tmp_path / "out")
    archive.export(filled, tmp_path / "out.tar")
    data = (tmp_path / "out.tar").read_bytes()
    (tmp_path / "out.tar").write_bytes(data[: len(data) // 2])
    with pytest.raises(VerifyError, match=r"not a whole tar|lacks"):
        archive.import_(small.lab(tmp_path / "second"), tmp_path / "out.tar")


def test_sums_that_agree_with_a_changed_file_do_not_help(filled: Lab, tmp_path: Path) -> None:
    """Who changes a package and its sum still has not the digest that the index names."""
    archive.export(filled, tmp_path / "out")
    crane = tmp_path / "out" / "tools" / "crane"
    right = files.sha256(crane)
    crane.write_bytes(b"changed")
    sums = tmp_path / "out" / "SHA256SUMS"
    sums.write_text(sums.read_text().replace(right, files.sha256(crane)))
    with pytest.raises(VerifyError, match="tools/crane is not the tool"):
        archive.import_(small.lab(tmp_path / "second"), tmp_path / "out")


# --- images that somebody brings ---------------------------------------------------------------


def layer(text: str) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        info = tarfile.TarInfo("file")
        info.size = len(text)
        tar.addfile(info, io.BytesIO(text.encode()))
    return data.getvalue()


def layout(folder: Path, reference: str, arch: str = small.ARCH) -> str:
    """Write an OCI layout with one image; return its digest."""
    made = oci.Layout(folder)
    blob = made.add_layer([oci.Entry("/kepler", b"program")])
    return made.finish([blob], oci.Config(("/kepler",)), arch=arch, reference=reference)


def docker_save(folder: Path, tags: list[str], arch: str = small.ARCH) -> None:
    """Write what ``docker save`` wrote before it wrote OCI layouts."""
    folder.mkdir()
    data = layer("program")
    (folder / "layer.tar").write_bytes(data)
    diff = f"sha256:{hashlib.sha256(data).hexdigest()}"
    config = {"architecture": arch, "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": [diff]}}
    (folder / "config.json").write_text(json.dumps(config))
    manifest = [{"Config": "config.json", "RepoTags": tags, "Layers": ["layer.tar"]}]
    (folder / "manifest.json").write_text(json.dumps(manifest))


def place(folder: Path, tmp_path: Path, name: str = "", **lock: Any) -> Index:
    root = tmp_path / "mirror"
    with fill.held(root):
        return image_import.place(folder, root, small.lock(**lock), small.ARCH, origin="stick.tar", name=name)


def test_an_oci_layout_is_taken_as_it_is(tmp_path: Path) -> None:
    digest = layout(tmp_path / "in", "quay.io/x/kepler:v0.11.4")
    index = place(tmp_path / "in", tmp_path)
    image = index.image("quay.io/x/kepler")
    assert (image.name, image.tag, image.digest) == ("quay.io/x/kepler", "v0.11.4", digest)
    artefact = index.get("image", "quay.io/x/kepler")
    assert (artefact.source, artefact.group) == ("imported", "extra")
    assert "as brought" in artefact.verified
    oci.verify(index.root / artefact.path, digest)


def test_of_an_index_the_image_for_this_machine_is_taken(tmp_path: Path) -> None:
    ours = layout(tmp_path / "in", "x:1")
    outer = files.read_json(tmp_path / "in" / "index.json")["manifests"][0]
    inner = {**outer, "platform": {"architecture": small.ARCH, "os": "linux"}}
    other = {**outer, "digest": "sha256:" + "0" * 64, "platform": {"architecture": "s390x", "os": "linux"}}
    data = json.dumps({"schemaVersion": 2, "mediaType": oci.INDEX_TYPE, "manifests": [other, inner]}).encode()
    digest = hashlib.sha256(data).hexdigest()
    (tmp_path / "in" / "blobs" / "sha256" / digest).write_bytes(data)
    oci.write_index(
        tmp_path / "in", oci.Blob(f"sha256:{digest}", len(data), oci.INDEX_TYPE), "docker.io/grafana/grafana:12"
    )
    assert place(tmp_path / "in", tmp_path).image("grafana").digest == ours


def test_a_docker_archive_keeps_its_configuration_and_layers(tmp_path: Path) -> None:
    docker_save(tmp_path / "in", ["grafana/grafana:12.0.0"])
    index = place(tmp_path / "in", tmp_path)
    artefact = index.get("image", "grafana")
    assert (artefact.name, artefact.version) == ("docker.io/grafana/grafana", "12.0.0")
    blobs = {path.read_bytes() for path in (index.root / artefact.path / "blobs" / "sha256").iterdir()}
    assert {(tmp_path / "in" / name).read_bytes() for name in ("config.json", "layer.tar")} <= blobs
    oci.verify(index.root / artefact.path, artefact.digest)


def test_an_archive_that_does_not_say_its_name_needs_one(tmp_path: Path) -> None:
    layout(tmp_path / "in", "latest")
    with pytest.raises(LabError, match="does not say which image") as caught:
        place(tmp_path / "in", tmp_path)
    assert "--name" in caught.value.hint
    assert place(tmp_path / "in", tmp_path, name="quay.io/x/kepler:v0.11.4").image("quay.io/x/kepler").tag == "v0.11.4"


def test_wrong_content_is_refused(tmp_path: Path) -> None:
    layout(tmp_path / "in", "quay.io/x/kepler:v0.11.4")
    blob = max((tmp_path / "in" / "blobs" / "sha256").iterdir(), key=lambda path: path.stat().st_size)
    blob.write_bytes(b"x")
    with pytest.raises(VerifyError, match="another checksum"):
        place(tmp_path / "in", tmp_path)
    blob.unlink()
    with pytest.raises(VerifyError, match="lacks"):
        place(tmp_path / "in", tmp_path)
    docker_save(tmp_path / "docker", ["x.io/a:1"])
    (tmp_path / "docker" / "layer.tar").write_bytes(layer("other"))
    with pytest.raises(VerifyError, match="another checksum"):
        place(tmp_path / "docker", tmp_path)
    docker_save(tmp_path / "s390x", ["x.io/a:1"], arch="s390x")
    with pytest.raises(VerifyError, match="is for s390x"):
        place(tmp_path / "s390x", tmp_path)
    assert Index.read(tmp_path / "mirror").artefacts == ()


def test_something_else_is_refused_with_what_is_taken(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with pytest.raises(VerifyError, match="neither an export, nor an OCI image layout"):
        place(tmp_path / "in", tmp_path)


def test_an_image_that_the_mirror_makes_is_refused(tmp_path: Path) -> None:
    layout(tmp_path / "in", "registry.k8s.io/pause:3.10.2")
    with pytest.raises(RefusedError, match="makes itself"):
        place(tmp_path / "in", tmp_path)


@pytest.mark.parametrize("own", ["registry.k8s.io/pause", "hardwatt.dev/app"])
def test_an_image_with_the_last_name_part_of_a_labs_own_is_refused(tmp_path: Path, own: str) -> None:
    last = own.rpartition("/")[2]
    docker_save(tmp_path / "in", [f"a.example/{last}:3.10"])
    with pytest.raises(RefusedError, match=f"a.example/{last} has the last name part of {own}") as caught:
        place(tmp_path / "in", tmp_path)
    assert "--name" in caught.value.hint
    assert Index.read(tmp_path / "mirror").artefacts == ()
    assert place(tmp_path / "in", tmp_path, name=f"a.example/my-{last}:3.10").has_image(f"a.example/my-{last}")


@pytest.mark.parametrize("name", sorted(versions.lock().foreign))
def test_an_optional_image_is_taken_under_its_own_name(tmp_path: Path, name: str) -> None:
    entry = versions.lock().foreign[name]
    layout(tmp_path / "in", f"{entry.repository}:v1")
    with fill.held(tmp_path / "mirror"):
        index = image_import.place(tmp_path / "in", tmp_path / "mirror", versions.lock(), small.ARCH, origin="a.tar")
    assert index.image(name) == index.image(entry.repository)
    assert index.image(name).tag == "v1"


@pytest.mark.parametrize("last", ["pause", "kube-apiserver", "etcd", "coredns", "kepler"])
def test_a_short_name_is_the_locks_image_and_no_other(tmp_path: Path, last: str) -> None:
    """Also in an index that was written before such an image was refused."""
    index = Index(tmp_path)
    brought = Artefact(f"a.example/{last}", "image", "extra", "1", "imported", "", "", "", "")
    only = index.with_artefact(brought)
    assert not only.has_image(last)
    with pytest.raises(LabError, match="holds no image"):
        only.image(last)
    own = versions.lock().repository(last)
    both = only.with_artefact(dataclasses.replace(brought, name=own, version="2"))
    read = Index.from_dict(tmp_path, both.to_dict())
    assert (read.image(last).name, both.image(last).name) == (own, own)
    assert read.image(f"a.example/{last}").tag == "1"


def test_import_takes_a_tar_and_serves_it_once_there_are_tools(
    filled: Lab, tmp_path: Path, pushed: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    layout(tmp_path / "in", "quay.io/x/kepler:v0.11.4")
    shutil.make_archive(str(tmp_path / "kepler"), "tar", tmp_path / "in")
    fresh = small.lab(tmp_path / "fresh")
    assert archive.import_(fresh, tmp_path / "kepler.tar").has_image("quay.io/x/kepler")
    assert pushed == []
    assert "invoke mirror.fill" in capsys.readouterr().err
    archive.export(filled, tmp_path / "out")
    archive.import_(fresh, tmp_path / "out")
    assert "quay.io/x/kepler:v0.11.4" in pushed


def test_a_path_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="does not exist"):
        archive.import_(small.lab(tmp_path), tmp_path / "nothing")
