"""What a node looks like from outside, from what others report of it."""

import attrs
import pytest

from nodespan.controllers.kubespan.nat import NATController, nat_status
from nodespan.resources.cluster import (
    LOCAL,
    NAMESPACE,
    PUBLIC_ADDRESS_ID,
    Affiliate,
    AffiliateSpec,
    DiscoveryServiceStatus,
    DiscoveryServiceStatusSpec,
    Identity,
    IdentitySpec,
    KubeSpanAffiliate,
)
from nodespan.resources.kubespan import KubeSpanNATStatus, NATKind
from nodespan.resources.network import AddressStatus, AddressStatusSpec, NodeAddress, NodeAddressSpec
from nodespan.runtime.testing.kit import running

PUBLIC = "203.0.113.7"
GUESS = f"{PUBLIC}:51820"


@pytest.mark.parametrize(
    ("known", "kind", "seen"),
    [
        ((GUESS,), NATKind.UNKNOWN, ()),
        ((GUESS, f"{PUBLIC}:6000"), NATKind.ONE_PORT, (f"{PUBLIC}:6000",)),
        (
            (GUESS, f"{PUBLIC}:6000", f"{PUBLIC}:6001"),
            NATKind.BY_DESTINATION,
            (f"{PUBLIC}:6000", f"{PUBLIC}:6001"),
        ),
        # A pool of addresses is no better than a pool of ports.
        (
            (f"{PUBLIC}:6000", "203.0.113.8:6000"),
            NATKind.BY_DESTINATION,
            (f"{PUBLIC}:6000", "203.0.113.8:6000"),
        ),
        # Peers on the same network see it there, and by IPv6 there is no NAT; nonsense says nothing.
        (("10.0.0.9:7000", "[2001:db8::1]:7000", "127.0.0.1:1", f"{PUBLIC}:0", "x"), NATKind.UNKNOWN, ()),
    ],
)
def test_the_kind_follows_from_where_others_see_the_node(
    known: tuple[str, ...], kind: NATKind, seen: tuple[str, ...]
) -> None:
    status = nat_status(known, announced={GUESS}, addresses=("10.0.0.9/24",), public=PUBLIC)
    assert (status.kind, status.seen, status.public_address) == (kind, seen, PUBLIC)


def test_a_node_with_a_public_address_of_its_own_has_no_nat() -> None:
    assert nat_status((), announced=(), addresses=(f"{PUBLIC}/24",), public=PUBLIC).kind is NATKind.NONE


async def test_what_was_announced_before_is_nothing_that_others_see() -> None:
    async with running(NATController()) as node:
        await node.put(Identity, LOCAL, IdentitySpec(node_id="me"))
        await node.put(NodeAddress, "current-no-k8s", NodeAddressSpec(addresses=("10.0.0.9/24",)))
        public = AddressStatusSpec(address=f"{PUBLIC}/32")
        await node.create(AddressStatus.new(PUBLIC_ADDRESS_ID, public, namespace=NAMESPACE))
        own = AffiliateSpec(node_id="me", kubespan=KubeSpanAffiliate(public_key="key", endpoints=(GUESS,)))
        await node.put(Affiliate, "me", own)
        service = DiscoveryServiceStatusSpec(endpoint="a:443", own_endpoints=(GUESS,))
        await node.put(DiscoveryServiceStatus, "a", service)
        await node.eventually(KubeSpanNATStatus, LOCAL, lambda found: found.spec.kind is NATKind.UNKNOWN)
        # The node listens elsewhere now; a service still has the earlier endpoint.
        moved = f"{PUBLIC}:4500"
        assert own.kubespan is not None
        await node.put(Affiliate, "me", attrs.evolve(own, kubespan=attrs.evolve(own.kubespan, endpoints=(moved,))))
        known = (GUESS, moved, f"{PUBLIC}:6000")
        await node.put(DiscoveryServiceStatus, "a", attrs.evolve(service, own_endpoints=known))
        found = await node.eventually(KubeSpanNATStatus, LOCAL, lambda found: found.spec.kind is NATKind.ONE_PORT)
        assert found.spec.seen == (f"{PUBLIC}:6000",)
        await node.put(
            DiscoveryServiceStatus, "b", attrs.evolve(service, own_endpoints=(f"{PUBLIC}:6001",), endpoint="b:443")
        )
        await node.eventually(KubeSpanNATStatus, LOCAL, lambda found: found.spec.kind is NATKind.BY_DESTINATION)
        await node.destroy(DiscoveryServiceStatus, "a")
        await node.eventually(KubeSpanNATStatus, LOCAL, lambda found: found.spec.kind is NATKind.ONE_PORT)
        await node.destroy(DiscoveryServiceStatus, "b")
        await node.gone(KubeSpanNATStatus, LOCAL)
