import shutil
import subprocess
from pathlib import Path

import pytest

from hardwatt.config.lab import Lab, open_lab
from hardwatt.config.settings import ROOT, Settings
from hardwatt.config.versions import lock
from hardwatt.gitops.repository import Repository
from hardwatt.mirror.index import Artefact, Index

GENERATED = "clusters/generated/lab"


def artefact(name: str, version: str, group: str = "gitops") -> Artefact:
    digest = "sha256:" + name.encode().hex().ljust(64, "0")[:64]
    return Artefact(name, "image", group, version, "built", "built here", digest, "", "key")


def locked_index(root: Path) -> Index:
    """The images of a lab as the lock names them, with made-up digests."""
    images = [
        artefact(entry.repository, f"{entry.upstream or 'v0'}_lab.1", entry.group) for entry in lock().images.values()
    ]
    return Index(root, tuple(images))


@pytest.fixture
def index(tmp_path: Path) -> Index:
    return locked_index(tmp_path / "mirror")


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    """A lab with the default settings and the checkout's own clusters."""
    return Lab(Settings(name="test"), ROOT, tmp_path / "lab")


@pytest.fixture
def remote(tmp_path: Path) -> Path:
    """An empty bare repository, as deploys/git_server.py makes it."""
    path = tmp_path / "remote.git"
    subprocess.run(["git", "init", "--quiet", "--bare", "--initial-branch=main", str(path)], check=True)
    subprocess.run(["git", "-C", str(path), "config", "receive.denyNonFastForwards", "true"], check=True)
    return path


@pytest.fixture
def repo(tmp_path: Path, remote: Path) -> Repository:
    return Repository(tmp_path / "copy.git", str(remote), "main", "test")


class User:
    """A person with a clone of the lab's repository."""

    def __init__(self, remote: Path, folder: Path) -> None:
        self.folder = folder
        subprocess.run(["git", "clone", "--quiet", str(remote), str(folder)], check=True, capture_output=True)
        self.git("config", "user.name", "Ada")
        self.git("config", "user.email", "ada@example.org")

    def git(self, *arguments: str) -> str:
        done = subprocess.run(["git", "-C", str(self.folder), *arguments], check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def commit(self, path: str, text: str | None, message: str = "my change") -> str:
        """Pull, write (or delete) one file, commit and push; return the commit."""
        self.git("pull", "--quiet", "--rebase", "origin", "main")
        file = self.folder / path
        if text is None:
            file.unlink()
        else:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        self.git("add", "--all")
        self.git("commit", "--quiet", "-m", message)
        self.git("push", "--quiet", "origin", "HEAD:main")
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def user(tmp_path: Path, remote: Path) -> User:
    return User(remote, tmp_path / "clone")


def find_tool(name: str) -> str:
    """Return the mirror's program, else what was built for it, else the machine's; skip where there is none."""
    cache = open_lab().cache
    built = sorted((cache / "built").rglob(name), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in (cache / "mirror" / "tools" / name, *built):
        if path.is_file():
            return str(path)
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not built yet (invoke mirror.fill)")
    return found


@pytest.fixture(scope="session")
def kubectl() -> str:
    """A kubectl that can build kustomizations."""
    return find_tool("kubectl")
