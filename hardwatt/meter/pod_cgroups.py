"""The cgroups of pods and their names, found without a request: in the cgroup tree and in the kubelet's log folders.

Standard library only, Python 3.6 syntax: it runs on the node.
"""

import os
import re
import time
from typing import Dict, List, Tuple

ROOTS = ("kubepods", "kubepods.slice")
"""Names of the cgroup of all pods, by the kubelet's driver: cgroupfs or systemd."""
_POD = re.compile(r"(?:^|-)pod([0-9a-f][0-9a-f_-]*?)(?:\.slice)?$")
_QOS = re.compile(r"(?:^|-)(burstable|besteffort)(?:\.slice)?$")
_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,252}")
_UID = re.compile(r"[0-9a-f][0-9a-f-]{0,63}")

Name = Tuple[str, str]
"""Namespace and name of a pod."""


def parents(cgroups: str) -> List[Tuple[str, str]]:
    """Return (name, folder) of the cgroups that hold pods: that of all, and those of the classes of service."""
    bases = [os.path.join(cgroups, name) for name in ("cpuacct", "cpu,cpuacct")]
    if os.path.exists(os.path.join(cgroups, "cgroup.controllers")):
        bases.append(cgroups)
    seen: Dict[str, Tuple[str, str]] = {}
    for folder in [os.path.join(base, root) for base in bases for root in ROOTS]:
        if not os.path.isdir(folder) or os.path.realpath(folder) in seen:
            continue
        seen[os.path.realpath(folder)] = ("kubepods", folder)
        for child in sorted(os.listdir(folder)):
            matched = _QOS.search(child)
            if matched:
                inner = os.path.join(folder, child)
                seen[os.path.realpath(inner)] = ("kubepods/" + matched.group(1), inner)
    return list(seen.values())


def pods(folders: List[str]) -> Dict[str, str]:
    """Return UID -> folder of the pods' cgroups that lie in these folders."""
    children: Dict[str, str] = {}
    for folder in folders:
        try:
            names = os.listdir(folder)
        except OSError:
            continue
        for name in names:
            matched = _POD.search(name)
            if matched:
                children[matched.group(1).replace("_", "-")] = os.path.join(folder, name)
    return children


SETTLED_NS = 2000000000
"""A folder that changed less than this before it was read may change again without another time of change: the clock
of a file system goes in steps of some milliseconds."""


class PodNames:
    """Names of pods by the kubelet's log folders, NAMESPACE_NAME_UID, read again only where the folder has changed."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.names: Dict[str, Name] = {}
        self.changed = -1

    def update(self) -> List[str]:
        """Read the folder if it changed; return the UIDs that are new in it."""
        try:
            changed = os.stat(self.folder).st_mtime_ns
            if changed == self.changed:
                return []
            entries = os.listdir(self.folder)
        except OSError:
            return []
        # A time of change that lies ahead, because the clock was stepped back, is not trusted either.
        self.changed = changed if time.time() * 1e9 - changed > SETTLED_NS else -1
        names: Dict[str, Name] = {}
        for entry in entries:
            parts = entry.split("_")
            if len(parts) == 3 and all(map(_NAME.fullmatch, parts[:2])) and _UID.fullmatch(parts[2]):
                names[parts[2]] = (parts[0], parts[1])
        new = [uid for uid in names if uid not in self.names]
        self.names = names
        return new
