import pytest
import trio

from controllers.cluster.discovery_service import DiscoveryServiceController
from controllers.cluster.leave import LeaveController
from resources.cluster import RESET_ID, MachineResetSignal
from resources.config import MachineConfig, MachineConfigSpec
from runtime.testing.kit import running


async def test_the_configuration_goes_when_the_records_are_deleted() -> None:
    async with running(LeaveController()) as node:
        await node.create(MachineConfig.new("v1alpha1", MachineConfigSpec()))
        await node.eventually(MachineConfig, "v1alpha1", lambda found: bool(found.metadata.finalizers))
        await node.teardown(MachineConfig, "v1alpha1")
        await node.eventually(MachineResetSignal, RESET_ID, lambda found: found.metadata.is_tearing_down)
        assert node.state.get(MachineConfig, "v1alpha1").metadata.finalizers
        await node.state.remove_finalizer(MachineResetSignal, RESET_ID, DiscoveryServiceController.name)
        await node.gone(MachineResetSignal, RESET_ID)
        await node.settled()
        assert not node.state.get(MachineConfig, "v1alpha1").metadata.finalizers


@pytest.mark.virtual_clock
async def test_services_that_do_not_answer_do_not_keep_the_node(capsys: pytest.CaptureFixture[str]) -> None:
    async with running(LeaveController()) as node:
        await node.create(MachineConfig.new("v1alpha1", MachineConfigSpec()))
        await node.eventually(MachineConfig, "v1alpha1", lambda found: bool(found.metadata.finalizers))
        began = trio.current_time()
        await node.teardown(MachineConfig, "v1alpha1")
        await node.eventually(MachineConfig, "v1alpha1", lambda found: not found.metadata.finalizers)
        assert trio.current_time() - began <= 6
    assert "ends by itself" in capsys.readouterr().out
