"""WireGuard links that wireguard-go runs, where the kernel has no WireGuard."""

from collections.abc import Awaitable, Callable

import pytest

from tests.mesh.wireguard_scenarios import SCENARIOS
from tests.support import probe

pytestmark = [pytest.mark.needs_link("veth"), pytest.mark.needs_program("wireguard-go", "wg")]


@pytest.fixture(autouse=True)
def _no_kernel_wireguard() -> None:
    if probe.no_link("wireguard") is None:
        pytest.skip("this kernel has WireGuard of its own, which is what would be used")


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
async def test_wireguard_links_in_userspace(scenario: Callable[[], Awaitable[None]]) -> None:
    await scenario()
