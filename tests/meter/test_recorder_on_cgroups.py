"""The recorder on this machine's own cgroups: pods of known length against their own last counters. Needs root."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from hardwatt.bundle import recording_file
from hardwatt.bundle.recording import Recording, total_rise
from hardwatt.core.wait import wait
from hardwatt.meter import node_counters
from hardwatt.testing.installed_meter import install

ROOTS = {1: ("/sys/fs/cgroup/cpuacct",), 2: ("/sys/fs/cgroup/unified", "/sys/fs/cgroup")}
"""Version -> where a cgroup with a counter of CPU time can be made; v2 counts it without a controller too."""
BURN = "import sys, time\nwhile time.process_time() < float(sys.argv[1]): pass\n"
LINGER_SECONDS = 1.6
"""A pod's cgroup outlives its containers by the kubelet's clean-up, which takes longer."""


@dataclass(frozen=True)
class Cgroups:
    """Cgroups of a made-up node below one of this machine."""

    base: Path
    work: Path

    def pod(self, uid: str, seconds: float, linger: float = LINGER_SECONDS) -> float:
        """Burn in a pod of its own; return what its cgroup counted at its end, in seconds."""
        folder = self.base / "kubepods/burstable" / f"pod{uid}"
        folder.mkdir()
        (self.work / f"pods/default_job_{uid}").mkdir()
        enter = f"echo $$ > {folder}/cgroup.procs; exec {sys.executable} -S -c '{BURN}' {seconds}"
        subprocess.run(["sh", "-c", enter], check=True)
        time.sleep(linger)
        reader = node_counters.open_cgroup(str(folder))
        assert reader is not None
        counted = reader()
        reader.close()
        folder.rmdir()
        return counted

    @property
    def recording(self) -> Recording:
        return recording_file.read(self.work / "record/recording")


@pytest.fixture(params=ROOTS, ids=["v1", "v2"])
def cgroups(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Cgroups]:
    """Run the meter on cgroups that are made for the test and removed after it."""
    version: int = request.param
    present = [Path(folder) for folder in ROOTS[version] if node_counters.open_cgroup(folder) is not None]
    if not present:
        pytest.skip(f"this machine has no cgroup v{version} with a counter of CPU time")
    base = present[0] / f"hardwatt-test-{os.getpid()}"
    made = [base, base / "kubepods", base / "kubepods/burstable", base / "kubepods/besteffort"]
    with contextlib.ExitStack() as stack:
        for folder in made:
            folder.mkdir()
            stack.callback(folder.rmdir)
        (tmp_path / "pods").mkdir()
        (tmp_path / "cgroups").mkdir()
        seen = tmp_path / ("cgroups/cpuacct" if version == 1 else "cgroups/unified")
        seen.symlink_to(base)
        names = {"record": "record/recording", "textfile": "page/node.prom", "podfile": "page/pods.prom",
                 "sysfs": "sysfs", "state": "state", "powercap": "none", "pod_logs": "pods"}  # fmt: skip
        config = {key: str(tmp_path / name) for key, name in names.items()}
        config["cgroups"] = str(tmp_path / "cgroups" if version == 1 else seen)
        model = {"name": "test", "points": [[0, 10], [1, 30]]}
        (tmp_path / "meter.json").write_text(json.dumps({**config, "cpu": str(base), "model": model}))
        process = subprocess.Popen([*install(tmp_path / "node"), "--config", str(tmp_path / "meter.json")])
        stack.callback(process.wait, 20)
        stack.callback(process.send_signal, signal.SIGTERM)
        wait(lambda: (tmp_path / "page/pods.prom").exists(), bool, what="the first record", timeout=20, delay=0.1)
        yield Cgroups(base, tmp_path)


@pytest.mark.long
@pytest.mark.skipif(os.geteuid() != 0, reason="cgroups are made by root")
def test_pods_of_known_length_agree_with_their_own_last_counters(cgroups: Cgroups) -> None:
    """Of 0.1, 0.5, 2 and 10 CPU-seconds, ten of half a second, and one that is gone before the next tick."""
    lengths = (0.1, 0.5, 2.0, 10.0, *[0.5] * 10)
    uids = [f"{number:08x}-0000-4000-8000-000000000000" for number in range(len(lengths))]
    with ThreadPoolExecutor(len(lengths)) as pool:
        counted = dict(zip(uids, pool.map(cgroups.pod, uids, lengths), strict=True))
    short = "ffffffff-0000-4000-8000-000000000000"
    used = cgroups.pod(short, 0.1, linger=0.0)
    time.sleep(6)
    recording = cgroups.recording
    last = len(recording.m_ns) - 1
    pods = {pod.name: pod for pod in recording.of("pod")}
    for uid, seconds in counted.items():
        assert pods[uid].rise(0, last) * pods[uid].scale == pytest.approx(seconds, rel=0.001)
        assert pods[uid].ended is not None
    # The short one is known by its logs, or was read once; the counter of all pods holds it in any case.
    assert short in {pod.uid for pod in recording.unseen} | set(pods)
    parent = [counter for counter in recording.of("pods") if counter.name == "kubepods"]
    assert total_rise(parent, 0, last) == pytest.approx(sum(counted.values()) + used, rel=0.001)
    assert total_rise(recording.of("pod"), 0, last) == pytest.approx(sum(counted.values()), abs=used + 0.01)
    assert total_rise([recording.node], 0, last) == pytest.approx(total_rise(parent, 0, last), rel=0.01)
