"""A host that is not there: scripted answers of a bare Debian 12 machine, for plans and tests.

``pyinfra hardwatt/testing/fake_host.py deploys/node.py --dry`` shows the whole list without any machine. The
answers are constructed from Debian 12's own tools, and every other command succeeds silently.
"""

from typing import Any

from deploys import contract

_SYSTEM = """\
os=debian
os_version=12
codename=bookworm
arch=x86_64
kernel=6.1.0-28-amd64
hostname=node-1
init=systemd
uid=0
cpus=4
memory_kib=8121552
swap_kib=0
disk_free_kib=41943040
time={time}
nameservers=192.0.2.53
virtualization=none
capabilities=000001ffffffffff
"""

_CGROUP = """\
version=2
usable=cpuset cpu io memory hugetlb pids rdma misc freezer
unit=0::/system.slice/run-u12.service
"""

_SETTINGS = """\
net.bridge.bridge-nf-call-ip6tables
net.bridge.bridge-nf-call-iptables
net.ipv4.ip_forward yes 0
net.netfilter.nf_conntrack_max
"""


_CONFIG = """
CGROUPS CGROUP_BPF CGROUP_CPUACCT CGROUP_DEVICE CGROUP_FREEZER CGROUP_PIDS CGROUP_SCHED CPUSETS FAIR_GROUP_SCHED INET
IPC_NS MEMCG NAMESPACES NET_NS PID_NS PROC_FS UTS_NS
"""


def answers(**changed: Any) -> dict[str, Any]:
    """Return the scripted answers of a bare Debian 12 machine, some of them changed.

    A key names a fact (``system``, ``cgroup``, ...), its value what that command prints.
    """
    # the inventory is read once a run, so the clock agrees with the controller's
    import time

    facts: dict[str, Any] = {
        "system": _SYSTEM.format(time=int(time.time())),
        "cgroup": _CGROUP,
        "modules": "overlay no yes\nbr_netfilter no yes",
        "settings": _SETTINGS,
        "boot": "cmdline BOOT_IMAGE=/vmlinuz root=UUID=1 ro quiet\nloader grub\nentry root=UUID=1 ro quiet",
        "record": "read=yes",
        "headers": "release=6.1.0-28-amd64\nlists=yes\nknown=yes",
        "config": "probed=yes\nbtf=yes\nread=yes\n" + "\n".join(f"CONFIG_{name}=y" for name in _CONFIG.split()),
        "surroundings": "synchronised=yes\nuuid=4c4c4544-0042-3510-8052-b4c04f4d4d32\nfips=0\nrelease_lock=",
        "firewalld": "read=yes",
        "selinux": "read=yes",
        "swap": "read=yes",
        "powercap": "read=yes",
        "unmanaged": "read=yes",
        "ports": 'LISTEN 0 128 0.0.0.0:22 0.0.0.0:* users:(("sshd",pid=612,fd=3))',
        "routes": "198.51.100.0/24 dev eth0 proto kernel scope link src 198.51.100.7",
        "kubeadm": "read=yes",
        "answer": "read=yes",
        "madewith": "",
        "debs": "",
        "images": "",
        "unit": "LoadState=not-found\nActiveState=inactive\nUnitFileState=\nNeedDaemonReload=no",
    }
    facts.update(changed)
    # what pyinfra's own operations ask
    theirs = {"uname -s": "Linux", "command -v useradd": "/usr/sbin/useradd"}
    return {**{f": facts.{name}": text for name, text in facts.items()}, **theirs}


_DIGEST = "sha256:" + "0123456789abcdef" * 4
_OF_NODE = ("coredns/coredns", "etcd", "kube-apiserver", "kube-controller-manager", "kube-proxy", "kube-scheduler")

LAB = contract.Lab(
    name="fake",
    machine="ssh",
    preset="supported",
    node=contract.Node("node-1", "198.51.100.7"),
    networks=contract.Networks("10.244.0.0/16", "10.96.0.0/16", node_pod_cidr="10.244.0.0/24", node_mask=24),
    cert_sans=("127.0.0.1", "198.51.100.7", "localhost", "node-1"),
    cgroup_root="",
    scrape_interval="15s",
    boot=contract.Boot(disable_kmem_accounting=False, kernel_headers="matching"),
    stack=contract.Stack(containerd="2.3.4", flux="2.9.5", cni="bridge", kepler="v0.11.4"),
    distribution_packages=("conntrack", "runc"),
    packages=contract.Packages(
        containerd={"containerd.io": "2.3.4+lab.1"},
        kubernetes={"kubeadm": "1.36.3+lab.1", "kubectl": "1.36.3+lab.1", "kubelet": "1.36.3+lab.1"},
    ),
    images=contract.Images(
        node=tuple(contract.Image(f"registry.k8s.io/{name}", "v1.36.3_lab.1", _DIGEST) for name in _OF_NODE),
        workload=(contract.Image("hardwatt.dev/app", "v0.1.0_lab.1", _DIGEST),),
    ),
    kubernetes_version="v1.36.3+lab.1",
    pause="registry.k8s.io/pause:3.10.2_lab.1",
    etcd_tag="3.6.14_lab.1",
    dns_tag="v1.14.2_lab.1",
    repository=contract.AptRepository(
        url="http://198.51.100.1:8701",
        suite="stable",
        components="main",
        key="-----BEGIN PGP PUBLIC KEY BLOCK-----\n",
    ),
    upstream=None,
    registries={
        "registry.k8s.io": contract.Registry(
            mirror="http://198.51.100.1:8700/v2/registry.k8s.io", server="https://registry.k8s.io"
        ),
    },
    meter=contract.Meter(
        config={"source": "modelled"},
        files={
            "/etc/systemd/system/hardwatt-meter.service": "hardwatt/meter/hardwatt-meter.service",
            "/usr/local/lib/hardwatt/hardwatt_meter.py": "hardwatt/meter/hardwatt_meter.py",
            "/usr/local/lib/hardwatt/hardwatt/meter/recorder.py": "hardwatt/meter/recorder.py",
        },
        mounts=(
            "var-lib-hardwatt-meter-record.mount",
            "var-lib-hardwatt-meter-sysfs.mount",
            "var-lib-hardwatt-meter-textfile.mount",
        ),
    ),
)


def lab(**changed: Any) -> dict[str, Any]:
    """Return the lab's data as ``hardwatt.provision.node_data`` writes it, some of it changed.

    Raises ``ContractError`` where a change is none that it could write.
    """
    return contract.Lab.from_dict({**LAB.to_dict(), **changed}).to_dict()


GIT = contract.Git(
    git_keys={"controller": "ssh-ed25519 AAAA1", "flux": "ssh-ed25519 AAAA2", "runner": "ssh-ed25519 AAAA3"},
    git_access={"controller": {"lab": "rw"}, "flux": {"lab": "ro"}, "runner": {"workload": "ro"}},
    git_port=2222,
).to_dict()

nodes = [
    ("@fake/node-1", {"fake_responses": answers(), "fake_delay": 0, "fake_delay_jitter": 0, "lab": lab(), **GIT}),
]
