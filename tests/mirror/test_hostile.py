"""Image archives and exports whose maker means harm: refused by name, nothing placed, nothing outside."""

import dataclasses
import hashlib
import json
import os
import shutil
import signal
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hardwatt.config.lab import Lab
from hardwatt.core import files, untrusted
from hardwatt.core.errors import LabError, RefusedError, VerifyError
from hardwatt.core.untrusted import Limits
from hardwatt.mirror import apt, archive, commit, distro, fill, image_import, imports, names, oci, plan, registry
from hardwatt.mirror.index import Artefact, Index
from tests.mirror import small
from tests.mirror.test_archive import contents, docker_save, layer, layout, node_archive, place

PRECIOUS = "thesis.txt"
GOOD = "quay.io/x/kepler:v0.11.4"


@pytest.fixture(autouse=True)
def _not_published(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is published follows from the index; here it is about what gets into the index."""
    monkeypatch.setattr(fill.Publisher, "publish", lambda *_: None)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of an honest export with a root filesystem."""
    folder = tmp_path_factory.mktemp("made")
    lab, lock = small.lab(folder), small.lock()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "push", lambda *_, **__: None)
        small.filler(lab, lock, small.Builds(folder / "built")).run(small.wanted(lock))
        files.write_atomic(node_archive(lab), b"a root filesystem")
        archive.export(lab, folder / "export")
    return folder / "export"


@pytest.fixture
def export(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "export"))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return a folder with things of worth beside the mirror's cache."""
    folder = tmp_path / "home" / "Documents"
    folder.mkdir(parents=True)
    (folder / PRECIOUS).write_text("years of work")
    return folder


def sums(export: Path) -> str:
    """Make the list of sums agree with what is there; return its own sum."""
    found = {p: d for p, d in contents(export).items() if p != archive.SUMS}
    lines = [f"{hashlib.sha256(data).hexdigest()}  {path}\n" for path, data in sorted(found.items())]
    (export / archive.SUMS).write_text("".join(lines))
    return files.sha256(export / archive.SUMS)


def edit(export: Path, change: Callable[[dict[str, Any]], None], name: str = "crane") -> None:
    """Change one entry of an export's index, and make the sums agree."""
    index = files.read_json(export / "index.json")
    change(next(entry for entry in index["artefacts"] if entry["name"] == name))
    files.write_json(export / "index.json", index)
    sums(export)


def refused(export: Path, tmp_path: Path, said: str, **options: Any) -> LabError:
    """Import into a lab of its own; check that it is refused and that nothing was placed."""
    lab = small.lab(tmp_path / "second")
    with pytest.raises(LabError, match=said) as caught:
        archive.import_(lab, export, **options)
    root = fill.mirror_root(lab)
    assert {str(p.relative_to(lab.cache)) for p in lab.cache.rglob("*") if p.is_file()} <= {"mirror/.lock"}
    assert not list((root / "tmp").iterdir())
    assert str(caught.value).replace("\n", "").isprintable()
    assert caught.value.hint
    return caught.value


# --- names of images ---------------------------------------------------------------------------

BAD_NAMES = [
    "a.b/../../home:Documents",
    "a.b/../../../home:Documents",
    "quay.io/x/kepler:..",
    "quay.io/x/kepler:.",
    "a.b/x/../../../home/Documents:..",
    "../../home:Documents",
    "/home/x:1",
    "a.b//x:1",
    "a.b/./x:1",
    "a.b/x/:1",
    "a.b/X:1",
    "A.B/x:1",
    "a.b/x:" + "t" * 129,
    "a.b/" + "x" * 300 + ":1",
    "a.b/x\n:1",
    "a.b/x:1\n",
    "a.b/\x1b[2J:1",
    "a.b\\..\\x:1",
    "a.b/x y:1",
    "a.b/x:$(id)",
    "a.b/-x:1",
    "a.b/x:-1",
    "-a.b/x:1",
    "a..b/x:1",
    "localhost:5000/x:1",
    "[::1]/x:1",
    "a.b/\u0455:1",
    "a.b/x:1@sha256:../..",
    "a.b/x:1@md5:00",
    "a.b/_manifests/x:1",
]


