"""A lab: its settings, its place on disk and its lock."""

import contextlib
import dataclasses
import fcntl
import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

from hardwatt.config import settings as settings_module
from hardwatt.config.settings import Settings
from hardwatt.core.errors import LockedError

LOCKS = Path("/proc/locks")


@dataclasses.dataclass(frozen=True)
class Lab:
    """One lab of this checkout. What it makes lies under ``dir``; caches are shared by all."""

    settings: Settings
    root: Path
    dir: Path
    companions: dict[type, object] = dataclasses.field(default_factory=dict, init=False, repr=False, compare=False)
    """What the running command has resolved of this lab, by class (``LabContext``); ``replace`` starts without."""

    @property
    def name(self) -> str:
        return self.settings.name

    @property
    def keys(self) -> Path:
        """Folder of private keys, readable by the user alone."""
        return self.dir / "keys"

    @property
    def known_hosts(self) -> Path:
        return self.dir / "known_hosts"

    @property
    def kubeconfig(self) -> Path:
        return self.dir / "kubeconfig"

    @property
    def logs(self) -> Path:
        return self.dir / "logs"

    @property
    def cache(self) -> Path:
        """The user's cache folder of the toolkit, shared by checkouts and labs."""
        if self.settings.mirror.cache:
            return Path(self.settings.mirror.cache).expanduser()
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        return Path(base) / "hardwatt"

    @property
    def results(self) -> Path:
        """Folder of bundles."""
        return self.root / self.settings.results

    @contextlib.contextmanager
    def lock(self, command: str = "") -> Iterator[None]:
        """Hold the lab for one command; the lock ends with the process, however that ends.

        Raises ``LockedError`` naming the command that holds it.
        """
        for folder in (self.dir.parent, self.dir):  # keys, kubeconfig and logs: nobody else's, whatever the umask
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            if folder.stat().st_uid == os.geteuid():
                folder.chmod(0o700)
        with (self.dir / "lock").open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                raise LockedError(
                    f"the lab {self.name} is in use: {file.read().strip() or 'by another command'}",
                    hint="wait until it ends, or stop it; then run the command again",
                ) from None
            file.truncate(0)
            file.write(f"process {os.getpid()}: {command or shlex.join(sys.argv)}\n")
            file.flush()
            yield

    def holder(self) -> str:
        """Return which command holds the lab now, as it wrote it down; empty: none.

        Read from the kernel's list of locks: to try the lock would take it from a command that starts now.
        """
        file = self.dir / "lock"
        try:
            inode, locks = file.stat().st_ino, LOCKS.read_text().splitlines()
        except FileNotFoundError:
            return ""
        held = any(" FLOCK " in line and line.split()[5].endswith(f":{inode}") for line in locks)
        return (file.read_text().strip() or "another command") if held else ""


def open_lab(config: Path | None = None) -> Lab:
    """Read the settings and return their lab; makes nothing.

    Raises ``SettingsError``.
    """
    settings = settings_module.load(config)
    root = settings_module.ROOT
    return Lab(settings, root, root / ".lab" / settings.name)
