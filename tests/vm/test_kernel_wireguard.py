"""WireGuard links that the kernel runs."""

from collections.abc import Awaitable, Callable

import pytest

from tests.mesh.wireguard_scenarios import SCENARIOS

pytestmark = [pytest.mark.needs_link("veth", "wireguard"), pytest.mark.needs_program("wg")]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
async def test_wireguard_links_in_the_kernel(scenario: Callable[[], Awaitable[None]]) -> None:
    await scenario()
