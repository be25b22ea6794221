"""Pods of known length on the lab's node, what they counted of themselves, and two readers of their cgroups."""

import contextlib
import dataclasses
import json
import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from hardwatt.bundle import recording_file
from hardwatt.bundle.recording import Counter, Recording
from hardwatt.cluster import client as cluster_client
from hardwatt.connect.ssh import Ssh
from hardwatt.core.wait import wait
from hardwatt.instruments.recorded_window import Gain, Limits, Span, gained, span
from hardwatt.meter.node_config import RECORD
from hardwatt.mirror import fill
from tests.e2e.support import Story
from tests.e2e.windows import BURN, TICKS

FOLDER_LIMIT = 255
"""Bytes of a folder's name on Linux: the kubelet cannot start a pod whose NAMESPACE_NAME_UID is longer."""
UID_LENGTH = 36
COUNTED = """
counted() {
  for file in /sys/fs/cgroup/cpuacct/cpuacct.usage /sys/fs/cgroup/cpu,cpuacct/cpuacct.usage; do
    [ -e $file ] && { read -r used < $file; echo "counted $used"; return; }
  done
  read -r _ used < /sys/fs/cgroup/cpu.stat; echo "counted ${used}000"
}
"""
"""``counted`` prints the nanoseconds that the container's own cgroup holds."""
WATCH = r"""
import json, os, sys, time
def read(handle):
    text = os.pread(handle, 4096, 0).split()
    return int(text[0]) if len(text) == 1 else 1000 * int(text[1])
def files():
    for base in ("/sys/fs/cgroup/cpuacct", "/sys/fs/cgroup/cpu,cpuacct", "/sys/fs/cgroup"):
        for name in ("cpuacct.usage", "cpu.stat"):
            if os.path.exists(os.path.join(base, name)):
                return base, name
base, name = files()
handles, readings, closed = {}, {}, set()
until = time.monotonic() + 400
while not os.path.exists(sys.argv[1]) and time.monotonic() < until:
    due = time.monotonic() + 0.1
    folders = [base]
    for top in ("kubepods", "kubepods.slice"):
        for folder, inside, _ in os.walk(os.path.join(base, top)):
            if "pod" in os.path.basename(folder).replace("kubepods", ""):
                inside[:] = []
            folders.append(folder)
    for folder in folders:
        if folder not in handles and folder not in closed:
            try:
                handles[folder] = os.open(os.path.join(folder, name), os.O_RDONLY)
            except OSError:
                pass
    for folder in list(handles):
        before = time.monotonic()
        try:
            value = read(handles[folder])
        except OSError:
            os.close(handles.pop(folder))
            closed.add(folder)
            continue
        readings.setdefault(folder, []).append([int(before * 1e9), int(time.monotonic() * 1e9), value])
    time.sleep(max(0, due - time.monotonic()))
for folder in readings:
    print(json.dumps([folder, readings[folder]]))
"""
"""Reads the cgroups of the machine and of its pods ten times a second, until the file of its argument is there."""
STOP = "/run/hardwatt-test-watch-stop"

Watched = tuple[int, int, int]
"""Moments before and after a reading (ns, monotonic clock), and nanoseconds of processor time."""


@dataclasses.dataclass
class Pod:
    """A pod to run, and what is known of it afterwards."""

    namespace: str
    name: str
    script: str
    resources: Mapping[str, Mapping[str, str]] = dataclasses.field(default_factory=dict)
    restart: str = "Never"
    removed_after: float | None = None
    """Seconds after its creation at which the pod is removed, without a grace; None: it runs to its end."""
    uid: str = ""
    counted: float = 0.0
    """Sum of the CPU-seconds that its containers' own cgroups held when they ended, by their last act."""


@dataclasses.dataclass(frozen=True)
class Seen:
    """Pods that ran, with the record of their time and with what another reader of their cgroups saw."""

    pods: Sequence[Pod]
    recording: Recording
    window: Span
    """From before the first pod to after the end of the last one's cgroup."""
    watched: Mapping[str, Sequence[Watched]]
    """Folder of a cgroup -> its readings."""
    page: str
    """Metrics of the pods, after their end."""

    def counter(self, pod: Pod) -> Counter:
        (counter,) = [counter for counter in self.recording.of("pod") if counter.name == pod.uid]
        return counter

    def parent(self) -> Counter:
        (counter,) = [counter for counter in self.recording.of("pods") if counter.name == "kubepods"]
        return counter

    def gain(self, *counters: Counter) -> Gain:
        """Return what counters gained while the pods lived."""
        return gained(counters, self.window, Limits(float(self.recording.cpus)))

    def last(self, pod: Pod) -> float:
        """Return the CPU-seconds that the other reader saw last in a pod's own cgroup."""
        return self.watched[self.counter(pod).path][-1][2] / 1e9


@contextlib.contextmanager
def watch(story: Story) -> Iterator[Callable[[], dict[str, list[Watched]]]]:
    """Read the machine's and all pods' cgroups until the yielded function is called, which returns the readings."""
    with story.node() as node, story.node() as other, ThreadPoolExecutor(1) as pool:
        other.run(f"rm -f {STOP}")
        reader = pool.submit(node.run, f"python3 -c {shlex.quote(WATCH)} {STOP}", timeout=500)

        def readings() -> dict[str, list[Watched]]:
            other.run(f"touch {STOP}")
            rows = [json.loads(line) for line in reader.result(60).stdout.splitlines()]
            return {folder: [(first, second, value) for first, second, value in read] for folder, read in rows}

        try:
            yield readings
        finally:
            other.run(f"touch {STOP}")