@pytest.mark.parametrize("said", BAD_NAMES)
def test_the_name_of_an_image_chooses_no_path(tmp_path: Path, home: Path, said: str) -> None:
    layout(tmp_path / "in", said)
    docker_save(tmp_path / "docker", [said])
    for folder in ("in", "docker"):
        before = contents(tmp_path / folder)
        with pytest.raises(LabError, match=r"not an image's name|does not say which image|names a digest") as caught:
            place(tmp_path / folder, tmp_path)
        assert "--name" in caught.value.hint
        assert str(caught.value).replace("\n", "").isprintable()
        assert contents(tmp_path / folder) == before
        with pytest.raises(LabError):
            names.reference(said)
    assert (home / PRECIOUS).read_text() == "years of work"
    assert not (tmp_path / "mirror" / "images").exists()


@pytest.mark.parametrize("said", [None, 3, ["a.b/x:1"], {"a": 1}])
def test_a_name_that_is_no_text(tmp_path: Path, said: Any) -> None:
    layout(tmp_path / "in", said)
    with pytest.raises(LabError, match="archive"):
        place(tmp_path / "in", tmp_path)


@pytest.mark.parametrize(
    ("said", "repository", "tag"),
    [
        ("pause:3.10", "docker.io/library/pause", "3.10"),
        ("grafana/grafana:12.0.0", "docker.io/grafana/grafana", "12.0.0"),
        ("quay.io/a_b/c__d/e--f.g:V_1.2-3", "quay.io/a_b/c__d/e--f.g", "V_1.2-3"),
        ("localhost/x:1", "localhost/x", "1"),
        (f"quay.io/x/kepler:1@sha256:{'0' * 64}", "quay.io/x/kepler", "1"),
    ],
)
def test_honest_names_stay_possible(said: str, repository: str, tag: str) -> None:
    assert names.reference(said) == (repository, tag)
    assert names.image_path(repository, tag) == Path("images") / repository / tag


@pytest.mark.parametrize("name", ["quay.io/x:kepler", "quay.io/x/kepler/v0.11.4:blobs", "registry.k8s.io/pause/x:1"])
def test_an_image_does_not_lie_in_another_ones_folder(tmp_path: Path, name: str) -> None:
    layout(tmp_path / "first", GOOD)
    before = contents(place(tmp_path / "first", tmp_path).root)
    layout(tmp_path / "in", name)
    with pytest.raises(RefusedError, match="in one folder"):
        place(tmp_path / "in", tmp_path)
    after = contents(tmp_path / "mirror")
    assert {p: d for p, d in after.items() if not p.startswith("tmp/")} == before


# --- what an image archive names inside ---------------------------------------------------------


def test_a_file_outside_is_no_configuration_and_no_layer(tmp_path: Path) -> None:
    (tmp_path / "outside.json").write_text(json.dumps({"architecture": small.ARCH}))
    outside = str(tmp_path / "outside.json")
    for number, (key, value) in enumerate([
        ("Config", "../outside.json"), ("Config", outside), ("Config", "link.json"), ("Config", None), ("Config", "."),
        ("Layers", ["../outside.json"]), ("Layers", [outside]), ("Layers", ["link.json"]), ("Layers", [3]),
        ("Layers", []), ("Layers", "layer.tar"),
    ]):  # fmt: skip
        folder = tmp_path / f"{number}"
        docker_save(folder, ["a.b/x:1"])
        (folder / "link.json").symlink_to(outside)
        item = json.loads((folder / "manifest.json").read_text())[0]
        (folder / "manifest.json").write_text(json.dumps([{**item, key: value}]))
        with pytest.raises(VerifyError):
            place(folder, tmp_path)
    assert not (tmp_path / "mirror" / "images").exists()


