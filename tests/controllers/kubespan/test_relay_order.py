"""The order in which the endpoints of a peer are tried by a node that has a relay."""

import attrs
import pytest

from nodespan.controllers.kubespan.addressing import Purpose, cluster_prefix, node_address
from nodespan.controllers.kubespan.known_relays import KnownRelays
from nodespan.controllers.kubespan.peer_spec import PeerSpecController
from nodespan.controllers.kubespan.relay_order import Reach, with_relay
from nodespan.resources.cluster import Affiliate, AffiliateSpec, Identity, IdentitySpec, KubeSpanAffiliate
from nodespan.resources.kubespan import (
    KUBESPAN_CONFIG_ID,
    LOCAL,
    KubeSpanConfig,
    KubeSpanConfigSpec,
    KubeSpanPeerSpec,
    KubeSpanRelayStatus,
    KubeSpanRelayStatusSpec,
    RelayState,
)
from nodespan.resources.network import CURRENT_NO_K8S_ID, NodeAddress, NodeAddressSpec
from nodespan.runtime.testing.kit import running

RELAYS = KnownRelays()
RELAYS.note("one", KubeSpanRelayStatusSpec(addresses=("203.0.113.2", "2001:db8::2"), ports=(21000, 24999)))
RELAYS.note("two", KubeSpanRelayStatusSpec(addresses=("203.0.113.3",), ports=(30000, 30009)))

LAN, PUBLIC, PUBLIC_6 = "192.168.1.2:51820", "198.51.100.7:51820", "[2001:db8:7::7]:51820"
AT_RELAY, AT_RELAY_6 = "203.0.113.2:21004", "[2001:db8::2]:21004"


HERE, BEHIND_NAT = Reach(frozenset({4, 6})), Reach(frozenset({4}), is_public=False)


@pytest.mark.parametrize(
    ("announced", "expected"),
    [
        ((), ()),
        ((LAN, PUBLIC), (LAN, PUBLIC)),
        ((AT_RELAY,), (AT_RELAY,)),
        ((PUBLIC, AT_RELAY), (PUBLIC, AT_RELAY)),
        ((PUBLIC, LAN, AT_RELAY, AT_RELAY_6), (PUBLIC, AT_RELAY, LAN, AT_RELAY_6)),
        # Of the relay's address, and not one of its ports.
        ((LAN, "203.0.113.2:51820"), (LAN, "203.0.113.2:51820")),
        ((PUBLIC, LAN, "203.0.113.3:30009"), (PUBLIC, "203.0.113.3:30009", LAN)),
    ],
)
def test_the_relay_does_not_wait_for_all_other_endpoints(announced: tuple[str, ...], expected: tuple[str, ...]) -> None:
    assert with_relay(announced, RELAYS, HERE) == expected
    assert with_relay(announced, KnownRelays(), HERE) == announced


