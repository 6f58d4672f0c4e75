from ipaddress import ip_network
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodespan.controllers.common.ip.blocks import IPSet, parse_network
from nodespan.controllers.common.ip.index import PrefixIndex
from nodespan.controllers.kubespan.allowed_ips import AllowedIPs, Claim, claim_of
from nodespan.controllers.kubespan.member_word import RESERVED
from nodespan.resources.cluster import AffiliateSpec, KubeSpanAffiliate
from tests.support.vectors import each

EVERYTHING = IPSet.of(map(parse_network, ("0.0.0.0/0", "::/0")))


def _affiliate(plain: dict[str, Any]) -> AffiliateSpec:
    kubespan = plain.get("kubespan")
    return AffiliateSpec(
        node_id=plain["node_id"],
        nodename=plain.get("nodename", ""),
        addresses=tuple(plain.get("addresses", ())),
        kubespan=None
        if kubespan is None
        else KubeSpanAffiliate(
            public_key=kubespan.get("public_key", ""),
            address=kubespan.get("address", ""),
            additional_addresses=tuple(kubespan.get("additional_addresses", ())),
            exclude_advertised_networks=tuple(kubespan.get("exclude_advertised_networks", ())),
        ),
    )


def _granted(allowed: AllowedIPs, keys: set[str]) -> dict[str, list[str]]:
    peers = {key: allowed.peer(key) for key in keys}
    return {key: [str(prefix) for prefix in peer[1].prefixes()] for key, peer in peers.items() if peer is not None}


@pytest.mark.parametrize("order", [1, -1], ids=["in order", "reversed"])
@each("allowed_ips")
def test_addresses_go_to_peers_without_overlap(vector: dict[str, Any], order: int) -> None:
    allowed = AllowedIPs()
    keys = set()
    for plain in vector["affiliates"][::order]:
        if plain["node_id"] == vector["local_node_id"]:
            continue
        affiliate = _affiliate(plain)
        try:
            # The vectors are the original's, which believes whatever a member claims.
            claim = claim_of(affiliate, accepted=EVERYTHING)
        except ValueError:
            claim = None
        allowed.assign(affiliate.node_id, claim)
        if claim is not None:
            keys.add(claim.public_key)
    expected = {
        key: IPSet.of(map(parse_network, prefixes)) - RESERVED for key, prefixes in vector["allowed_ips"].items()
    }
    assert _granted(allowed, keys) == {key: list(map(str, each.prefixes())) for key, each in expected.items()}


NETWORKS = st.builds(
    lambda base, length: ip_network((0x0A000000 + (base << (32 - length) & 0xFF), length), strict=False),
    st.integers(0, 255),
    st.integers(26, 32),
)
CLAIMS = st.builds(
    lambda key, networks: Claim(key, "", "", (), IPSet.of(networks)),
    st.sampled_from(["key-1", "key-2", "key-3", "key-4"]),
    st.lists(NETWORKS, max_size=4),
)
IDS = st.sampled_from(["a", "b", "c", "d", "e"])
# Each peer of the configuration has an id of its own.
STATIC = CLAIMS.map(lambda claim: (f"0{claim.public_key}", attrs.evolve(claim, is_static=True)))
CHANGES = st.tuples(IDS, st.none() | CLAIMS) | STATIC | STATIC.map(lambda static: (static[0], None))


def _from_scratch(claims: dict[str, Claim]) -> dict[str, IPSet]:
    """The rule as it is told: one after the other in the order of ids, those of the configuration last."""
    members: dict[str, IPSet] = {}
    static: dict[str, IPSet] = {}
    for _, claim in sorted(claims.items(), key=lambda item: (item[1].is_static, item[0])):
        granted = claim.claimed
        for key, holder in (*members.items(), *static.items()):
            if not claim.is_static or key != claim.public_key:
                granted = granted - holder
        (static if claim.is_static else members)[claim.public_key] = granted
    return {key: members.get(key, IPSet()) | static.get(key, IPSet()) for key in {*members, *static}}


@given(st.lists(CHANGES, max_size=20))
def test_incremental_changes_end_where_a_new_start_would(changes: list[tuple[str, Claim | None]]) -> None:
    allowed = AllowedIPs()
    claims: dict[str, Claim] = {}
    for id, claim in changes:
        before = {key: allowed.peer(key) for key in ("key-1", "key-2", "key-3", "key-4")}
        told = allowed.assign(id, claim).keys
        claims.pop(id, None)
        if claim is not None:
            claims[id] = claim
        expected = _from_scratch(claims)
        for key, peer in before.items():
            now = allowed.peer(key)
            assert (None if now is None else now[1]) == expected.get(key)
            assert now == peer or key in told


def test_a_change_touches_only_those_it_overlaps() -> None:
    allowed = AllowedIPs()
    for number in range(100):
        wanted = IPSet.of([parse_network(f"10.0.{number}.0/24")])
        allowed.assign(f"node-{number:03}", Claim(f"key-{number}", "", "", (), wanted))
    wide = Claim("key-wide", "", "", (), IPSet.of([parse_network("10.0.10.0/23")]))
    changes = allowed.assign("node-000a", wide)
    assert changes.keys == {"key-wide", "key-10", "key-11"}
    assert {(overlap.affiliate_id, overlap.holder_id) for overlap in changes.overlaps} == {
        ("node-010", "node-000a"),
        ("node-011", "node-000a"),
    }


@given(st.lists(NETWORKS, max_size=6), st.lists(NETWORKS, max_size=6))
def test_sets_behave_as_sets_of_addresses(left: list[Any], right: list[Any]) -> None:
    def members(networks: list[Any]) -> set[int]:
        return {int(address) for network in networks for address in network}

    first, second = IPSet.of(left), IPSet.of(right)
    assert members(list((first - second).prefixes())) == members(left) - members(right)
    assert members(list((first | second).prefixes())) == members(left) | members(right)
    assert first.overlaps(second) == bool(members(left) & members(right))


@given(st.lists(st.tuples(IDS, st.lists(NETWORKS, max_size=4)), max_size=12), NETWORKS)
def test_the_index_finds_exactly_the_overlapping_claims(changes: list[tuple[str, list[Any]]], asked: Any) -> None:
    index: PrefixIndex[str] = PrefixIndex()
    held: dict[str, list[Any]] = {}
    for holder, networks in changes:
        index.assign(holder, IPSet.of(networks).blocks())
        held[holder] = networks
    expected = {holder for holder, networks in held.items() if any(asked.overlaps(network) for network in networks)}
    assert index.overlapping(IPSet.of([asked]).blocks()) == expected
