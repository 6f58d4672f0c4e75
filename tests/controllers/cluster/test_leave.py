import pytest
import trio

from nodespan.controllers.cluster.discovery_service import DiscoveryServiceController
from nodespan.controllers.cluster.leave import LeaveController
from nodespan.resources.cluster import (
    DISCOVERY_CONFIG_ID,
    RESET_ID,
    DiscoveryConfig,
    DiscoveryConfigSpec,
    MachineResetSignal,
)
from nodespan.resources.config import MACHINE_CONFIG_ID, MachineConfig, MachineConfigSpec
from nodespan.runtime.testing.kit import Node, running


async def _leave(node: Node) -> None:
    await node.create(MachineConfig.new(MACHINE_CONFIG_ID, MachineConfigSpec()))
    await node.eventually(MachineConfig, MACHINE_CONFIG_ID, lambda found: bool(found.metadata.finalizers))
    await node.teardown(MachineConfig, MACHINE_CONFIG_ID)
    await node.eventually(MachineResetSignal, RESET_ID, lambda found: found.metadata.is_tearing_down)
    assert node.state.get(MachineConfig, MACHINE_CONFIG_ID).metadata.finalizers


async def test_leaving_removes_the_configuration_after_the_records_and_the_signal_last() -> None:
    async with running(LeaveController()) as node:
        await _leave(node)
        await node.state.remove_finalizer(MachineResetSignal, RESET_ID, DiscoveryServiceController.name)
        await node.eventually(MachineConfig, MACHINE_CONFIG_ID, lambda found: not found.metadata.finalizers)
        assert node.state.find(MachineResetSignal, RESET_ID) is not None
        await node.destroy(MachineConfig, MACHINE_CONFIG_ID)
        await node.gone(MachineResetSignal, RESET_ID)


async def test_the_signal_stays_while_a_discovery_service_could_still_receive_the_record() -> None:
    async with running(LeaveController()) as node:
        await node.create(DiscoveryConfig.new(DISCOVERY_CONFIG_ID, DiscoveryConfigSpec()))
        await _leave(node)
        await node.state.remove_finalizer(MachineResetSignal, RESET_ID, DiscoveryServiceController.name)
        await node.eventually(MachineConfig, MACHINE_CONFIG_ID, lambda found: not found.metadata.finalizers)
        await node.destroy(MachineConfig, MACHINE_CONFIG_ID)
        await node.settled()
        assert node.state.find(MachineResetSignal, RESET_ID) is not None
        await node.destroy(DiscoveryConfig, DISCOVERY_CONFIG_ID)
        await node.gone(MachineResetSignal, RESET_ID)


@pytest.mark.virtual_clock
async def test_unresponsive_services_do_not_block_leaving(capsys: pytest.CaptureFixture[str]) -> None:
    async with running(LeaveController()) as node:
        began = trio.current_time()
        await _leave(node)
        await node.eventually(MachineConfig, MACHINE_CONFIG_ID, lambda found: not found.metadata.finalizers)
        assert trio.current_time() - began <= 6
    assert "expires by itself" in capsys.readouterr().out
