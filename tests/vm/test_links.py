"""Links of all kinds that can be made."""

import pytest

from tests.mesh.link_scenarios import (
    SPECS,
    a_link_is_created_changed_repaired_and_removed,
    a_link_joins_its_vrf,
    a_port_joins_its_bridge_and_is_released,
)


@pytest.mark.parametrize("kind", sorted(SPECS))
async def test_a_link_is_created_changed_repaired_and_removed(kind: str) -> None:
    await a_link_is_created_changed_repaired_and_removed(kind)


async def test_a_port_joins_its_bridge_and_is_released() -> None:
    await a_port_joins_its_bridge_and_is_released()


async def test_a_link_joins_its_vrf() -> None:
    await a_link_joins_its_vrf()
