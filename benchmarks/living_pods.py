"""Cost of the meter and its recorder on a running lab with living pods, and the parts of a bundle.

    .venv/bin/python benchmarks/living_pods.py                     15, 40 and 110 pods, two minutes each
    .venv/bin/python benchmarks/living_pods.py --seconds 30 --pods 40
    .venv/bin/python benchmarks/living_pods.py --bundle results/push-vs-pull-…/bundle

Needs a lab that is up, with nothing else running. Adds sleeping pods until the node holds as many as given, waits
until they run, and reads the recorder's own file: ``cpu_seconds_a_second`` is what the meter's own cgroup counted.
Prints one JSON object a line. The pods are removed at the end. ``--bundle`` prints a bundle's bytes by part instead.
"""

import argparse
import collections
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from hardwatt.bundle import recording_file  # noqa: E402
from hardwatt.bundle.recording import total_rise  # noqa: E402
from hardwatt.cluster import client as cluster_client  # noqa: E402
from hardwatt.config.lab import Lab, open_lab  # noqa: E402
from hardwatt.connect.ssh import Ssh  # noqa: E402
from hardwatt.core.wait import wait  # noqa: E402
from hardwatt.machines import choice  # noqa: E402
from hardwatt.meter.node_config import RECORD  # noqa: E402
from hardwatt.mirror import fill  # noqa: E402

LIMITS = {15: 0.005, 40: 0.005, 110: 0.012}
"""Pods -> CPU-seconds a second that the meter may cost."""
SPACE = "bench-recorder"
SETTLE_SECONDS = 30
"""After the last pod runs, before its cost is measured."""


def running(core: Any) -> list[Any]:
    """Return the pods of the node that run."""
    return [pod for pod in core.list_pod_for_all_namespaces().items if pod.status.phase == "Running"]


def fill_up(lab: Lab, core: Any, count: int) -> None:
    """Add sleeping pods until so many run on the node."""
    from kubernetes import client

    image = fill.load(lab).image("hardwatt.dev/runner").reference
    present = len(running(core))
    for number in range(present, count):
        container = client.V1Container(name="sleep", image=image, command=["sleep", "86400"])
        spec = client.V1PodSpec(
            containers=[container], termination_grace_period_seconds=0, automount_service_account_token=False
        )
        core.create_namespaced_pod(
            SPACE, client.V1Pod(metadata=client.V1ObjectMeta(name=f"sleeping-{number}"), spec=spec)
        )
    wait(
        lambda: len(running(core)),
        lambda present: present >= count,
        what=f"{count} pods to run",
        timeout=900,
        delay=5,
        describe=lambda present: f"{present} run",
    )


def cost(node: Ssh, seconds: float) -> dict[str, object]:
    """Return the meter's CPU-seconds a second and the bytes of an hour of recording, by the recorder's file."""
    time.sleep(SETTLE_SECONDS)
    begun = time.time() * 1000
    time.sleep(seconds)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "recording"
        file.write_bytes(node.read(RECORD))
        recording = recording_file.read(file)
        lines = file.read_bytes().splitlines(keepends=True)
    first, last = recording.nearest(begun), len(recording.m_ns) - 1
    records = [len(line) for line in lines if b'{"k":"r",' in line][first : last + 1]
    used = total_rise(recording.of("self"), first, last) / recording.seconds(first, last)
    alive = [pod for pod in recording.of("pod") if pod.ended is None]
    return {
        "pods_read": len(alive),
        "cpu_seconds_a_second": round(used, 5),
        "source": recording.of("self")[0].source,
        "bytes_an_hour": round(sum(records) / len(records) * 3600),
        "longest_tick_ms": round(float(recording.span_ns[first : last + 1].max()) / 1e6, 2),
        "mean_tick_ms": round(float(recording.span_ns[first : last + 1].mean()) / 1e6, 2),
        "records": last - first,
    }


def parts(bundle: Path) -> dict[str, int]:
    """Return the bytes of a bundle by its top folder or file, and all together."""
    sizes: collections.Counter[str] = collections.Counter()
    for file in bundle.rglob("*"):
        if file.is_file():
            sizes[file.relative_to(bundle).parts[0]] += file.stat().st_size
    return {**dict(sorted(sizes.items())), "all": sum(sizes.values())}


def measure(counts: list[int], seconds: float) -> list[dict[str, object]]:
    """Print the cost at each number of pods; return what is above its limit."""
    from kubernetes import client

    lab, above = open_lab(), []
    with cluster_client.connect(lab) as api, Ssh(choice.machine_for(lab).endpoint()) as node:
        core: Any = client.CoreV1Api(api)
        core.create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name=SPACE)))
        try:
            for count in sorted(counts):
                fill_up(lab, core, count)
                row = {"pods": count, **cost(node, seconds), "cpus": os.cpu_count(), "load": os.getloadavg()[0]}
                print(json.dumps(row), flush=True)
                if float(str(row["cpu_seconds_a_second"])) > LIMITS.get(count, 1.0):
                    above.append(row)
        finally:
            core.delete_namespace(SPACE)
    return above


def main() -> None:
    """Measure, or show a bundle's parts; end with an error where the meter costs more than its limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--pods", type=int, action="append", help="pods on the node, all together; may be repeated")
    parser.add_argument("--bundle", type=Path)
    options = parser.parse_args()
    if options.bundle:
        print(json.dumps(parts(options.bundle)))
    elif above := measure(options.pods or list(LIMITS), options.seconds):
        sys.exit(f"above the limit: {above}")


if __name__ == "__main__":
    main()
