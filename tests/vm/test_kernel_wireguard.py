"""WireGuard links that the kernel runs."""

from collections.abc import Awaitable, Callable

import pytest

from tests.mesh import wireguard_scenarios
from tests.mesh.wireguard_scenarios import SCENARIOS

pytestmark = [
    pytest.mark.hardware,
    pytest.mark.needs_link("veth", "wireguard"),
    pytest.mark.needs_program("wg"),
]
# Every day, for emulation is slow; that which rests on the kernel most. WireGuard in userspace passes all of them.
DAILY = (
    wireguard_scenarios.packets_pass_through_a_desired_tunnel,
    wireguard_scenarios.only_changed_device_settings_are_written,
)


@pytest.mark.parametrize(
    "scenario",
    [pytest.param(each, id=each.__name__, marks=[] if each in DAILY else [pytest.mark.soak]) for each in SCENARIOS],
)
async def test_wireguard_links_in_the_kernel(scenario: Callable[[], Awaitable[None]]) -> None:
    await scenario()
