import json
from ipaddress import IPv4Network

import pytest

from hardwatt.errors import LabError
from hardwatt.machines import network

ADDRESSES = [
    {"ifname": "lo", "addr_info": [{"family": "inet", "local": "127.0.0.1", "prefixlen": 8}]},
    {"ifname": "vpn", "addr_info": [{"family": "inet", "local": "10.77.1.9", "prefixlen": 24}]},
    {"ifname": "down", "addr_info": []},
]
ROUTES = [
    {"dst": "default", "gateway": "192.0.2.1", "dev": "eth0"},
    {"dst": "10.77.0.0/25", "dev": "tun0"},
    {"dst": "10.77.2.7", "dev": "eth0"},
    {"type": "broadcast", "dst": "10.77.3.255", "dev": "x", "table": "local"},
]


def test_a_lab_gets_a_network_that_no_address_and_no_route_uses() -> None:
    busy = network.parse_taken(json.dumps(ADDRESSES), json.dumps(ROUTES))
    assert network.pick(busy) == "10.77.4.0/24"


def test_the_default_route_takes_nothing() -> None:
    assert network.parse_taken("[]", json.dumps(ROUTES[:1])) == []
    assert network.pick([]) == "10.77.0.0/24"


def test_a_wider_network_around_the_range_leaves_none() -> None:
    with pytest.raises(LabError, match="taken") as caught:
        network.pick([IPv4Network("10.0.0.0/8")])
    assert caught.value.hint


@pytest.mark.parametrize(
    ("rules", "filters"),
    [
        ("-P INPUT ACCEPT\n", False),
        ("", False),
        ("-P INPUT DROP\n-A INPUT -j ufw-before-input\n", True),
        ("-P INPUT ACCEPT\n-A INPUT -j REJECT\n", True),
    ],
)
def test_a_firewall_on_the_host_is_seen(rules: str, filters: bool) -> None:
    assert network.filters_input(rules) is filters
    assert network.input_rule("0a1b2c3d")[:3] == ["INPUT", "-i", "hw-0a1b2c3d"]


def test_the_two_ends() -> None:
    addresses = network.Addresses("10.77.4.0/24")
    assert (addresses.host, addresses.node, addresses.prefix) == ("10.77.4.1", "10.77.4.2", 24)
    first, second = network.up("0a1b2c3d", addresses)
    assert first == ["ip", "address", "replace", "10.77.4.1/24", "dev", "hw-0a1b2c3d"]
    assert second[-1] == "up"
