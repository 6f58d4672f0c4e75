"""What keeps a node from standing for election, how that is reported, and its desired address."""

from typing import Any

import attrs
import pytest

from nodespan.controllers.network.vip.vip_rules import (
    Hindrance,
    election_prefix,
    find_hindrance,
    held_address,
    held_prefix,
    is_as_held,
    namesake,
)
from nodespan.etcd import LeaderRecord
from nodespan.resources.config.nodespan import EtcdSettings
from nodespan.resources.network import (
    AddressFlags,
    AddressStatusSpec,
    Family,
    OperatorSpecSpec,
    Scope,
    VIPOperatorSpec,
    VIPState,
)
from nodespan.resources.network import Operator as OperatorKind
from nodespan.resources.network.vip_condition import VIPConditionSpec

IP = "192.0.2.100"
ETCD = EtcdSettings(endpoints=("http://192.0.2.1:2379", "https://[2001:db8::1]:2379", "https://etcd.example:2379"))
FOR_GOOD = AddressFlags.PERMANENT


def vip(ip: str = IP) -> OperatorSpecSpec:
    return OperatorSpecSpec(operator=OperatorKind.VIP, link_name="eth0", vip=VIPOperatorSpec(ip=ip))


def seen(address: str, link: str = "eth0", **fields: Any) -> AddressStatusSpec:
    return AddressStatusSpec(
        address=address, local=address.partition("/")[0], link_name=link, **{"flags": FOR_GOOD, **fields}
    )


NETWORK = seen("192.0.2.1/24")
HELD = seen(f"{IP}/32", flags=AddressFlags(0), fenced=True)


def hindrance(
    *addresses: AddressStatusSpec,
    ip: str = IP,
    etcd: EtcdSettings | None = ETCD,
    hostname: str = "one",
    conditions: dict[str, VIPConditionSpec] | None = None,
    is_held: bool = False,
) -> Hindrance | None:
    return find_hindrance(vip(ip), etcd, hostname, addresses, conditions or {}, is_held=is_held)


@pytest.mark.parametrize(
    ("given", "state", "says"),
    [
        ({"etcd": None}, VIPState.WAITING, "no configuration yet"),
        ({"etcd": EtcdSettings()}, VIPState.REFUSED, "no etcd endpoints are configured"),
        ({"ip": "192.0.2.1"}, VIPState.REFUSED, "http://192.0.2.1:2379 is the virtual IP itself"),
        ({"ip": "2001:DB8::1"}, VIPState.REFUSED, "is the virtual IP itself"),
        ({"ip": "198.51.100.7"}, VIPState.REFUSED, "198.51.100.7 is in none of the networks of eth0 (192.0.2.0/24)"),
        ({"ip": "2001:db8::7"}, VIPState.WAITING, "eth0 has no IPv6 network yet"),
        ({"hostname": ""}, VIPState.WAITING, "no hostname yet"),
        (
            {
                "conditions": {
                    "a": VIPConditionSpec(ok=True, since=""),
                    "b": VIPConditionSpec(ok=False, since="", reason="is down"),
                }
            },
            VIPState.WAITING,
            "waits for b: is down",
        ),
    ],
)
def test_the_reason_names_what_is_missing(given: dict[str, Any], state: VIPState, says: str) -> None:
    found = hindrance(NETWORK, **given)
    assert found is not None
    assert found.state is state
    assert says in found.reason
    assert found.problem == (found.reason if state is VIPState.REFUSED else "")


def test_nothing_hinders_a_node_that_has_all_it_takes() -> None:
    assert hindrance(NETWORK, conditions={"a": VIPConditionSpec(ok=True, since="")}) is None


@pytest.mark.parametrize(
    ("addresses", "says"),
    [
        ((), "no IPv4 network yet"),
        ((seen("192.0.2.1/24", "eth1"),), "no IPv4 network yet"),
        # An address alone has no neighbours.
        ((seen("192.0.2.1/32"),), "no IPv4 network yet"),
        ((seen("198.51.100.1/24"), seen("10.0.0.1/8")), "(10.0.0.0/8, 198.51.100.0/24)"),
        ((seen("192.0.2.1/26"),), "(192.0.2.0/26)"),
    ],
)
def test_the_address_must_be_one_of_the_links_networks(addresses: tuple[AddressStatusSpec, ...], says: str) -> None:
    found = hindrance(*addresses)
    assert found is not None
    assert says in found.reason


