import json
from collections.abc import Callable
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from hardwatt.machines.embedded import host_record, host_snapshot, network
from hardwatt.machines.embedded.host_record import Difference, HostRecord, HostState, compare, of_other_labs


class Host:
    """A host with sysctls in a folder."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.snapshots = 0
        self.set("kernel/panic", "1")
        self.set("vm/overcommit_memory", "0")
        self.set("vm/dirty_ratio", "20")
        self.boot("first")
        self.labs = {ident: top / "labs" / ident for ident in "abc"}
        for folder in self.labs.values():
            folder.mkdir(parents=True)

    def set(self, name: str, value: str) -> None:
        path = self.top / "sys" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(value + "\n")

    def get(self, name: str) -> str:
        return (self.top / "sys" / name).read_text().strip()

    def boot(self, ident: str) -> None:
        (self.top / "boot_id").write_text(ident + "\n")

    def take(self) -> host_snapshot.Snapshot:
        self.snapshots += 1
        return {"sysctl": host_snapshot.sysctls(self.top / "sys")}

    def record(self) -> HostRecord:
        return HostRecord(self.top / "state/hardwatt/host", self.top / "sys", self.top / "boot_id", self.take)

    def claim(self, ident: str, busy: list[IPv4Network] | None = None) -> str:
        def pick(others: list[IPv4Network]) -> str:
            return network.pick([*(busy or []), *others])

        return self.record().claim(ident, str(self.labs[ident]), pick=pick)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_two_labs_never_share_a_network_and_keep_their_own(host: Host) -> None:
    first = host.claim("a", [IPv4Network("10.77.0.0/24")])
    second = host.claim("b")
    assert (first, second) == ("10.77.1.0/24", "10.77.0.0/24")
    assert host.claim("a", [IPv4Network("10.77.1.0/24")]) == first


def test_the_last_lab_gives_back_what_nodes_write(host: Host) -> None:
    for ident in "ab":
        host.claim(ident)
        host.record().hold(ident)
        host.set("kernel/panic", "10")
    host.set("vm/overcommit_memory", "1")
    host.set("vm/dirty_ratio", "5")
    assert host.snapshots == 1
    assert host.record().release("a") == []
    assert host.get("kernel/panic") == "10"
    assert host.record().release("b") == ["kernel/panic = 1", "vm/overcommit_memory = 0"]
    assert host.get("kernel/panic") == "1"
    assert host.get("vm/dirty_ratio") == "5", "somebody else's change stays"
    assert host.record().before is None


def test_down_twice_restores_once(host: Host) -> None:
    host.claim("a")
    host.record().hold("a")
    host.set("kernel/panic", "10")
    host.record().release("a")
    host.set("kernel/panic", "7")
    assert host.record().release("a") == []
    assert host.get("kernel/panic") == "7"


def test_up_after_a_kill_keeps_the_first_snapshot(host: Host) -> None:
    host.claim("a")
    host.record().hold("a")
    host.set("kernel/panic", "10")
    host.record().hold("a")
    host.record().release("a")
    assert host.get("kernel/panic") == "1"


def test_a_reboot_ends_every_hold(host: Host) -> None:
    host.claim("a")
    host.claim("b")
    host.record().hold("a")
    host.boot("second")
    host.set("kernel/panic", "3")
    host.record().hold("b")
    host.set("kernel/panic", "10")
    assert host.record().release("b") == ["kernel/panic = 3"]


def test_after_a_reboot_nothing_old_is_restored(host: Host) -> None:
    host.claim("a")
    host.record().hold("a")
    host.boot("second")
    host.set("kernel/panic", "3")
    assert host.record().release("a") == []
    assert host.get("kernel/panic") == "3"


def test_a_lab_whose_folder_is_gone_holds_nothing(host: Host) -> None:
    host.claim("a")
    host.claim("b")
    host.record().hold("a")
    host.record().hold("b")
    host.set("kernel/panic", "10")
    host.labs["a"].rmdir()
    assert host.record().release("b") == ["kernel/panic = 1"]
    assert list(host.record().labs) == ["b"]


def test_a_sysctl_that_refuses_is_told_and_the_others_are_restored(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.claim("a")
    host.record().hold("a")
    host.set("kernel/panic", "10")
    host.set("vm/overcommit_memory", "1")
    real: Callable[..., int] = Path.write_text

    def write(path: Path, text: str, **more: object) -> int:
        if path.name == "panic":
            raise PermissionError(13, "Permission denied")
        return real(path, text, **more)

    monkeypatch.setattr(Path, "write_text", write)
    assert host.record().release("a") == [
        "kernel/panic could not be set back to 1: Permission denied",
        "vm/overcommit_memory = 0",
    ]


def test_the_record_goes_with_the_last_lab(host: Host) -> None:
    place = host.record().place
    for ident in "ab":
        host.claim(ident)
    host.record().forget("a")
    assert json.loads((place / "record.json").read_text())["labs"].keys() == {"b"}
    host.record().forget("b")
    assert not place.exists()
    assert not place.parent.exists()
    assert host.claim("c") == "10.77.0.0/24"


def test_compare_names_what_is_new_gone_and_changed() -> None:
    before = {"link": {"eth0": "UP", "old": ""}, "sysctl": {"kernel/panic": "1"}}
    after = {"link": {"eth0": "UP", "hw-1": ""}, "sysctl": {"kernel/panic": "10"}, "mount": {"/x": "tmpfs"}}
    found = compare(before, after)
    assert found == [
        Difference("link", "hw-1", None, ""),
        Difference("link", "old", "", None),
        Difference("mount", "/x", None, "tmpfs"),
        Difference("sysctl", "kernel/panic", "1", "10"),
    ]
    assert str(found[0]) == "link hw-1 is new"
    assert "was '1', is '10'" in str(found[3])
    assert compare(before, after, ignore=["^link hw-", "^sysctl ", "^mount /x$", "^link old"]) == []


def test_moving_and_secret_sysctls_are_left_out(tmp_path: Path) -> None:
    for name in ("kernel/random/uuid", "fs/file-nr", "net/ipv4/conf/hw-1/rp_filter", "net/ipv4/tcp_fastopen_key",
                 "kernel/panic", "net/ipv4/conf/all/rp_filter"):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1\n")
    secret = tmp_path / "kernel/write_only"
    secret.write_text("x")
    secret.chmod(0o200)
    assert host_snapshot.sysctls(tmp_path) == {"kernel/panic": "1", "net/ipv4/conf/all/rp_filter": "1"}


def test_another_labs_things_are_told_from_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))  # a host without labs
    after = {
        "cgroup": {"/sys/fs/cgroup/pids/hardwatt/aaaaaaaa/x": "", "/sys/fs/cgroup/pids/hardwatt/bbbbbbbb": ""},
        "link": {"hw-aaaaaaaa": "UP", "hw-bbbbbbbb": "UP"},
        "route": {"main 10.77.0.0/24 dev hw-aaaaaaaa": ""},
        "process": {"hardwatt/aaaaaaaa 7": "etcd", "hardwatt/bbbbbbbb 8": "etcd"},
        "unit": {"hardwatt-aaaaaaaa.service": "loaded"},
        "file": {"/run/systemd/nspawn/propagate/hw-aaaaaaaa": "there"},
    }
    ours = compare({}, after, ignore=of_other_labs("bbbbbbbb"))
    assert [d.name for d in ours] == ["/sys/fs/cgroup/pids/hardwatt/bbbbbbbb", "hw-bbbbbbbb", "hardwatt/bbbbbbbb 8"]


def test_what_nodes_change_and_labs_share_is_anothers_business_only_while_another_lab_holds_the_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    record = HostRecord(host_record.default_place(), boot_id=_file(tmp_path / "boot", "1"), take=dict)
    moved = {
        "cgroup": {"/sys/fs/cgroup/pids/hardwatt": ""},
        "file": {"/var/lib/hardwatt": "there"},
        "sysctl": {"kernel/panic": "10", "kernel/hostname": "x"},
    }
    all_of_it = ["/sys/fs/cgroup/pids/hardwatt", "/var/lib/hardwatt", "kernel/hostname", "kernel/panic"]

    def ours() -> list[str]:
        return [found.name for found in compare({}, moved, ignore=of_other_labs("bbbbbbbb"))]

    for ident in ("bbbbbbbb", "aaaaaaaa"):
        record.claim(ident, str(tmp_path), pick=lambda others: f"10.77.{len(others)}.0/24")
    record.hold("bbbbbbbb")
    assert ours() == [name for name in all_of_it if name != "/var/lib/hardwatt"], "the other lab is recorded there"
    assert not host_record.held_by_others("bbbbbbbb")
    record.hold("aaaaaaaa")
    assert ours() == ["kernel/hostname"]
    assert host_record.held_by_others("bbbbbbbb")
    record.forget("aaaaaaaa")
    assert ours() == all_of_it


@pytest.mark.parametrize("moment", ["before", "after", "both"])
def test_what_another_lab_holds_at_either_moment_is_its_own_business(
    moment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    record = HostRecord(host_record.default_place(), boot_id=_file(tmp_path / "boot", "1"), take=dict)
    now = {"sysctl": {"kernel/panic": "10", "kernel/hostname": "x"}}
    monkeypatch.setattr(host_record, "take", lambda: now)
    record.claim("aaaaaaaa", str(tmp_path), pick=lambda _: "10.77.0.0/24")
    if moment != "after":
        record.hold("aaaaaaaa")
    state = HostState.now("bbbbbbbb")
    assert state.differences() == []
    if moment == "before":
        record.release("aaaaaaaa")
    elif moment == "after":
        record.hold("aaaaaaaa")
    now = {"sysctl": {"kernel/panic": "0", "kernel/hostname": "y"}}
    assert [changed.name for changed in state.differences()] == ["kernel/hostname"]
    assert state.differences(ignore=["^sysctl kernel/"]) == []


def test_what_nobody_else_holds_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    now = {"sysctl": {"kernel/panic": "10"}}
    monkeypatch.setattr(host_record, "take", lambda: now)
    state = HostState.now("bbbbbbbb")
    now = {"sysctl": {"kernel/panic": "0"}}
    assert [str(changed) for changed in state.differences()] == ["sysctl kernel/panic: was '10', is '0'"]


def test_another_labs_unreachable_route_is_its_own_business(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    record = HostRecord(host_record.default_place(), boot_id=_file(tmp_path / "boot", "1"), take=dict)
    for ident in ("aaaaaaaa", "bbbbbbbb"):
        record.claim(ident, str(tmp_path), pick=lambda others: f"10.77.{len(others)}.0/24")
    routes = {"route": {f"main 10.77.{number}.0/24 dev -": "unreachable" for number in (0, 1, 2)}}
    ours = [found.name for found in compare({}, routes, ignore=of_other_labs("bbbbbbbb"))]
    assert ours == ["main 10.77.1.0/24 dev -", "main 10.77.2.0/24 dev -"]


def _file(path: Path, text: str) -> Path:
    path.write_text(text)
    return path
