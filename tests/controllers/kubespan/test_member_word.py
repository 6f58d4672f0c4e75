"""A member that lies leads nothing into the tunnel that is not its own to lead."""

import pytest

from nodespan.controllers.common.ip.blocks import IPSet, parse_network
from nodespan.controllers.kubespan.allowed_ips import claim_of
from nodespan.controllers.kubespan.member_word import (
    MOST_ENDPOINTS,
    MOST_NETWORKS,
    believed_endpoints,
    believed_networks,
    needed_addresses,
    outside,
)
from nodespan.resources.cluster import AffiliateSpec, KubeSpanAffiliate

HONEST = ("192.0.2.1", "10.244.1.0/24", "2001:db8:1::/48", "10.0.0.0/8", "fd00::1")


def prefixes(*networks: str) -> tuple[str, ...]:
    return tuple(map(str, IPSet.of(map(parse_network, networks)).prefixes()))


def believed(*named: str, accepted: tuple[str, ...] = ()) -> tuple[str, ...]:
    found = believed_networks(named, IPSet.of(map(parse_network, accepted)))
    return tuple(map(str, found.prefixes()))


def test_an_honest_member_is_believed() -> None:
    assert believed(*HONEST) == prefixes(*HONEST)


@pytest.mark.parametrize(
    "lie",
    [
        ("0.0.0.0/0",),
        ("::/0",),
        ("0.0.0.0/1", "128.0.0.0/1"),
        ("128.0.0.0/2",),
        tuple(f"{first}.0.0.0/8" for first in range(256)),
        ("2000::/3",),
        ("127.0.0.1",),
        ("127.0.0.0/8",),
        ("169.254.1.1",),
        ("224.0.0.251",),
        ("255.255.255.255",),
        ("0.0.0.0",),
        ("::1",),
        ("::",),
        ("fe80::1",),
        ("ff02::1",),
        ("::ffff:192.0.2.7",),
    ],
    ids=lambda lie: f"{lie[0]} and {len(lie) - 1} more",
)
def test_a_lie_claims_nothing(lie: tuple[str, ...]) -> None:
    assert believed(*lie) == ()


def test_a_default_route_is_led_into_the_tunnel_where_the_configuration_accepts_it() -> None:
    outside_world = IPSet.of([parse_network("8.8.8.8")])
    everything = IPSet.of([parse_network("0.0.0.0/0")])
    assert believed_networks(["0.0.0.0/0"], everything).overlaps(outside_world)
    assert not believed_networks(["0.0.0.0/0"]).overlaps(outside_world)
    assert believed("::/0", accepted=("0.0.0.0/0",)) == ()


def test_a_list_without_end_is_cut() -> None:
    assert len(believed(*(f"10.0.{each // 250}.{2 * (each % 125)}" for each in range(10_000)))) <= MOST_NETWORKS
    endpoints = [f"192.0.2.{each % 250 + 1}:{each + 1}" for each in range(10_000)]
    assert believed_endpoints(endpoints) == tuple(sorted(endpoints[:MOST_ENDPOINTS], key=endpoints.index))


@pytest.mark.parametrize(
    "endpoint",
    [
        "192.0.2.1:0",
        "127.0.0.1:51820",
        "[::1]:51820",
        "[fe80::1%eth0]:51820",
        "169.254.0.1:51820",
        "224.0.0.1:51820",
        "[ff02::1]:51820",
        "0.0.0.0:51820",
        "[::ffff:127.0.0.1]:51820",
        "nonsense",
        "",
    ],
)
def test_an_endpoint_that_cannot_be_reached_is_not_tried(endpoint: str) -> None:
    assert believed_endpoints([endpoint, "192.0.2.1:51820"]) == ("192.0.2.1:51820",)


@pytest.mark.parametrize(
    ("filters", "kept"),
    [
        (None, ("192.0.2.1:1", "10.0.0.1:2", "[2001:db8::1]:3", "10.0.0.1:4")),
        ((), ()),
        (("0.0.0.0/0", "!10.0.0.0/8"), ("192.0.2.1:1",)),
        (("10.0.0.0/8", "0.0.0.0/0"), ("10.0.0.1:2", "10.0.0.1:4", "192.0.2.1:1")),
        (("::/0",), ("[2001:db8::1]:3",)),
    ],
)
def test_the_endpoints_of_peers_are_filtered(filters: tuple[str, ...] | None, kept: tuple[str, ...]) -> None:
    assert believed_endpoints(("192.0.2.1:1", "10.0.0.1:2", "[2001:db8::1]:3", "10.0.0.1:4"), filters) == kept


def test_gateways_and_resolvers_are_reached_outside_of_the_tunnel() -> None:
    needed = needed_addresses(("192.0.2.1", "fe80::1%eth0", "nonsense"), ("198.51.100.53",))
    assert needed == {"192.0.2.1", "fe80::1", "198.51.100.53"}
    claimed = ("192.0.2.0/30", "203.0.113.9/32")
    assert outside(claimed, needed) == prefixes("192.0.2.0/32", "192.0.2.2/31", "203.0.113.9/32")
    assert outside(claimed, needed, IPSet.of([parse_network("192.0.2.0/24")])) == claimed
    assert outside(("203.0.113.9/32",), needed) == ("203.0.113.9/32",)


def test_a_claim_holds_only_what_is_believed() -> None:
    kubespan = KubeSpanAffiliate(
        public_key="key",
        address="127.0.0.1",
        additional_addresses=("0.0.0.0/0", "10.244.1.0/24"),
        endpoints=("127.0.0.1:1", "192.0.2.1:51820"),
    )
    claim = claim_of(AffiliateSpec(nodename="a\x1b", addresses=("192.0.2.1", "::1"), kubespan=kubespan))
    assert claim is not None
    assert (claim.label, claim.endpoints) == ("a\\x1b", ("192.0.2.1:51820",))
    assert not claim.claimed.overlaps(IPSet.of(map(parse_network, ("8.8.8.8", "127.0.0.1", "::1"))))