def record(node: Ssh, folder: Path) -> Recording:
    """Return what the recorder has written up to now."""
    file = folder / "recording"
    file.write_bytes(node.read(RECORD))
    return recording_file.read(file)


def run(story: Story, pods: Sequence[Pod], folder: Path, *, timeout: float = 300) -> Seen:
    """Run pods side by side to their ends, and return what was seen of them."""
    from kubernetes import client

    spaces = sorted({pod.namespace for pod in pods})
    whole = [pod for pod in pods if pod.removed_after is None]
    with cluster_client.connect(story.lab) as api, story.node() as node, watch(story) as readings:
        core: Any = client.CoreV1Api(api)
        for name in spaces:
            core.create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name=name)))
        try:
            begun = time.time()
            for pod in sorted(pods, key=lambda pod: pod.removed_after is not None):
                pod.uid = _create(story, core, pod)
                if pod.removed_after is not None:
                    time.sleep(pod.removed_after)
                    core.delete_namespaced_pod(pod.name, pod.namespace, grace_period_seconds=0)
            wait(
                lambda: _phases(core, spaces),
                lambda phases: sum(phase == "Succeeded" for phase in phases.values()) == len(whole),
                what="the pods to end",
                timeout=timeout,
                delay=2,
                describe=lambda phases: ", ".join(name for name, phase in phases.items() if phase != "Succeeded"),
                error=lambda phases: next((name for name, phase in phases.items() if phase == "Failed"), None),
            )
            for pod in whole:
                pod.counted = _counted(core, pod)
            recording = wait(
                lambda: record(node, folder),
                lambda recording: {pod.uid for pod in whole} <= _over(recording),
                what="the recorder to see the end of each pod",
                timeout=60,
                delay=2,
            )
            page = node.read("/var/lib/hardwatt/meter/textfile/hardwatt_pods.prom").decode()
        finally:
            for name in spaces:
                core.delete_namespace(name)
        first = int((recording.t_ns <= begun * 1e9).nonzero()[0][-1])
        window = span(recording, float(recording.t_ns[first]) / 1e6, float(recording.t_ns[-2]) / 1e6)
        return Seen(pods, recording, window, readings(), page)


def _over(recording: Recording) -> set[str]:
    """Return the UIDs of the pods that are over by a recording, and were when its last records were written."""
    until = len(recording.m_ns) - 3
    ended = {pod.name for pod in recording.of("pod") if pod.ended is not None and pod.ended.tick <= until}
    return ended | {pod.uid for pod in recording.unseen}


def _create(story: Story, core: Any, pod: Pod) -> str:
    from kubernetes import client

    image = fill.load(story.lab).image("hardwatt.dev/runner").reference
    container = client.V1Container(
        name="burn", image=image, command=["sh", "-c", BURN + COUNTED + pod.script],
        resources=client.V1ResourceRequirements(**pod.resources),
        volume_mounts=[client.V1VolumeMount(name="kept", mount_path="/kept")],
    )  # fmt: skip
    volume = client.V1Volume(name="kept", empty_dir=client.V1EmptyDirVolumeSource())
    spec = client.V1PodSpec(containers=[container], volumes=[volume], restart_policy=pod.restart,
                            termination_grace_period_seconds=0, automount_service_account_token=False)  # fmt: skip
    body = client.V1Pod(metadata=client.V1ObjectMeta(name=pod.name), spec=spec)
    return str(core.create_namespaced_pod(pod.namespace, body).metadata.uid)


def _phases(core: Any, spaces: Sequence[str]) -> dict[str, str]:
    listed = [pod for name in spaces for pod in core.list_namespaced_pod(name).items]
    return {f"{pod.metadata.namespace}/{pod.metadata.name}": pod.status.phase for pod in listed}


def _counted(core: Any, pod: Pod) -> float:
    """Return the sum of what the pod's containers counted."""
    log = str(core.read_namespaced_pod_log(pod.name, pod.namespace))
    lines = [line.split() for line in log.splitlines() if line.startswith("counted ")]
    assert len(lines) == (1 if pod.restart == "Never" else 2), log
    return sum(int(line[1]) for line in lines) / 1e9


def burning(seconds: float) -> str:
    """Return a script that uses so many CPU-seconds and then says what its container counted."""
    return f"burn {round(seconds * TICKS)}; counted"


def twice(seconds: float) -> str:
    """Return a script for a container that fails once and is started again; the second one prints both counts."""
    again = 'while read -r line; do echo "$line"; done < /kept/first; counted; exit 0'
    return f"burn {round(seconds * TICKS)}; [ -e /kept/first ] && {{ {again}; }}; counted > /kept/first; exit 1"


def longest_name(namespace: str) -> str:
    """Return a pod's name with dots that is as long as the kubelet can start one in a namespace."""
    length = FOLDER_LIMIT - UID_LENGTH - 2 - len(namespace)
    return ".".join(["a2345678901234567890123456789012345678901234567890"] * 6)[:length].rstrip(".-")
