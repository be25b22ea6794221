"""The node of a lab, from what ``invoke lab.up`` last wrote about it.

It is the lab of ``lab.toml``, or of ``HARDWATT_LAB``; ``HARDWATT_NODE_FILE`` names the file itself.
"""

import json
import os
from pathlib import Path
from typing import Any

from deploys.contract import NodeData
from hardwatt.config.settings import ROOT, load


def _file() -> Path:
    if given := os.environ.get("HARDWATT_NODE_FILE"):
        return Path(given)
    return ROOT / ".lab" / load().name / "node.json"


def _hosts(file: Path) -> list[tuple[str, dict[str, Any]]]:
    """Return the host with its connection; the host key is only ever the known one."""
    try:
        data = NodeData.from_dict(json.loads(file.read_text()))
    except FileNotFoundError:
        raise SystemExit(f"{file} does not exist; invoke lab.up writes it") from None
    except ValueError as error:
        raise SystemExit(f"{file} is not what the deploys are told: {error}; invoke lab.check writes it anew") from None
    ssh = data.ssh
    connection = {
        "ssh_hostname": ssh.address,
        "ssh_port": ssh.port,
        "ssh_user": ssh.user,
        "ssh_key": ssh.key,
        "ssh_known_hosts_file": ssh.known_hosts,
        "ssh_strict_host_key_checking": "yes",
        # neither the agent's keys nor the user's ssh_config: what is not written here is not used. Ours is there
        # where the way leads through another host, and says nothing but that.
        "ssh_allow_agent": False,
        "ssh_look_for_keys": False,
        "ssh_config_file": ssh.config or os.devnull,
        "ssh_connect_retries": 2,
        "_sudo": ssh.user != "root",
    }
    return [(data.lab.node.name, {**connection, **data.data.to_dict(), "lab": data.lab.to_dict()})]


nodes = _hosts(_file())
