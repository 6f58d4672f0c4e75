"""Networks that several peers of a link allow: one lasting owner, by rank."""

import random

import pytest

from nodespan.controllers.network.wireguard.allowed_networks import AllowedNetworks, Rank

NETWORKS = ("10.0.0.0/8", "10.1.0.0/16", "fd00::/64", "0.0.0.0/0")


def test_the_peer_of_the_highest_rank_gets_a_network_whatever_came_first() -> None:
    for order in (("a", "b"), ("b", "a")):
        allowed = AllowedNetworks()
        for key in order:
            allowed.assign(key, (1, 0, key), ("10.0.0.0/8", f"192.0.2.{ord(key)}/32"))
        assert allowed.granted("a") == ("192.0.2.97/32",)
        assert allowed.lost("a") == {"10.0.0.0/8": "b"}
        assert allowed.granted("b") == ("10.0.0.0/8", "192.0.2.98/32")
        assert allowed.lost("b") == {}


def test_resources_rank_above_the_links_own_peers_and_those_by_position() -> None:
    allowed = AllowedNetworks()
    allowed.assign("z", (0, 0, ""), NETWORKS[:1])
    assert allowed.assign("y", (0, 1, ""), NETWORKS[:1]) == {"z"}
    assert allowed.lost("z") == {"10.0.0.0/8": "y"}
    assert allowed.assign("a", (1, 0, "a"), NETWORKS[:1]) == {"y"}
    assert allowed.granted("a") == NETWORKS[:1]
    # The next one gets it when the owner goes.
    assert allowed.assign("a", (1, 0, "a"), ()) == {"y"}
    assert allowed.granted("y") == NETWORKS[:1]


def test_a_part_of_another_peers_network_is_no_conflict() -> None:
    allowed = AllowedNetworks()
    allowed.assign("a", (1, 0, "a"), ("10.0.0.0/8",))
    assert allowed.assign("b", (1, 0, "b"), ("10.1.0.0/16",)) == frozenset()
    assert allowed.lost("a") == allowed.lost("b") == {}


@pytest.mark.parametrize("seed", range(10))
def test_the_owners_depend_on_the_peers_alone(seed: int) -> None:
    chance = random.Random(seed)
    allowed = AllowedNetworks()
    peers: dict[str, tuple[Rank, tuple[str, ...]]] = {}
    for _ in range(300):
        key = chance.choice("abcdef")
        rank = (chance.randrange(2), chance.randrange(3), key)
        networks = tuple(chance.sample(NETWORKS, chance.randrange(len(NETWORKS) + 1)))
        granted = {each: allowed.granted(each) for each in peers}
        concerned = allowed.assign(key, rank, networks)
        peers[key] = (rank, networks)
        for each, (_, allows) in peers.items():
            owned = tuple(
                network
                for network in allows
                if max((other for other in peers if network in peers[other][1]), key=lambda k: peers[k][0]) == each
            )
            assert allowed.granted(each) == owned
            assert each == key or each in concerned or granted.get(each) == owned