def test_names_that_are_checksums_are_compared(tmp_path: Path) -> None:
    wrong = "0" * 64
    for number, (key, name) in enumerate([("Config", f"{wrong}.json"), ("Layers", f"blobs/sha256/{wrong}")]):
        folder = tmp_path / f"{number}"
        docker_save(folder, ["a.b/x:1"])
        item = json.loads((folder / "manifest.json").read_text())[0]
        old = item[key] if key == "Config" else item[key][0]
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / old).rename(folder / name)
        (folder / "manifest.json").write_text(json.dumps([{**item, key: name if key == "Config" else [name]}]))
        with pytest.raises(VerifyError, match="another checksum"):
            place(folder, tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"digest": "sha256:../../outside"},
        {"digest": "../../outside"},
        {"digest": "md5:" + "0" * 32},
        {"digest": "SHA256:" + "0" * 64},
        {"digest": "sha256:" + "A" * 64},
        {"digest": ""},
        {"digest": None},
        {"size": 1},
        {"size": -1},
        {"size": "5"},
        {"size": True},
        {"mediaType": "text/html"},
        {"mediaType": None},
        {"mediaType": {}},
    ],
    ids=str,
)
def test_a_descriptor_is_matched_wherever_it_stands(tmp_path: Path, change: dict[str, Any]) -> None:
    def manifest_with(part: Callable[[dict[str, Any]], dict[str, Any]]) -> bytes:
        index = files.read_json(tmp_path / "in" / "index.json")
        digest = index["manifests"][0]["digest"].removeprefix("sha256:")
        found = files.read_json(tmp_path / "in" / "blobs" / "sha256" / digest)
        part(found).update(change)
        return json.dumps(found).encode()

    for part in (lambda m: m["config"], lambda m: m["layers"][0], None):
        shutil.rmtree(tmp_path / "in", ignore_errors=True)
        layout(tmp_path / "in", GOOD)
        if part:
            data = manifest_with(part)
            digest = hashlib.sha256(data).hexdigest()
            (tmp_path / "in" / "blobs" / "sha256" / digest).write_bytes(data)
            oci.write_index(tmp_path / "in", oci.Blob(f"sha256:{digest}", len(data), oci.MANIFEST_TYPE), GOOD)
        else:
            index = files.read_json(tmp_path / "in" / "index.json")
            index["manifests"][0].update(change)
            files.write_json(tmp_path / "in" / "index.json", index)
        with pytest.raises(VerifyError):
            place(tmp_path / "in", tmp_path)
    assert not (tmp_path / "mirror" / "images").exists()


def test_indexes_inside_indexes_end(tmp_path: Path) -> None:
    layout(tmp_path / "in", GOOD)
    for _ in range(6):
        outer = files.read_json(tmp_path / "in" / "index.json")["manifests"][0]
        inner = {"schemaVersion": 2, "manifests": [{**outer, "platform": {"architecture": small.ARCH}}]}
        data = json.dumps(inner).encode()
        digest = hashlib.sha256(data).hexdigest()
        (tmp_path / "in" / "blobs" / "sha256" / digest).write_bytes(data)
        oci.write_index(tmp_path / "in", oci.Blob(f"sha256:{digest}", len(data), oci.INDEX_TYPE), GOOD)
    with pytest.raises(VerifyError, match="more than 4 indexes"):
        place(tmp_path / "in", tmp_path)


def test_an_image_of_another_machine_is_refused(tmp_path: Path) -> None:
    layout(tmp_path / "in", GOOD, arch="s390x")
    with pytest.raises(VerifyError, match="is for s390x"):
        place(tmp_path / "in", tmp_path)


def test_of_two_images_both_are_placed_or_none(tmp_path: Path) -> None:
    layout(tmp_path / "in", GOOD)
    first = files.read_json(tmp_path / "in" / "index.json")["manifests"][0]

    def with_second(reference: str, **changes: Any) -> None:
        annotations = {"org.opencontainers.image.ref.name": reference}
        index = {"schemaVersion": 2, "manifests": [first, {**first, "annotations": annotations, **changes}]}
        files.write_json(tmp_path / "in" / "index.json", index)

    for reference, changes in [("a.b/x:1", {"digest": "sha256:" + "0" * 64}), ("a.b/../x:1", {})]:
        with_second(reference, **changes)
        with pytest.raises(LabError):
            place(tmp_path / "in", tmp_path)
        assert Index.read(tmp_path / "mirror").artefacts == ()
        assert not (tmp_path / "mirror" / "images").exists()
    with_second("a.b/x:1")
    with pytest.raises(LabError, match="--name is for one"):
        place(tmp_path / "in", tmp_path, name="a.b/y:1")
    assert len(place(tmp_path / "in", tmp_path).images) == 2


def test_two_tags_of_one_repository_are_one_image_or_refused(tmp_path: Path) -> None:
    docker_save(tmp_path / "in", ["a.b/x:1"])
    item = json.loads((tmp_path / "in" / "manifest.json").read_text())[0]
    same = {**item, "RepoTags": ["a.b/x:2"]}
    (tmp_path / "in" / "manifest.json").write_text(json.dumps([item, same]))
    assert place(tmp_path / "in", tmp_path).image("a.b/x").tag == "1"
    data = layer("another program")
    (tmp_path / "in" / "other.tar").write_bytes(data)
    config = json.loads((tmp_path / "in" / "config.json").read_text())
    config["rootfs"]["diff_ids"] = [f"sha256:{hashlib.sha256(data).hexdigest()}"]
    (tmp_path / "in" / "other.json").write_text(json.dumps(config))
    other = {"Config": "other.json", "Layers": ["other.tar"], "RepoTags": ["a.b/x:2"]}
    (tmp_path / "in" / "manifest.json").write_text(json.dumps([item, other]))
    with pytest.raises(RefusedError, match=r"two images of a\.b/x: 1 and 2"):
        place(tmp_path / "in", tmp_path)