@pytest.mark.parametrize(
    ("announced", "expected"),
    [
        ((PUBLIC, LAN, AT_RELAY), (AT_RELAY, PUBLIC, LAN)),
        ((PUBLIC, "100.64.1.2:1", AT_RELAY), (AT_RELAY, PUBLIC, "100.64.1.2:1")),
        # The peer has no private address: it is reached where it says.
        ((PUBLIC, AT_RELAY), (PUBLIC, AT_RELAY)),
    ],
)
def test_a_pair_behind_nat_at_both_ends_begins_on_the_relay(
    announced: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    assert with_relay(announced, RELAYS, BEHIND_NAT) == expected


def test_what_is_being_tried_stays_the_first() -> None:
    """The address at the relay often comes a moment later than the others."""
    announced = (PUBLIC, LAN, AT_RELAY)
    assert with_relay(announced, RELAYS, BEHIND_NAT, PUBLIC) == (PUBLIC, AT_RELAY, LAN)
    assert with_relay(announced, RELAYS, BEHIND_NAT, AT_RELAY) == (AT_RELAY, PUBLIC, LAN)
    assert with_relay(announced, RELAYS, HERE, AT_RELAY) == (AT_RELAY, PUBLIC, LAN)
    # One that is announced no more is not.
    assert with_relay((PUBLIC, AT_RELAY), RELAYS, HERE, LAN) == (PUBLIC, AT_RELAY)


@pytest.mark.parametrize(
    ("families", "announced", "expected"),
    [
        ({4}, (PUBLIC_6, PUBLIC), (PUBLIC, PUBLIC_6)),
        ({6}, (LAN, PUBLIC, PUBLIC_6), (PUBLIC_6, LAN, PUBLIC)),
        ({4, 6}, (PUBLIC, PUBLIC_6), (PUBLIC, PUBLIC_6)),
        (set(), (PUBLIC_6, PUBLIC), (PUBLIC_6, PUBLIC)),
        # Both addresses at the relay are reached by its stream, whatever their family.
        ({4}, (PUBLIC_6, AT_RELAY_6), (AT_RELAY_6, PUBLIC_6)),
        ({6}, (PUBLIC, PUBLIC_6, AT_RELAY, AT_RELAY_6), (PUBLIC_6, AT_RELAY_6, PUBLIC, AT_RELAY)),
    ],
)
def test_endpoints_of_a_family_that_this_node_has_not_come_last(
    families: set[int], announced: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    assert with_relay(announced, RELAYS, Reach(frozenset(families))) == expected


@pytest.mark.parametrize(
    ("families", "announced", "expected"),
    [
        ({4}, (PUBLIC_6, PUBLIC, AT_RELAY_6), (PUBLIC_6,)),
        ({4}, (PUBLIC_6, AT_RELAY_6), (PUBLIC_6, AT_RELAY_6)),
        ({4, 6}, (PUBLIC_6, PUBLIC), ()),
        (set(), (PUBLIC_6, PUBLIC), ()),
    ],
)
def test_endpoints_before_the_first_one_that_may_be_reached(
    families: set[int], announced: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    assert Reach(frozenset(families)).unreached_before(announced) == expected


def test_a_node_has_the_families_in_which_it_may_reach_others() -> None:
    mesh = node_address(cluster_prefix("cluster", Purpose.KUBESPAN), "02:00:00:00:00:01")
    narrow = ["fe80::1/64", "127.0.0.1/8", f"{mesh}/128"]
    assert Reach.of([*narrow, "192.0.2.1/24"]) == Reach(frozenset({4}))
    assert Reach.of([*narrow, "192.168.1.2/24"]) == BEHIND_NAT
    assert Reach.of(["2001:db8::1/64", "192.168.1.2/24"]) == HERE
    assert Reach.of(narrow) == Reach()


def test_a_relay_keeps_its_addresses_while_it_cannot_be_reached() -> None:
    relays, endpoint = KnownRelays(), "203.0.113.2:21000"
    assert not relays.note("one", KubeSpanRelayStatusSpec(state=RelayState.CONNECTING))
    assert not relays.have(endpoint)
    known = KubeSpanRelayStatusSpec(addresses=("203.0.113.2",), ports=(21000, 24999))
    assert relays.note("one", known)
    assert not relays.note("one", known)
    assert not relays.note("one", KubeSpanRelayStatusSpec(state=RelayState.FAILED))
    assert relays.have(endpoint)
    assert relays.note("one", None)
    assert not relays.have(endpoint)


async def test_peers_are_ordered_again_once_a_relay_is_known_and_not_against_a_filter() -> None:
    kubespan = KubeSpanAffiliate(public_key="key", address="fd00::2", endpoints=(LAN, PUBLIC_6, AT_RELAY))
    affiliate = AffiliateSpec(node_id="a", nodename="a", addresses=("192.168.1.2",), kubespan=kubespan)
    config = KubeSpanConfigSpec(enabled=True, relays=("https://203.0.113.2:3000",))

    async with running(PeerSpecController()) as node:

        async def endpoints() -> tuple[str, ...]:
            await node.settled()
            return (await node.eventually(KubeSpanPeerSpec, "key")).spec.endpoints

        await node.put(Affiliate, "a", affiliate)
        await node.put(NodeAddress, CURRENT_NO_K8S_ID, NodeAddressSpec(addresses=("2001:db8::5/64",)))
        await node.put(KubeSpanConfig, KUBESPAN_CONFIG_ID, config)
        await node.put(Identity, LOCAL, IdentitySpec(node_id="me"))
        # The first one cannot be reached, and whether the others are at a relay is not known.
        assert await endpoints() == (LAN,)
        relay = KubeSpanRelayStatusSpec(addresses=("203.0.113.2",), ports=(21000, 24999))
        await node.put(KubeSpanRelayStatus, "relay", relay)
        assert await endpoints() == (LAN, AT_RELAY, PUBLIC_6)
        await node.put(
            KubeSpanConfig, KUBESPAN_CONFIG_ID, attrs.evolve(config, peer_endpoint_filters=("::/0", "0.0.0.0/0"))
        )
        assert await endpoints() == (PUBLIC_6, LAN, AT_RELAY)


async def test_a_node_without_relays_tries_its_own_family_first() -> None:
    kubespan = KubeSpanAffiliate(public_key="key", address="fd00::2", endpoints=(PUBLIC, PUBLIC_6))
    async with running(PeerSpecController()) as node:
        await node.put(Affiliate, "a", AffiliateSpec(node_id="a", nodename="a", kubespan=kubespan))
        await node.put(KubeSpanConfig, KUBESPAN_CONFIG_ID, KubeSpanConfigSpec(enabled=True))
        await node.put(Identity, LOCAL, IdentitySpec(node_id="me"))
        for addresses, expected in (((), (PUBLIC, PUBLIC_6)), (("2001:db8::5/64",), (PUBLIC_6, PUBLIC))):
            await node.put(NodeAddress, CURRENT_NO_K8S_ID, NodeAddressSpec(addresses=addresses))
            await node.settled()
            assert (await node.eventually(KubeSpanPeerSpec, "key")).spec.endpoints == expected


async def test_until_the_relays_are_known_what_may_be_at_one_stays_last() -> None:
    """The address of a relay is as public as others."""
    kubespan = KubeSpanAffiliate(public_key="key", address="fd00::2", endpoints=(PUBLIC_6, PUBLIC, AT_RELAY))
    async with running(PeerSpecController()) as node:
        await node.put(Affiliate, "a", AffiliateSpec(node_id="a", nodename="a", kubespan=kubespan))
        addresses = ("198.51.100.1/24", "2001:db8::5/64")
        await node.put(NodeAddress, CURRENT_NO_K8S_ID, NodeAddressSpec(addresses=addresses))
        config = KubeSpanConfigSpec(enabled=True, relays=("https://203.0.113.2:3000",))
        await node.put(KubeSpanConfig, KUBESPAN_CONFIG_ID, config)
        await node.put(Identity, LOCAL, IdentitySpec(node_id="me"))
        await node.settled()
        assert (await node.eventually(KubeSpanPeerSpec, "key")).spec.endpoints == (PUBLIC_6, PUBLIC, AT_RELAY)
        await node.put(NodeAddress, CURRENT_NO_K8S_ID, NodeAddressSpec(addresses=addresses[:1]))
        await node.settled()
        # Nothing is to be tried before what may be at a relay.
        assert (await node.eventually(KubeSpanPeerSpec, "key")).spec.endpoints == (PUBLIC_6,)
        # No relay answers.
        await node.put(KubeSpanRelayStatus, "relay", KubeSpanRelayStatusSpec(state=RelayState.FAILED))
        await node.settled()
        assert (await node.eventually(KubeSpanPeerSpec, "key")).spec.endpoints == (PUBLIC_6, PUBLIC, AT_RELAY)
        await node.put(NodeAddress, CURRENT_NO_K8S_ID, NodeAddressSpec(addresses=addresses))
        await node.put(KubeSpanConfig, KUBESPAN_CONFIG_ID, attrs.evolve(config, relays=()))
        await node.settled()
        assert (await node.eventually(KubeSpanPeerSpec, "key")).spec.endpoints == (PUBLIC, PUBLIC_6, AT_RELAY)
