"""A small mirror for tests: a lock of a few artefacts and binaries of a few bytes."""

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hardwatt.config import versions
from hardwatt.config.lab import Lab
from hardwatt.config.settings import parse
from hardwatt.mirror.binary_source import BinarySource
from hardwatt.mirror.download import Upstream
from hardwatt.mirror.fill import Filler
from hardwatt.mirror.index import Index
from hardwatt.mirror.plan import Job, is_current, jobs

ARCH = versions.machine_arch()
_SOURCE = {"version": "1.36.3", "kind": "own", "family": "kubernetes", "sha256": "unresolved"}
DATA: dict[str, Any] = {
    "schema": 1,
    "go": "1.2.3",
    "revision": 1,
    "source": {
        "kubelet": {**_SOURCE, "binaries": {"kubelet": ""}},
        "pause": {**_SOURCE, "version": "3.10.2", "family": "pause", "binaries": {"pause": ""}},
        "crane": {**_SOURCE, "version": "0.22.0", "family": "crane", "binaries": {"crane": ""}},
        "registry": {**_SOURCE, "version": "3.1.2", "family": "registry", "binaries": {"registry": ""}},
        "app": {**_SOURCE, "version": "1.0.0", "family": "app", "binaries": {"app": ""}},
    },
    "package": {"kubelet": {"group": "node", "source": "kubelet", "upstream": "1.36.3-*"}},
    "image": {
        "pause": {
            "group": "node", "source": "pause", "repository": "registry.k8s.io/pause",
            "tag": "{version}", "upstream": "3.10.2", "digest": "unresolved",
        },
        "app": {
            "group": "gitops", "source": "app", "repository": "hardwatt.dev/app",
            "tag": "v{version}", "upstream": "", "digest": "unresolved",
        },
    },
    "tool": {name: {"group": "node", "source": name} for name in ("crane", "registry")},
    "foreign": {
        "kepler": {"repository": "quay.io/x/kepler", "tag": "v0.11.4", "digest": "unresolved"},
    },
}  # fmt: skip


def lock(**source_changes: Mapping[str, Any]) -> versions.Lock:
    """Return the small lock, with keys of its sources changed."""
    data = copy.deepcopy(DATA)
    for name, changes in source_changes.items():
        data["source"][name].update(changes)
    return versions.parse(data)


def lab(tmp_path: Path, **mirror: str) -> Lab:
    """Return a lab that lives in ``tmp_path`` altogether, its cache too."""
    from hardwatt.config.settings import Settings

    settings = parse(Settings, {"name": "lab-test", "mirror": {"cache": str(tmp_path / "cache"), **mirror}}, "test")
    root = Path(__file__).resolve().parents[2]
    return Lab(settings, root, tmp_path / "lab")


class Builds:
    """A double of the Go builds: a file of a few bytes for each binary, and a record of what was asked."""

    def __init__(self, folder: Path, content: str = "") -> None:
        self.folder = folder
        self.content = content
        self.asked: list[str] = []

    def __call__(self, family: str) -> dict[str, Path]:
        self.asked.append(family)
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / family
        path.write_text(f"#!/bin/sh\necho {family} {self.content}\n")
        return {family: path, "kubelet": path}


def filler(
    lab: Lab, lock: versions.Lock, build: Callable[[str], Mapping[str, Path]], *, mode: str = "build", base: str = ""
) -> Filler:
    """Return a run of fill over the small lock."""
    root = lab.cache / "mirror"
    (root / "tmp").mkdir(parents=True, exist_ok=True)
    supply = BinarySource(
        mode=mode, arch=ARCH, downloads=lab.cache / "downloads", work=root / "tmp", upstream=Upstream(base), build=build
    )
    return Filler(root, ARCH, lab.logs / "mirror.log", lock=lock, supply=supply)


def wanted(lock: versions.Lock) -> list[Job]:
    """Return the jobs of a lock whose families are what their name says."""
    return jobs(lock, ARCH, lambda family: f"key of {family}")


def pending(root: Path, lock: versions.Lock) -> list[Job]:
    """Return what the mirror in ``root`` lacks."""
    index = Index.read(root)
    return [job for job in wanted(lock) if not is_current(job, index.find(job.kind, job.full), root)]