def variants(value: Any) -> Iterator[Any]:
    """Yield copies of a JSON value with each part in turn missing or of another type."""
    others = (None, 3, "x", [None], {"a": None})
    yield from others
    if isinstance(value, dict):
        for key in value:
            yield {k: v for k, v in value.items() if k != key}
            yield from ({**value, key: changed} for changed in variants(value[key]))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield value[:number] + value[number + 1 :]
            yield from ([*value[:number], changed, *value[number + 1 :]] for changed in variants(item))


@pytest.mark.parametrize("kind", ["docker manifest", "docker config", "layout index", "layout manifest"])
def test_each_part_of_another_shape_ends_with_one_error(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "in"
    docker_save(folder, ["a.b/x:1"]) if "docker" in kind else layout(folder, GOOD)
    index = folder / "index.json"
    first = files.read_json(index)["manifests"][0]["digest"] if index.exists() else ""
    file = {
        "docker manifest": folder / "manifest.json",
        "docker config": folder / "config.json",
        "layout index": index,
        "layout manifest": folder / "blobs" / "sha256" / first.removeprefix("sha256:"),
    }[kind]
    tried = list(variants(json.loads(file.read_text())))
    taken = 0
    for changed in tried:
        data = json.dumps(changed).encode()
        if kind == "layout manifest":
            digest = hashlib.sha256(data).hexdigest()
            (file.parent / digest).write_bytes(data)
            oci.write_index(folder, oci.Blob(f"sha256:{digest}", len(data), oci.MANIFEST_TYPE), GOOD)
        else:
            file.write_bytes(data)
        try:
            place(folder, tmp_path)
            taken += 1
        except LabError as error:
            assert error.hint
    assert len(tried) > 40 and taken < len(tried)
    assert {path.name for path in tmp_path.iterdir()} == {"in", "mirror"}


# --- exports -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "extra",
    ["rootfs/{node}", "rootfs/other.tar", "tools/kubectl", "keys/private.asc", "hidden/.x", "index.json.part", ".x"],
)
@pytest.mark.parametrize("packed", [False, True], ids=["folder", "tar"])
def test_a_file_that_is_not_listed_is_refused_by_name(export: Path, tmp_path: Path, extra: str, packed: bool) -> None:
    name = extra.format(node=node_archive(small.lab(tmp_path)).name)
    if (export / name).exists():  # the list without it
        text = (export / archive.SUMS).read_text().splitlines(keepends=True)
        (export / archive.SUMS).write_text("".join(line for line in text if name not in line))
    files.write_atomic(export / name, b"added later")
    path = export
    if packed:
        path = Path(shutil.make_archive(str(tmp_path / "export"), "tar", export))
        shutil.rmtree(export)
    refused(path, tmp_path, f"'{name}', which its SHA256SUMS does not list")


@pytest.mark.parametrize(
    "name",
    ["rootfs/other.tar", "keys/private.asc", "debs/openssh-server_9_amd64.deb", "tools/sudo", "apt/hardwatt.asc"],
)
def test_a_listed_file_without_an_artefact_is_refused_by_name(export: Path, tmp_path: Path, name: str) -> None:
    files.write_atomic(export / name, b"of somebody")
    sums(export)
    refused(export, tmp_path, f"'{name}' of the export belongs to no artefact")


def test_a_blob_that_no_manifest_names_is_refused(export: Path, tmp_path: Path) -> None:
    pause = next(p for p in contents(export) if p.startswith("images/") and p.endswith("index.json"))
    files.write_atomic(export / Path(pause).parent / "blobs" / "sha256" / ("0" * 64), b"x")
    sums(export)
    refused(export, tmp_path, "belongs to no artefact")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{sum}  /etc/passwd", "is absolute"),
        ("{sum}  ../outside", "does not stay below"),
        ("{sum}  ./tools/crane", "twice|lists"),
        ("  tools/crane", "not a SHA-256 and a path"),
        ("0123  tools/crane", "not a SHA-256 and a path"),
        ("{SUM}  tools/crane", "not a SHA-256 and a path"),
        ("{sum} *tools/crane", "not a SHA-256 and a path"),
        ("{sum}  tools/crane", "twice"),
        ("{sum}  Tools/crane", "twice or beside"),
        ("{sum}  SHA256SUMS", "lists"),
        ("{sum}  a\x1b[2Jb", "control characters"),
        ("{sum}  a\\b", "Windows"),
        ("words", "not a SHA-256 and a path"),
        ("{sum}  nothing", "lacks nothing"),
    ],
)  # fmt: skip
def test_a_line_of_the_sums_that_is_none(export: Path, tmp_path: Path, line: str, said: str) -> None:
    with (export / archive.SUMS).open("a") as file:
        file.write(line.format(sum="a" * 64, SUM="A" * 64) + "\n")
    refused(export, tmp_path, said)


