"""The lab under test, as its user would call it."""

import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from hardwatt.cluster import status as cluster_status
from hardwatt.cluster.status import Pod
from hardwatt.config.lab import Lab, open_lab
from hardwatt.config.settings import default_name
from hardwatt.connect.ssh import Ssh
from hardwatt.machines import choice, identity, timeouts
from hardwatt.machines.embedded import host_record, network
from hardwatt.machines.embedded.host_record import HostState

ROOT = Path(__file__).resolve().parents[2]
INVOKE = str(Path(sys.executable).parent / "invoke")


@dataclasses.dataclass
class Story:
    """The lab of the end-to-end tests, and the host as it was before."""

    lab: Lab
    env: dict[str, str]
    before: HostState | None = dataclasses.field(default=None, kw_only=True)
    """Missing until ``look``."""

    def look(self) -> None:
        """Take the host as it is now for how it was before."""
        self.before = HostState.now(identity.ident(self.lab))

    def differences(self) -> list[host_record.Difference]:
        """Return what is not as it was before; what other labs held then or hold now is theirs."""
        assert self.before is not None, "nobody looked at the host before"
        return self.before.differences()

    def invoke(self, *argv: str, check: bool = True, timeout: float = 900) -> "subprocess.CompletedProcess[str]":
        """Run ``invoke`` to its end; what it printed is shown when the test fails."""
        done = subprocess.run(
            [INVOKE, *argv], cwd=ROOT, env=self.env, capture_output=True, text=True, timeout=timeout, check=False
        )
        print(f"$ invoke {' '.join(argv)}\n{done.stdout}{done.stderr}")
        timeouts.apply(self.lab)  # for this process, which calls the library on the machine that the command left
        assert not check or done.returncode == 0, f"invoke {' '.join(argv)} ended with {done.returncode}"
        return done

    def start(self, *argv: str, log: Path) -> "subprocess.Popen[bytes]":
        """Start ``invoke`` in a session of its own, to be killed."""
        with log.open("ab") as file:
            return subprocess.Popen(
                [INVOKE, *argv], cwd=ROOT, env=self.env, start_new_session=True, stdout=file, stderr=subprocess.STDOUT,
                # A shell ignores Ctrl-C for what it puts into the background, and that would be inherited.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
            )  # fmt: skip

    def node(self) -> Ssh:
        return Ssh(choice.machine_for(self.lab).endpoint())

    def pods(self) -> tuple[Pod, ...]:
        return cluster_status.read(self.lab).pods


def kill_session(process: "subprocess.Popen[bytes]", number: int = signal.SIGKILL) -> None:
    """Send a signal to a command and everything that it started in its session, and wait for its end."""
    os.killpg(process.pid, number)
    process.wait(timeout=60)


@contextlib.contextmanager
def lab_of_its_own(prefix: str, machine: str, more: str = "") -> Iterator[Story]:
    """Give a lab on a machine of this kind, under a name of its own; what an earlier run left is taken down first.

    ``more`` is further text of its lab.toml.
    """
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory(prefix=f"hardwatt-{prefix}-") as folder:
        patch.setenv("HARDWATT_LAB", f"{prefix}-" + default_name().removeprefix("lab-"))
        config = Path(folder) / "lab.toml"
        config.write_text(f'machine = "{machine}"\nresults = "{folder}/results"\n{more}')
        patch.setenv("HARDWATT_CONFIG", str(config))
        made = Story(open_lab(), dict(os.environ))
        made.invoke("lab.down", "--yes")
        made.look()
        yield made
        made.invoke("lab.down", "--yes")


FOR_THE_CLUSTER = (
    ("lab.status",), ("gitops.status",), ("gitops.reconcile",), ("gitops.resume",), ("lab.forward", "prometheus"),
    ("energy.query", "node"), ("experiment.run", "push-vs-pull"),
)  # fmt: skip


def cut_off(story: Story, reason: str, address: str, commands: Sequence[tuple[str, ...]] = FOR_THE_CLUSTER) -> None:
    """Check that commands for the cluster give this reason and another next command, and where packets go."""
    route = subprocess.run(["ip", "route", "get", address], capture_output=True, text=True, check=False)
    link = network.link_name(identity.ident(story.lab))
    assert not route.stdout or f"dev {link} " in route.stdout, "packets leave by another route"
    for argv in commands:
        found = story.invoke(*argv, check=False)
        assert found.returncode == 1
        assert reason in found.stderr
        assert "next: invoke lab.up" in found.stderr
        assert "Traceback" not in found.stderr


_FIRST_FAILURE = pytest.StashKey[str]()


def note_failure(item: pytest.Item, report: pytest.TestReport, marker: str) -> None:
    """Remember the first test of a story (the tests with this marker) that failed."""
    if report.failed and item.get_closest_marker(marker):
        item.session.stash.setdefault(_FIRST_FAILURE, item.name)


def end_after_failure(item: pytest.Item, last: str) -> None:
    """Fail a test after the first failure, except the ``last``: the rest would only fail for the same reason."""
    first = item.session.stash.get(_FIRST_FAILURE, "")
    if first and item.name != last:
        pytest.fail(f"not run, because {first} failed before")
