"""Denials of SELinux on the node since the lab began, for ``lab.status``."""

import re

from hardwatt.connect import sudo
from hardwatt.connect.endpoint import Endpoint
from hardwatt.connect.ssh import Ssh
from hardwatt.core.errors import CommandError

RECORD = "/var/lib/hardwatt/record/lab"
"""Written when the first run of the deploys begins: denials before it are not the lab's."""
ENFORCE = "/sys/fs/selinux/enforce"
"""There where SELinux is on, for every user to see; getenforce is in no ordinary user's path on Debian."""

# ausearch knows times as the locale writes them, so the log is read by its own stamps (seconds since 1970).
_SCRIPT = f"""
if command -v getenforce >/dev/null 2>&1; then echo "mode $(getenforce)"; fi
if test -e {RECORD}; then echo "since $(stat -c %Y {RECORD})"; fi
if test -r /var/log/audit/audit.log; then cat /var/log/audit/audit.log
else journalctl --quiet --no-pager --output cat --boot _TRANSPORT=audit; fi 2>/dev/null | grep 'avc: *denied' || :
"""


def on_node(endpoint: Endpoint) -> str:
    """Return one line about SELinux and, below it, each kind of denial with its number; empty where there is none.

    Raises ``LabError`` where the node does not answer.
    """
    with Ssh(endpoint) as ssh:
        if ssh.run(f"test -e {ENFORCE}", check=False).returncode != 0:
            return ""  # nobody is asked for a password for that
        result = ssh.run(f"{sudo.prefix(endpoint)}sh -s", stdin=_SCRIPT, check=False)
    if result.returncode != 0:
        raise CommandError(result.argv, result.returncode, result.stdout, result.stderr, hint="invoke lab.check")
    return summary(result.stdout)


def summary(text: str) -> str:
    """Return what the script's output says: the mode, and denials since the lab began by who wanted what of what."""
    mode = re.search(r"^mode (\w+)$", text, re.MULTILINE)
    if mode is None or mode.group(1) == "Disabled":
        return ""
    since = re.search(r"^since (\d+)$", text, re.MULTILINE)
    begun = int(since.group(1)) if since else 0
    counts: dict[str, int] = {}
    for line in text.splitlines():
        stamp = re.search(r"audit\((\d+)[.:]", line)
        if "avc:" in line and (stamp is None or int(stamp.group(1)) >= begun):
            kind = _kind(line)
            counts[kind] = counts.get(kind, 0) + 1
    head = f"{mode.group(1).lower()}, {sum(counts.values())} denials since the lab began"
    return "\n".join([head, *(f"  {count} x {kind}" for kind, count in sorted(counts.items()))])


def _kind(line: str) -> str:
    """Return ``SOURCE wants RIGHTS of TARGET (CLASS), COMM`` of one denial."""
    rights = re.search(r"\{ ([^}]*) \}", line)
    source, target = (re.search(rf"{name}=[^:\s]+:[^:\s]+:([^:\s]+)", line) for name in ("scontext", "tcontext"))
    program, kind = re.search(r'comm="([^"]*)"', line), re.search(r"tclass=(\S+)", line)
    parts = [match.group(1) if match else "?" for match in (source, rights, target, kind, program)]
    return f"{parts[0]} wants {parts[1]} of {parts[2]} ({parts[3]}), by {parts[4]}"