def test_the_sums_are_not_utf8(export: Path, tmp_path: Path) -> None:
    with (export / archive.SUMS).open("ab") as file:
        file.write(b"a" * 64 + b"  \xff\n")
    refused(export, tmp_path, "not UTF-8")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"path": "/etc/cron.d/x"}, "names the path"),
        ({"path": "/etc/cron.d/x", "digest": ""}, "names the path"),
        ({"path": "keys/private.asc"}, "names the path"),
        ({"path": "tools/flux"}, "names the path"),
        ({"path": ""}, "names the path"),
        ({"name": "../keys/private.asc", "path": "keys/private.asc"}, "not a tool's name"),
        ({"name": "x/y", "path": "tools/x/y"}, "not a tool's name"),
        ({"name": ".."}, "not a tool's name"),
        ({"name": "\x1b[2J"}, "not a tool's name"),
        ({"kind": "key"}, "not a kind"),
        ({"kind": "package", "version": "../../x"}, "not a package's name"),
        ({"kind": "image"}, "not an image's name"),
        ({"digest": ""}, "has the digest"),
        ({"digest": "sha256:"}, "has the digest"),
        ({"digest": "sha256:" + "0" * 64}, "is not the tool"),
        ({"group": "root"}, "of the group"),
        ({"size": "large"}, "field"),
        ({"name": 3}, "field"),
        ({"unknown": 1}, "field"),
        ({"name": "registry", "path": "tools/registry"}, "is not the tool|twice"),
    ],
    ids=str,
)
def test_an_index_does_not_choose_where_things_land(
    export: Path, tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    edit(export, lambda entry: entry.update(change))
    refused(export, tmp_path, said)


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{}", b'{"artefacts": 3}', b"\xff", b'{"artefacts": [null]}', b"[" * 9999]
)
@pytest.mark.parametrize("name", ["index.json", "hardwatt-mirror.json"])
def test_a_record_of_an_export_of_another_shape(export: Path, tmp_path: Path, name: str, data: bytes) -> None:
    (export / name).write_bytes(data)
    sums(export)
    refused(export, tmp_path, "export|index|hardwatt-mirror|artefact")


@pytest.mark.long
def test_every_part_of_an_index_of_another_shape_ends_with_one_error(export: Path, tmp_path: Path) -> None:
    """The files themselves are the same in each case: only the index and its sum change."""
    lab = small.lab(tmp_path / "second")
    index = files.read_json(export / "index.json")
    index["artefacts"] = [entry for entry in index["artefacts"] if entry["name"] == "crane"]
    for changed in variants(index):
        (export / "index.json").write_text(json.dumps(changed))
        sums(export)
        with pytest.raises(LabError):  # at least: the other artefacts' files belong to none
            archive.import_(lab, export)
    assert not (lab.cache / "mirror" / "index.json").exists()


def test_a_key_and_a_mode_of_the_mirror_stay(export: Path, tmp_path: Path) -> None:
    lab = small.lab(tmp_path / "second")
    archive.import_(lab, export)
    key = apt.private_key(fill.mirror_root(lab))
    files.write_atomic(key, b"the mirror's own", mode=0o600)
    before = (key.read_bytes(), key.stat().st_mode)
    files.write_atomic(export / "keys" / "private.asc", b"of somebody", mode=0o644)
    sums(export)
    with pytest.raises(VerifyError, match="belongs to no artefact"):
        archive.import_(lab, export)
    assert (key.read_bytes(), key.stat().st_mode) == before


def test_modes_are_the_mirrors_own(export: Path, tmp_path: Path) -> None:
    for path in export.rglob("*"):
        path.chmod(0o7777 if path.is_file() else 0o2777)
    lab = small.lab(tmp_path / "second")
    archive.import_(lab, export)
    root = fill.mirror_root(lab)
    for part in ("tools", "debs", "images"):
        modes = {stat.S_IMODE(p.stat().st_mode) for p in (root / part).rglob("*") if p.is_file()}
        assert modes == ({0o755} if part == "tools" else {0o644})
        assert not any(p.stat().st_mode & 0o7022 for p in (root / part).rglob("*") if p.is_dir())
    assert stat.S_IMODE(node_archive(lab).stat().st_mode) == 0o644


@pytest.mark.parametrize("name", ["SHA256SUMS", "index.json", "tools/crane", "tools", "rootfs"])
def test_a_link_in_the_folder_of_an_export_is_refused(export: Path, tmp_path: Path, name: str) -> None:
    (export / name).rename(tmp_path / "aside")
    (export / name).symlink_to(tmp_path / "aside")
    refused(export, tmp_path, "a link or not a regular file")


def test_one_sum_covers_all_of_an_export(export: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    right = sums(export)
    for number, victim in enumerate(sorted(set(contents(export)) - {archive.SUMS})):
        folder = Path(shutil.copytree(export, tmp_path / f"{number}"))
        (folder / victim).write_bytes((folder / victim).read_bytes() + b" ")
        assert sums(folder) != right, victim
    refused(tmp_path / "0", tmp_path, "the export has the sum", sha256=right)
    lab = small.lab(tmp_path / "third")
    archive.import_(lab, export, sha256=f" {right.upper()} ")
    assert right in capsys.readouterr().err
    assert len(fill.load(lab).artefacts) == 5


def test_the_printed_sum_is_the_one_to_give(made: Path, tmp_path: Path) -> None:
    source, target = small.lab(tmp_path / "a"), small.lab(tmp_path / "b")
    archive.import_(source, made)
    for name in ("out", "out.tar", "out.tar.gz"):
        written = archive.export(source, tmp_path / name)
        assert f"--sha256: {written.digest}" in str(written)
        archive.import_(target, tmp_path / name, sha256=written.digest)


@pytest.mark.parametrize("text", ["abc", "0" * 63, "g" * 64, "md5:" + "0" * 32])
def test_a_sum_that_is_none(export: Path, tmp_path: Path, text: str) -> None:
    with pytest.raises(LabError, match="64 hexadecimal digits"):
        archive.import_(small.lab(tmp_path / "second"), export, sha256=text)


def test_the_sum_of_an_image_archive_is_the_one_of_its_file(tmp_path: Path) -> None:
    layout(tmp_path / "in", GOOD)
    path = Path(shutil.make_archive(str(tmp_path / "kepler"), "tar", tmp_path / "in"))
    lab = small.lab(tmp_path / "lab")
    with pytest.raises(VerifyError, match="has the sum"):
        archive.import_(lab, path, sha256="0" * 64)
    with pytest.raises(LabError, match="a folder with an image"):
        archive.import_(lab, tmp_path / "in", sha256="0" * 64)
    assert archive.import_(lab, path, sha256=files.sha256(path)).has_image("quay.io/x/kepler")


def test_programs_of_the_maker_are_named_before_they_run(
    export: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def publish(*_: object) -> None:
        said = capsys.readouterr().err
        assert "run on this machine, as you: crane, registry" in said
        assert "on nodes, as root: packages kubelet, 2 images, the root filesystem" in said
        raise InterruptedError

    monkeypatch.setattr(fill.Publisher, "publish", publish)
    with pytest.raises(InterruptedError):
        archive.import_(small.lab(tmp_path / "second"), export)


def test_programs_that_the_toolkit_does_not_use_are_left_out(
    export: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    index = files.read_json(export / "index.json")
    crane = next(entry for entry in index["artefacts"] if entry["name"] == "crane")
    files.write_atomic(export / "tools" / "sudo", (export / "tools" / "crane").read_bytes())
    index["artefacts"].append({**crane, "name": "sudo", "path": "tools/sudo"})
    files.write_json(export / "index.json", index)
    sums(export)
    lab = small.lab(tmp_path / "second")
    assert archive.import_(lab, export).find("tool", "sudo") is None
    assert not (fill.mirror_root(lab) / "tools" / "sudo").exists()
    assert "left out: tool sudo" in capsys.readouterr().err


def test_a_root_filesystem_of_another_recipe_is_left_out(
    export: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lab = small.lab(tmp_path / "second")
    node = node_archive(lab).name
    (export / "rootfs" / node).rename(export / "rootfs" / node.replace(node[-16:], "0123456789ab.tar"))
    sums(export)
    archive.import_(lab, export)
    assert not (lab.cache / "rootfs").exists()
    assert "another recipe" in capsys.readouterr().err


def test_a_root_filesystem_that_is_there_is_not_replaced(export: Path, tmp_path: Path) -> None:
    lab = small.lab(tmp_path / "second")
    files.write_atomic(node_archive(lab), b"made here")
    archive.import_(lab, export)
    assert node_archive(lab).read_bytes() == b"made here"


def test_a_tar_of_an_export_with_a_link_is_refused(export: Path, tmp_path: Path) -> None:
    (export / "escape").symlink_to("/etc")
    refused(Path(shutil.make_archive(str(tmp_path / "x"), "tar", export)), tmp_path, "a symbolic link")


# --- kills -------------------------------------------------------------------------------------


def killed_import(lab: Lab, export: Path, moves: int) -> bool:
    """Import in a process that is killed before its n-th move; return True if it was killed."""
    child = os.fork()
    if child == 0:
        done: list[Path] = []
        move = commit._move

        def counted(source: Path, target: Path) -> None:
            if len(done) == moves:
                os.kill(os.getpid(), signal.SIGKILL)
            done.append(target)
            move(source, target)

        commit._move = counted
        try:
            archive.import_(lab, export)
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def test_a_killed_import_is_finished_by_the_next_command(export: Path, tmp_path: Path) -> None:
    whole = {a.name: a.digest for a in Index.read(export).artefacts}
    for moves in range(6):  # five artefacts and the root filesystem
        lab = small.lab(tmp_path / f"{moves}")
        assert killed_import(lab, export, moves)
        root = fill.mirror_root(lab)
        assert not (root / "index.json").exists()
        with fill.held(root):
            assert {a.name: a.digest for a in Index.read(root).artefacts} == whole
        assert not (root / "committed").exists()
        assert small.pending(root, small.lock()) == []
        assert node_archive(lab).read_bytes() == b"a root filesystem"
        archive.import_(lab, export)
    assert not killed_import(small.lab(tmp_path / "last"), export, 6)


def test_an_import_killed_before_its_commit_leaves_nothing(
    export: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = small.lab(tmp_path / "second")
    child = os.fork()
    if child == 0:
        monkeypatch.setattr(commit, "commit", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        try:
            archive.import_(lab, export)
        finally:
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    root = fill.mirror_root(lab)
    assert (root / "tmp" / "staged").exists()
    with fill.held(root):
        assert Index.read(root).artefacts == () and not list((root / "tmp").iterdir())
    assert len(archive.import_(lab, export).artefacts) == 5


# --- the mirror's own files --------------------------------------------------------------------


def test_a_truncated_tool_is_neither_current_nor_used(export: Path, tmp_path: Path) -> None:
    lab, lock = small.lab(tmp_path / "second"), small.lock()
    index = archive.import_(lab, export)
    path = index.tool("crane")
    right = path.read_bytes()
    path.write_bytes(right[:4])
    assert [job.name for job in small.pending(index.root, lock)] == ["crane"]
    with pytest.raises(VerifyError, match="crane of the mirror is damaged"):
        index.tool("crane")
    with pytest.raises(VerifyError, match="tool crane is damaged"):
        archive.export(lab, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert archive.import_(lab, export).tool("crane").read_bytes() == right


def test_a_truncated_image_and_package_are_not_current(export: Path, tmp_path: Path) -> None:
    index = archive.import_(small.lab(tmp_path / "second"), export)
    for artefact in index.artefacts:
        path = index.root / artefact.path
        victim = max((p for p in path.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size, default=path)
        victim.write_bytes(victim.read_bytes()[:4])
        job = next(job for job in small.wanted(small.lock()) if job.full == artefact.name)
        assert not plan.is_current(job, artefact, index.root)


@pytest.mark.parametrize("data", [b"", b'{"artefacts": [', b"[]", b'{"artefacts": [{"name": 1}]}', b"\xff"])
def test_a_damaged_index_of_the_mirror_is_one_error(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "index.json").write_bytes(data)
    with pytest.raises(VerifyError, match="is damaged") as caught:
        Index.read(tmp_path)
    assert "invoke mirror.fill" in caught.value.hint


def test_an_export_replaces_nothing_but_an_export(made: Path, tmp_path: Path) -> None:
    lab = small.lab(tmp_path / "lab")
    archive.import_(lab, made)
    archive.export(lab, tmp_path / "out")
    (tmp_path / "out" / PRECIOUS).write_text("years of work")
    (tmp_path / "isos").mkdir()
    (tmp_path / "isos" / "SHA256SUMS").write_text(f"{'0' * 64}  debian.iso\n")
    (tmp_path / "isos" / "linked.iso").symlink_to(tmp_path / "out")
    (tmp_path / "photos.tar").write_bytes(b"years of work")
    (tmp_path / "notes").write_text("years of work")
    (tmp_path / "link").symlink_to(tmp_path / "isos")
    (tmp_path / "loose").symlink_to(tmp_path / "nothing")
    before = contents(tmp_path)
    for name in ("out", "isos", "photos.tar", "notes", "link", "loose"):
        with pytest.raises(RefusedError, match="something else"):
            archive.export(lab, tmp_path / name)
    assert {p: d for p, d in contents(tmp_path).items() if not p.startswith("lab/")} == {
        p: d for p, d in before.items() if not p.startswith("lab/")
    }
    archive.export(lab, tmp_path / "new" / "folder" / "x.tar")  # its parents are made
    archive.export(lab, tmp_path / "new" / "folder" / "x.tar")  # an older export is replaced
    assert distro.release().codename in Path(node_archive(lab)).name
    assert isinstance(fill.load(lab).artefacts[0], Artefact)
    assert imports.SUMS == archive.SUMS


def repeated(folder: Path, times: int) -> None:
    """List the one image of an archive many times, each time with another tag."""
    file = folder / ("index.json" if (folder / "oci-layout").exists() else "manifest.json")
    document = json.loads(file.read_text())
    items = document["manifests"] if isinstance(document, dict) else document
    first = items[0]
    for number in range(1, times):
        if "RepoTags" in first:
            items.append({**first, "RepoTags": [f"quay.io/x/kepler:v{number}"]})
        else:
            annotations = {"org.opencontainers.image.ref.name": f"quay.io/x/kepler:v{number}"}
            items.append({**first, "annotations": annotations})
    file.write_text(json.dumps(document))


@pytest.mark.parametrize("kind", ["layout", "docker save"])
def test_an_image_that_is_listed_many_times_is_copied_once(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind == "layout":
        layout(tmp_path / "in", GOOD)
    else:
        docker_save(tmp_path / "in", [GOOD])
    repeated(tmp_path / "in", 400)
    copies: list[Path] = []
    take = untrusted.take

    def counted(source: Path, target: Path) -> tuple[str, int]:
        copies.append(source)
        return take(source, target)

    monkeypatch.setattr(image_import, "take", counted)
    index = place(tmp_path / "in", tmp_path)
    assert [image.name for image in index.images] == ["quay.io/x/kepler"]
    assert len(copies) == len(set(copies))


@pytest.mark.parametrize("kind", ["layout", "docker save"])
def test_an_archive_that_lists_thousands_of_images_is_refused(tmp_path: Path, kind: str) -> None:
    if kind == "layout":
        layout(tmp_path / "in", GOOD)
    else:
        docker_save(tmp_path / "in", [GOOD])
    repeated(tmp_path / "in", 2000)
    with pytest.raises(VerifyError, match="lists 2000 images, more than 500"):
        place(tmp_path / "in", tmp_path)
    assert not (tmp_path / "mirror" / "images").exists()


def test_images_that_take_too_much_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout(tmp_path / "in", GOOD)
    monkeypatch.setattr(image_import, "LIMITS", Limits(total=10))
    with pytest.raises(VerifyError, match="take more than 10 bytes"):
        place(tmp_path / "in", tmp_path)


@pytest.mark.parametrize("other", ["evil.example/pause", "quay.io/mine/deep/pause", "evil.example/app"])
def test_an_image_of_an_export_that_is_named_like_the_lab_s_own_is_left_out(
    other: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A node asks for an image by its last name part in places, so another's must never be there."""
    image = Artefact(other, "image", "extra", "1", "imported", "x", f"sha256:{'0' * 64}", "images/x", "")
    assert not imports._needed(image, small.lock(), Index(Path("nowhere")))
    assert f"left out: image {other}, which has the last name part of" in " ".join(capsys.readouterr().err.split())
    apart = dataclasses.replace(image, name="evil.example/pauses")
    assert imports._needed(apart, small.lock(), Index(Path("nowhere")))


def test_images_that_share_their_layers_take_no_more_than_their_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout(tmp_path / "in", GOOD)
    monkeypatch.setattr(image_import, "LIMITS", Limits(grace=10))
    monkeypatch.setattr(image_import, "MOST_COPIES", 0)
    with pytest.raises(VerifyError, match=r"take more than [0-9.]+ bytes"):
        list(image_import._images(tmp_path / "in", tmp_path / "work", "amd64", ""))