def test_a_link_local_network_counts_for_link_local_addresses_only() -> None:
    local = seen("fe80::1/64", family=Family.INET6)
    assert hindrance(local, ip="fe80::100") is None
    found = hindrance(local, ip="2001:db8::100")
    assert found is not None
    assert found.state is VIPState.WAITING
    assert hindrance(local, seen("2001:db8::1/64", family=Family.INET6), ip="2001:db8::100") is None


@pytest.mark.parametrize(
    ("address", "is_held", "state"),
    [
        # This agent's own, and what an earlier one left: that is taken away first.
        (HELD, True, None),
        (HELD, False, None),
        # A kernel that does not tell whose an address is.
        (attrs.evolve(HELD, fenced=False), True, None),
        (attrs.evolve(HELD, fenced=False), False, VIPState.WAITING),
        (seen(f"{IP}/32"), True, VIPState.REFUSED),
        (seen(f"{IP}/24"), False, VIPState.REFUSED),
        (seen(f"{IP}/24", flags=AddressFlags(0)), False, VIPState.REFUSED),
        (attrs.evolve(HELD, link_name="eth1"), False, VIPState.REFUSED),
        # The near end of a point-to-point address.
        (attrs.evolve(seen("198.51.100.1/32"), local=IP), False, VIPState.REFUSED),
    ],
)
def test_no_other_link_of_the_node_may_have_the_address(
    address: AddressStatusSpec, is_held: bool, state: VIPState | None
) -> None:
    found = hindrance(NETWORK, address, is_held=is_held)
    assert (found.state if found else None) is state


def test_the_election_is_that_of_the_original() -> None:
    assert election_prefix("192.0.2.100") == "talos:v1:vip:election:192.0.2.100/"
    assert election_prefix("2001:DB8:0::10") == "talos:v1:vip:election:2001:db8::10/"


@pytest.mark.parametrize(
    ("ip", "prefix", "family", "flags"),
    [
        ("192.0.2.100", "192.0.2.100/32", Family.INET4, AddressFlags(0)),
        ("2001:DB8::10", "2001:db8::10/128", Family.INET6, AddressFlags.NODAD),
    ],
)
def test_the_address_is_held_alone_and_for_a_time(ip: str, prefix: str, family: Family, flags: AddressFlags) -> None:
    held = held_address(vip(ip), 12.5)
    assert (held.address, held.family, held.flags, held.scope) == (prefix, family, flags, Scope.GLOBAL)
    assert (held.link_name, held.valid_until, held.announce_with_arp) == ("eth0", 12.5, True)
    assert held_prefix(ip) == prefix


def test_a_permanent_address_does_not_come_from_an_election() -> None:
    assert is_as_held(HELD, IP)
    assert not is_as_held(attrs.evolve(HELD, flags=FOR_GOOD), IP)
    assert not is_as_held(attrs.evolve(HELD, address=f"{IP}/24"), IP)


def candidate(value: str, lease: int) -> LeaderRecord:
    return LeaderRecord(key=f"{election_prefix(IP)}{lease:x}", value=value, create_revision=lease, lease=lease)


@pytest.mark.parametrize(
    ("candidates", "is_there"),
    [
        ((), False),
        ((candidate("one", 1), candidate("two", 2)), False),
        # What this agent had before.
        ((candidate("one", 3), candidate("one", 1)), False),
        ((candidate("one", 1), candidate("one", 0xABC)), True),
    ],
)
def test_another_node_of_the_same_name_is_noticed(candidates: tuple[LeaderRecord, ...], is_there: bool) -> None:
    said = namesake(candidates, "one", frozenset({1, 3}))
    assert bool(said) is is_there
    assert not is_there or "lease abc" in said
