"""The lab's repository as lab.up works with it: fetched, committed on top of, pushed; no work tree.

A commit is made from git's objects alone, so a command that is killed leaves nothing half-done:
until the push, the repository on the node knows nothing of it.
"""

import dataclasses
import datetime
import difflib
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from hardwatt.core.errors import CommandError, LabError, RefusedError
from hardwatt.core.process import Result, run
from hardwatt.gitops.errors import explain
from hardwatt.gitops.merge import Change, blob, changes

TRAILER = "Hardwatt-Lab"
AUTHOR = ("hardwatt", "hardwatt@lab.invalid")
_NOTHING = "0" * 40
_TRIES = 3
TIMEOUT = 60.0


@dataclasses.dataclass(frozen=True)
class Repository:
    """A bare copy of a repository, its address, and how git reaches it."""

    path: Path
    url: str
    branch: str
    lab: str
    env: Mapping[str, str] = dataclasses.field(default_factory=dict, repr=False)
    """What git needs to reach the address: an SSH command, or a password that is on no command line."""

    def git(
        self, *arguments: str, stdin: str | None = None, check: bool = True, env: Mapping[str, str] | None = None
    ) -> Result:
        """Run git in the copy, without the user's own configuration."""
        environment = {
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_AUTHOR_NAME": AUTHOR[0],
            "GIT_AUTHOR_EMAIL": AUTHOR[1],
            "GIT_COMMITTER_NAME": AUTHOR[0],
            "GIT_COMMITTER_EMAIL": AUTHOR[1],
            **self.env,
            **(env or {}),
        }
        argv = ["git", "--git-dir", str(self.path), *arguments]
        return run(argv, env=environment, stdin=stdin, check=check, timeout=TIMEOUT, hint="invoke lab.status")

    def fetch(self) -> str:
        """Bring the copy up to date; return the branch's commit (empty: the repository has none).

        Raises ``GitServerError`` where the server is down, or refuses.
        """
        try:
            self._fetch()
        except CommandError as error:
            if ".lock" not in error.stderr:
                raise explain(self.url, error) from error
            # A killed git left its lock; the copy is only a copy.
            shutil.rmtree(self.path)
            self._fetch()
        return self.head()

    @property
    def ssh_command(self) -> str:
        """Return the command with which SSH reaches the address; empty where SSH does not."""
        return self.env.get("GIT_SSH_COMMAND", "")

    def _fetch(self) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        self.git("init", "--quiet", "--bare")
        self.git("fetch", "--quiet", "--prune", "--no-tags", self.url, "+refs/heads/*:refs/remotes/lab/*")

    def head(self) -> str:
        """Return the branch's commit as last fetched."""
        name = f"refs/remotes/lab/{self.branch}"
        return self.git("rev-parse", "--verify", "--quiet", name, check=False).stdout.strip()

    def tree(self, commit: str) -> dict[str, str]:
        """Return path -> blob of a commit (none: an empty tree)."""
        if not commit:
            return {}
        lines = self.git("ls-tree", "-r", "-z", commit).stdout.split("\0")
        return {path: meta.split()[2] for meta, _, path in (line.partition("\t") for line in lines if line)}

    def committed(self, commit: str) -> dict[str, str]:
        """Return path -> the blob that this lab's lab.up committed last; a file that it deleted is left out."""
        if not commit:
            return {}
        log = self.git(
            "log", f"--grep=^{TRAILER}: {self.lab}$", "--format=", "--raw", "--no-abbrev", "--no-renames", "-z", commit
        ).stdout.lstrip("\0\n")
        fields = [field for field in log.split("\0") if field.strip()]
        last: dict[str, str] = {}
        for meta, path in zip(fields[::2], fields[1::2], strict=True):
            last.setdefault(path, meta.split()[3])
        return {path: name for path, name in last.items() if name != _NOTHING}

    def text(self, commit: str, path: str) -> str:
        """Return a file of a commit, or nothing where it has none."""
        return self.git("show", f"{commit}:{path}", check=False).stdout if commit else ""

    def last_author(self, commit: str, path: str) -> str:
        """Return who changed a file last, in one line."""
        form = "--format=%h by %an, %ad: %s"
        return self.git("log", "-1", form, "--date=iso", commit, "--", path).stdout.strip()

    def plan(self, files: Mapping[str, str], *, generated: str) -> list[Change]:
        """Return what ``publish`` would do, from what was fetched last."""
        commit = self.head()
        ours = {path: blob(text) for path, text in files.items()}
        return changes(ours, self.tree(commit), self.committed(commit), generated=generated)

    def difference(self, files: Mapping[str, str], changed: Sequence[Change]) -> str:
        """Return the changes as a unified diff: the repository's side, then lab.up's."""
        commit = self.head()
        parts: list[str] = []
        for change in changed:
            theirs = self.text(commit, change.path).splitlines(keepends=True)
            ours = files.get(change.path, "").splitlines(keepends=True)
            names = (f"repository/{change.path}", f"lab.up/{change.path}")
            parts += difflib.unified_diff(theirs, ours, *names)
        return "".join(parts)

    def publish(self, files: Mapping[str, str], *, generated: str) -> list[str]:
        """Commit and push what differs; return the changed paths (none: nothing was committed).

        Raises ``RefusedError`` with both sides where somebody else changed a file too.
        """
        for attempt in range(_TRIES):
            commit = self.fetch()
            changed = self.plan(files, generated=generated)
            self._refuse_conflicts(files, [change for change in changed if change.kind == "conflict"])
            if not changed:
                return []
            try:
                self._push(self._commit(commit, files, changed))
            except LabError:
                # Somebody pushed in between: look again, from their commit on.
                if attempt == _TRIES - 1 or self.fetch() == commit:
                    raise
            else:
                return [change.path for change in changed]
        raise LabError(f"the branch {self.branch} of {self.url} keeps moving", hint="run the command again")

    def edit(self, path: str, text: str, message: str) -> str:
        """Commit one file on top of what was fetched last, as a person would, and push; return the commit.

        Without lab.up's mark: lab.up takes the file for a person's from now on.
        """
        commit = self._commit(self.head(), {path: text}, [Change(path, "write")], message=f"{message}\n")
        self._push(commit)
        return commit

    def _refuse_conflicts(self, files: Mapping[str, str], conflicts: Sequence[Change]) -> None:
        if not conflicts:
            return
        commit = self.head()
        who = "\n".join(f"  {change.path}: {self.last_author(commit, change.path)}" for change in conflicts)
        raise RefusedError(
            f"in the lab's repository somebody changed what lab.up would change too:\n{who}\n"
            f"{self.difference(files, conflicts)}",
            hint="invoke gitops.clone FOLDER; there revert that commit, or commit lab.up's side (the lines with +), "
            "and push; then run the command again",
        )

    def _commit(self, parent: str, files: Mapping[str, str], changed: Sequence[Change], *, message: str = "") -> str:
        """Return a new commit on top of ``parent``, made in an index of its own."""
        with tempfile.TemporaryDirectory(dir=self.path) as folder:
            index = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
            if parent:
                self.git("read-tree", parent, env=index)
            self.git("update-index", "-z", "--index-info", stdin=self._entries(files, changed), env=index)
            tree = self.git("write-tree", env=index).stdout.strip()
        paths = ", ".join(change.path for change in changed[:3]) + (", ..." if len(changed) > 3 else "")
        message = message or f"lab.up: {len(changed)} file(s): {paths}\n\n{TRAILER}: {self.lab}\n"
        now = f"@{int(datetime.datetime.now(datetime.UTC).timestamp())} +0000"
        parents = ["-p", parent] if parent else []
        dates = {"GIT_AUTHOR_DATE": now, "GIT_COMMITTER_DATE": now}
        return self.git("commit-tree", tree, *parents, stdin=message, env=dates).stdout.strip()

    def _entries(self, files: Mapping[str, str], changed: Sequence[Change]) -> str:
        """Return the input of ``update-index --index-info``; writes the blobs that it names."""
        entries = []
        for change in changed:
            if change.kind == "delete":
                entries.append(f"0 {_NOTHING}\t{change.path}\0")
                continue
            name = self.git("hash-object", "-w", "--stdin", stdin=files[change.path]).stdout.strip()
            entries.append(f"100644 {name}\t{change.path}\0")
        return "".join(entries)

    def _push(self, commit: str) -> None:
        try:
            self.git("push", "--quiet", self.url, f"{commit}:refs/heads/{self.branch}")
        except CommandError as error:
            raise explain(f"{self.url}, branch {self.branch},", error) from error
        self.git("update-ref", f"refs/remotes/lab/{self.branch}", commit)
