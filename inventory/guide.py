"""The guide that a person can follow by hand, made from the deploys.

``python -m inventory.guide >docs/the-hard-way.md``. The host is RHEL 8.6 as it comes, constructed from
its documentation (hardwatt/testing/constructed_hosts.py); packages and images come from upstream, as they do without a
mirror.
"""

import argparse
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from deploys import explain
from hardwatt.config.lab import Lab
from hardwatt.config.settings import ROOT, Meter, Mirror, Settings
from hardwatt.config.versions import lock
from hardwatt.connect.endpoint import Endpoint
from hardwatt.mirror.index import Index
from hardwatt.mirror.plan import upstream_index
from hardwatt.provision import guide as provision_guide
from hardwatt.provision import node_data
from hardwatt.testing import constructed_hosts

HEAD = """\
# The hard way, by hand

What `invoke lab.up` does to a fresh RHEL 8.6 host, step by step, as commands that you can type. The guide of 2022 had
to be followed like this; here it is made from the deploys themselves (`python -m inventory.guide`), and a test keeps it
true. For a host of your own, with its own addresses and what is already there: `invoke lab.plan --explain`.

**Constructed, not seen:** nobody has run these commands on RHEL 8.6 yet. What is tested on which machine is in
[hardware.md](hardware.md). The node's address is 192.0.2.10 here, its name node-1; run everything as root on the node,
in a checkout of this repository. Not shown: what is written down for `lab.down` before each change, options that only
keep a package manager from asking, and the lab's own git server and meter (the deploys of those names have them).

Before the first step: a registered host whose release is locked (`subscription-manager release --set=8.6`), BaseOS and
AppStream enabled, the clock kept by chronyd, SELinux enforcing, firewalld running. They all stay so.
"""
BETWEEN = """\
## The reboot

```sh
systemctl reboot
```

Afterwards `stat -fc %T /sys/fs/cgroup` says `cgroup2fs`. If it does not, look at `cat /proc/cmdline`.

## After the reboot
"""
TAIL = """\
## And then

```sh
export KUBECONFIG=/etc/kubernetes/admin.conf
kubectl get nodes
kubectl get pods --all-namespaces
```

`invoke lab.up` goes on from here with the lab's repository and Flux: `flux bootstrap`, then Prometheus and the
exporters as `clusters/` has them. By hand that is the `flux bootstrap github` of the talk, with `--path=clusters/lab`.
"""
LEFT_OUT = ("git_server", "meter", "workload_images")


def lab() -> dict[str, Any]:
    """Return the lab's data as ``hardwatt.provision.node_data`` writes it in mirror mode ``upstream``."""
    place = Path("/nonexistent")
    made = Lab(Settings(name="lab", mirror=Mirror(mode="upstream"), meter=Meter(source="rapl")), ROOT, place)
    end = Endpoint("node-1", "ssh", "192.0.2.10", 22, "root", place, place, "", "192.0.2.10", {"cgroup_root": "/"})
    processor = node_data.Processor(16, "", system=("rhel", "fedora"))
    return node_data.lab_data(made, end, upstream_index(Index(place), lock()), None, processor).to_dict()


def guide() -> Iterable[str]:
    """Yield the page's lines."""
    os.chdir(ROOT)
    data = lab()
    yield from HEAD.split("\n")
    yield "## Before the reboot"
    yield ""
    first = explain.explain(*constructed_hosts.host("rhel-8.6", data))
    yield from provision_guide.guide(first)
    yield from BETWEEN.split("\n")
    after = [step for step in explain.explain(*constructed_hosts.host("rhel-8.6-rebooted", data))
             if step["step"] not in LEFT_OUT]  # fmt: skip
    yield from provision_guide.guide(after, first=len(provision_guide.by_hand(first)) + 1)
    yield from TAIL.rstrip("\n").split("\n")


if __name__ == "__main__":
    argparse.ArgumentParser(prog="python -m inventory.guide", description=__doc__).parse_args()
    print("\n".join(guide()))
