"""The workload repository: manifests with a revision, committed here and pushed over SSH, in every arm alike."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from hardwatt.core.errors import LabError
from hardwatt.core.files import sha256, write_atomic
from hardwatt.core.process import Result, run
from hardwatt.experiment.plan.study_model import WORKLOADS, Workload
from hardwatt.experiment.testbed.rollouts import REVISION

BRANCH = "main"
KUSTOMIZATION = "kustomization.yaml"
TIMEOUT = 30.0


def kustomization(base: Mapping[str, Any], workload: Workload, digest: str, revision: str) -> str:
    """Return the kustomization of one revision: only the annotation differs between two revisions."""
    annotations = {**base.get("commonAnnotations", {}), REVISION: revision}
    return str(
        yaml.safe_dump(
            {
                **base,
                "namespace": workload.namespace,
                "commonAnnotations": annotations,
                "images": [{"name": workload.image, "digest": digest}],
                "replicas": [{"name": workload.app, "count": workload.replicas}],
            },
            sort_keys=False,
        )
    )


def manifests(root: Path, workload: Workload) -> dict[str, str]:
    """Return name -> text of the workload's files, the kustomization aside.

    Raises ``LabError`` where the folder or its kustomization is missing.
    """
    folder = root / WORKLOADS / workload.manifests
    if not (folder / KUSTOMIZATION).exists():
        raise LabError(f"{folder} has no {KUSTOMIZATION}", hint="see experiments/README.md")
    files = sorted(path for path in folder.glob("*.yaml") if path.name != KUSTOMIZATION)
    return {path.name: path.read_text() for path in files}


def base_kustomization(root: Path, workload: Workload) -> dict[str, Any]:
    """Return the workload's own kustomization as data."""
    text = (root / WORKLOADS / workload.manifests / KUSTOMIZATION).read_text()
    return dict(yaml.safe_load(text))


def code_hashes(root: Path, paths: list[Path]) -> dict[str, str]:
    """Return path (relative to the checkout) -> SHA-256, for files that decide what a run does."""
    return {path.relative_to(root).as_posix(): sha256(path) for path in sorted(paths)}


class WorkingCopy:
    """A clone of the workload repository on the controller."""

    def __init__(self, path: Path, url: str, ssh_command: str) -> None:
        self.path = path
        self.url = url
        self._env = {
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_SSH_COMMAND": ssh_command,
            **{f"GIT_{who}_{what}": value for who in ("AUTHOR", "COMMITTER")
               for what, value in (("NAME", "hardwatt"), ("EMAIL", "hardwatt@lab.invalid"))},
        }  # fmt: skip

    def open(self) -> None:
        """Have the clone at the repository's last commit, whatever an interrupted run left here."""
        self.path.mkdir(parents=True, exist_ok=True)
        if not (self.path / ".git" / "HEAD").exists():
            self._git("init", "--quiet", f"--initial-branch={BRANCH}")
        for stale in (self.path / ".git").glob("*.lock"):
            stale.unlink()  # of a git that was killed; the lab's lock keeps others away
        self._git("fetch", "--quiet", self.url, "+refs/heads/*:refs/remotes/lab/*")
        if self._git("rev-parse", "--verify", "--quiet", f"refs/remotes/lab/{BRANCH}", check=False).returncode == 0:
            self._git("reset", "--quiet", "--hard", f"refs/remotes/lab/{BRANCH}")

    def commit(self, files: Mapping[str, str], message: str) -> str:
        """Commit these files (path -> text); return the commit's hash. Nothing is sent."""
        for name, text in files.items():
            write_atomic(self.path / name, text)
        self._git("add", "--all")
        self._git("commit", "--quiet", "--allow-empty", f"--message={message}")
        return self._git("rev-parse", "HEAD").stdout.strip()

    def push(self) -> None:
        """Send the branch to the repository."""
        self._git("push", "--quiet", self.url, f"HEAD:refs/heads/{BRANCH}")

    def _git(self, *arguments: str, check: bool = True) -> Result:
        argv = ["git", "-C", str(self.path), "-c", "gc.auto=0", *arguments]
        return run(argv, env=self._env, check=check, timeout=TIMEOUT, hint="invoke lab.status")
