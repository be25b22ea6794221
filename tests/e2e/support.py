"""The lab under test, as its user would call it."""

import dataclasses
import os
import signal
import subprocess
import sys
from pathlib import Path

from hardwatt import kube, machines
from hardwatt.hostsnapshot import Snapshot
from hardwatt.kube import Pod
from hardwatt.lab import Lab
from hardwatt.ssh import Ssh

ROOT = Path(__file__).resolve().parents[2]
INVOKE = str(Path(sys.executable).parent / "invoke")


@dataclasses.dataclass
class Story:
    """The lab of the end-to-end tests, and the host as it was before."""

    lab: Lab
    before: Snapshot
    env: dict[str, str]

    def invoke(self, *argv: str, check: bool = True, timeout: float = 900) -> "subprocess.CompletedProcess[str]":
        """Run ``invoke`` to its end; what it printed is shown when the test fails."""
        done = subprocess.run(
            [INVOKE, *argv], cwd=ROOT, env=self.env, capture_output=True, text=True, timeout=timeout, check=False
        )
        print(f"$ invoke {' '.join(argv)}\n{done.stdout}{done.stderr}")
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
        return Ssh(machines.machine_for(self.lab).endpoint())

    def pods(self) -> tuple[Pod, ...]:
        return kube.status(self.lab).pods


def kill_session(process: "subprocess.Popen[bytes]", number: int = signal.SIGKILL) -> None:
    """Send a signal to a command and everything that it started in its session, and wait for its end."""
    os.killpg(process.pid, number)
    process.wait(timeout=60)
