"""The guest as it is, for a comparison: what a host record must give back, and nothing that changes by itself."""

from hardwatt.connect.ssh import Ssh
from hardwatt.machines.embedded.host_snapshot import Snapshot

_SCRIPT = r"""
section() { while IFS= read -r line; do printf '%s\t%s\n' "$1" "$line"; done; }
dpkg-query -W -f '${Package}\t${Version} ${db:Status-Status}\n' | section package
systemctl list-unit-files --no-legend --no-pager | awk '{print $1 "\t" $2}' | section unit
find / -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /run -o -path /tmp -o -path /var/tmp \
  -o -path /var/log -o -path /var/cache \
  -o -path /var/lib/apt -o -path /var/lib/dpkg -o -path /var/lib/systemd \) -prune \
  -o \( -type f -o -type l \) -printf '%p\t%m %s\n' | section file
find /etc /boot/grub/grub.cfg -type f -exec md5sum {} + | awk '{print $2 "\t" $1}' | section content
awk '{print $2 "\t" $3}' /proc/self/mounts | section mount
ip -o -4 address | awk '{print $2 "\t" $4}' | section address
ip -4 route | awk '{print $1 " " $NF "\t" $0}' | section route
tr ' ' '\n' </proc/cmdline | section argument
stat -fc %T /sys/fs/cgroup | section cgroup
cut -d' ' -f1 /proc/modules | section module
sysctl -a 2>/dev/null | sed 's/ = /\t/' | section sysctl
nft list ruleset | sed 's/counter packets [0-9]* bytes [0-9]*/counter/' | sort | section firewall
"""

BY_ITSELF = (
    r"^sysctl (kernel\.random|kernel\.ns_last_pid|fs\.(dentry|file-nr|inode|quota)|kernel\.pty\.nr|vm\.stat|abi)",
    r"^sysctl (net\.netfilter\.nf_conntrack_(count|max)|net\.ipv4\.(tcp|udp)_mem|kernel\.(threads-max|tainted))",
    r"^sysctl (kernel\.sched_domain|user\.max|fs\.(epoll|inotify|nr_open)|vm\.(user|min_free|admin))",
    r"^file /(etc/(ld\.so\.cache|mtab|machine-id|resolv\.conf)|root/\.(cache|bash_history))",
    r"^(file|content) /etc/(ld\.so\.cache|\.pwd\.lock|subuid-|subgid-|passwd-|group-|shadow-|gshadow-)",
    r"__pycache__|\.pyc\b",
    # semanage keeps a file of a heading alone
    r"^file /var/lib/selinux/\w+/active/ports\.local",
    # the policy compiled again from the same parts: of the same size, not of the same bytes
    r"^content /etc/selinux/\w+/policy/policy\.\d+",
    r"^unit session-\d+\.scope",
)
"""What differs from one look to the next with nobody doing anything, or is left by the distribution's own tools."""


def take(node: Ssh) -> Snapshot:
    """Return the guest as it is now (by emulation: in half a minute)."""
    found: Snapshot = {}
    for line in node.run(_SCRIPT, timeout=600).stdout.splitlines():
        section, _, rest = line.partition("\t")
        name, _, value = rest.partition("\t")
        found.setdefault(section, {})[name] = value
    return found
