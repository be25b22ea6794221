import json
from ipaddress import IPv4Network

import pytest

from hardwatt.core.errors import LabError
from hardwatt.core.process import Result
from hardwatt.machines.embedded import network
from tests.data.recordings import recorded


def test_a_lab_gets_a_network_that_no_address_and_no_route_uses() -> None:
    busy = network.parse_taken(recorded("ip-addresses"), recorded("ip-routes"))
    assert network.pick(busy) == "10.77.4.0/24"


def test_the_default_route_takes_nothing() -> None:
    default = [route for route in json.loads(recorded("ip-routes")) if route["dst"] == "default"]
    assert len(default) == 1
    assert network.parse_taken("[]", json.dumps(default)) == []
    assert network.pick([]) == "10.77.0.0/24"


def test_a_wider_network_around_the_range_leaves_none() -> None:
    with pytest.raises(LabError, match="taken") as caught:
        network.pick([IPv4Network("10.0.0.0/8")])
    assert caught.value.hint


@pytest.mark.parametrize(
    ("rules", "filters"),
    [
        (recorded("iptables-open"), False),
        ("", False),
        (recorded("iptables-drop"), True),
        (recorded("iptables-reject"), True),
        (recorded("iptables-accept"), True),
    ],
)
def test_a_firewall_on_the_host_is_seen(rules: str, filters: bool) -> None:
    assert network.filters_input(rules) is filters
    rule = network.input_rule("0a1b2c3d")
    assert rule[:3] == ["INPUT", "-i", "hw-0a1b2c3d"]
    first, last = map(int, rule[rule.index("--dport") + 1].split(":"))
    assert first > 1024, "no service of the host's own"
    assert last <= 65535
    assert rule[rule.index("-p") + 1] == "tcp"


def test_the_two_ends() -> None:
    addresses = network.Addresses("10.77.4.0/24")
    assert (addresses.host, addresses.node, addresses.prefix) == ("10.77.4.1", "10.77.4.2", 24)
    first, second = network.up("0a1b2c3d", addresses)
    assert first == ["ip", "address", "replace", "10.77.4.1/24", "dev", "hw-0a1b2c3d"]
    assert second[-1] == "up"


class Host:
    """A host whose ``ip`` prints what the test says, and that notes what is changed on it."""

    def __init__(self, **shown: object) -> None:
        self.shown = {"address": [], "route show": [], "route get": [], **shown}
        self.done: list[list[str]] = []

    def run(self, argv: list[str], **_: object) -> Result:
        for words, answer in self.shown.items():
            if all(word in argv for word in words.split()):
                return Result(tuple(argv), 0, json.dumps(answer), "", 0)
        self.done.append(argv)
        return Result(tuple(argv), 0, "", "", 0)


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    made = Host()
    monkeypatch.setattr("hardwatt.machines.embedded.network.process.run", made.run)
    return made


SUBNET = "10.77.4.0/24"
BARRIER = {"type": "unreachable", "dst": SUBNET, "metric": network.BARRIER_METRIC}


def test_the_unreachable_route_is_added_once_and_removed_once(host: Host) -> None:
    network.drop_barrier(SUBNET)
    assert host.done == [], "a lab that was made without one is taken down without an error"
    network.raise_barrier(SUBNET)
    words = ["unreachable", SUBNET, "metric", str(network.BARRIER_METRIC)]
    assert host.done == [["ip", "route", "add", *words]]
    host.shown["route show"] = [BARRIER]
    network.raise_barrier(SUBNET)
    network.drop_barrier("10.77.5.0/24")
    assert len(host.done) == 1
    network.drop_barrier(SUBNET)
    assert host.done[1:] == [["ip", "route", "delete", *words]]


def test_an_unreachable_route_of_somebody_else_is_not_a_labs() -> None:
    others = [{"type": "unreachable", "dst": "10.0.0.0/8"}, {"type": "blackhole", "dst": SUBNET, "metric": 9}]
    assert network.parse_barriers(json.dumps([*others, BARRIER])) == [SUBNET]


LINK = {"ifname": "hw-0a1b2c3d", "addr_info": [{"family": "inet", "local": "10.77.4.1", "prefixlen": 24}]}
OVER_LINK = {"dst": "10.77.4.2", "dev": "hw-0a1b2c3d"}


@pytest.mark.parametrize(
    ("exists", "links", "route", "reason"),
    [
        (True, [LINK], [OVER_LINK], ""),
        (False, [], [], "link hw-0a1b2c3d is gone"),
        (True, [], [], "link hw-0a1b2c3d is down"),
        (True, [{}], [], "link hw-0a1b2c3d is down"),
        (True, [{**LINK, "addr_info": []}], [], "has no address 10.77.4.1"),
        (True, [LINK], [{"dst": "10.77.4.2", "dev": "eth0"}], "does not go over the machine's link"),
        (True, [LINK], [], "does not go over the machine's link"),
    ],
)
def test_a_link_that_carries_nothing_is_named(
    host: Host, monkeypatch: pytest.MonkeyPatch, exists: bool, links: object, route: object, reason: str
) -> None:
    monkeypatch.setattr(network, "exists", lambda _: exists)
    host.shown |= {"address": links, "route get": route, "route show": [BARRIER]}
    addresses = network.Addresses(SUBNET)
    found = network.fault("0a1b2c3d", addresses)
    assert reason in found and bool(reason) == bool(found)
    assert network.configured("0a1b2c3d", addresses) is not bool(reason)


def test_a_link_without_the_unreachable_route_behind_it_is_configured_again(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network, "exists", lambda _: True)
    host.shown |= {"address": [LINK], "route get": [OVER_LINK]}
    assert not network.configured("0a1b2c3d", network.Addresses(SUBNET))
