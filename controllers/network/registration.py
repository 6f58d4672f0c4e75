"""The controller that runs the operators, with all the operators that there are."""

from nodespan.controllers.network.dhcp.factories import dhcp_factories
from nodespan.controllers.network.operators.operator_spec import OperatorSpecController
from nodespan.controllers.network.vip import operator as vip
from nodespan.controllers.network.vip.environment import VIPEnvironment
from nodespan.runtime.plugins import Settings


def operator_spec_controller(settings: Settings) -> OperatorSpecController:
    """The controller of an agent with these settings."""
    virtual_ips = vip.vip_factories(VIPEnvironment(state_dir=settings.state_dir))
    return OperatorSpecController({**dhcp_factories(settings.state_dir), **virtual_ips}, inputs=vip.INPUTS)
