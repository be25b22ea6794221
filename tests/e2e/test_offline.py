"""A second lab from an export, in a network namespace in which nothing but loopback is up."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.e2e.support import INVOKE, ROOT

pytestmark = [pytest.mark.e2e, pytest.mark.long]

SCRIPT = """
set -e
# /sys shows the links of the network namespace that mounted it; the cgroups below it are carried over
mkdir -p "$CGROUPS"
mount --rbind /sys/fs/cgroup "$CGROUPS"
mount -t sysfs sysfs /sys
mount --rbind "$CGROUPS" /sys/fs/cgroup
ip link set lo up
test -z "$(ip route)"
"$INVOKE" mirror.import "$EXPORT"
trap '"$INVOKE" lab.down --yes' EXIT
"$INVOKE" lab.up
"$INVOKE" lab.up 2>&1 | tail -n 1
"""


def test_a_second_lab_comes_up_from_an_export_with_the_network_off(tmp_path: Path) -> None:
    env = {**os.environ, "HARDWATT_LAB": "test-offline"}
    done = subprocess.run(
        [INVOKE, "mirror.export", str(tmp_path / "export")],
        cwd=ROOT, env=env, capture_output=True, text=True, check=True,
    )  # fmt: skip
    size = re.search(r": (\d+) bytes;", done.stdout)
    assert size and int(size.group(1)) > 100_000_000
    cut_off = {
        **env,
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "INVOKE": INVOKE,
        "EXPORT": str(tmp_path / "export"),
        "CGROUPS": str(tmp_path / "cgroups"),
    }
    up = subprocess.run(
        ["unshare", "--net", "--mount", "sh", "-c", SCRIPT],
        cwd=ROOT, env=cut_off, capture_output=True, text=True, check=False, timeout=900,
    )  # fmt: skip
    assert up.returncode == 0, up.stderr[-3000:]
    assert up.stdout.splitlines()[-1] == "No changes"
