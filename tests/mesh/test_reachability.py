"""Two nodes, each in a network of some kind: whether they reach each other, and by which path (`places`)."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.mesh.places import SERVICE, Kind, can_be_direct, pairs, world
from tests.mesh.reachability import PORT, Pair, pair_in, service

pytestmark = [
    pytest.mark.needs_link("veth", "bridge"),
    pytest.mark.needs_program("nft", "unshare", "nsenter"),
]
RELAY = f"{SERVICE[0]}:{PORT}"


@asynccontextmanager
async def pair_of(directory: Path, one: Kind, other: Kind) -> AsyncIterator[Pair]:
    with world() as made:
        async with (
            service(directory / "service", made) as served,
            pair_in(directory / "pair", made, served, (one, other)) as pair,
        ):
            yield pair


async def test_a_node_that_has_only_a_proxy_and_one_behind_nat_meet_at_the_relay(tmp_path: Path) -> None:
    async with pair_of(tmp_path, Kind.PORT_RESTRICTED, Kind.UDP_BLOCKED) as pair:
        found = await pair.meet()
        assert found.path == "relay"
        # That of the node with the proxy to the other one: its only way.
        assert found.paths[1] == RELAY
        # Nothing else is reached through the proxy: peers are inside of the one stream.
        (proxy,) = pair.proxies
        assert set(proxy.asked) == {RELAY}


@pytest.mark.soak
@pytest.mark.parametrize(("one", "other"), pairs(), ids=lambda kind: kind.replace(" ", "-"))
async def test_each_kind_of_network_reaches_each_other(
    tmp_path: Path, one: Kind, other: Kind, record_property: Callable[[str, object], None]
) -> None:
    direct = can_be_direct(one, other)
    async with pair_of(tmp_path, one, other) as pair:
        found = await pair.meet(direct=direct)
    record_property("first_packet_s", round(found.first_packet, 1))
    record_property("direct_s", round(found.direct, 1))
    assert found.path == ("direct" if direct else "relay"), found
