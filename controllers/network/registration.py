"""The controller that runs the operators, with all the operators that there are; each is loaded when it first runs."""

from functools import cache

from nodespan.controllers.network.operators.base import LoadedOperator, Operator, OperatorFactory
from nodespan.controllers.network.operators.operator_spec import OperatorSpecController
from nodespan.controllers.network.vip.inputs import INPUTS
from nodespan.resources.network import Operator as OperatorKind
from nodespan.resources.network import OperatorSpecSpec
from nodespan.runtime.plugins import Settings

_DHCP = "nodespan.controllers.network.dhcp.factories"
_VIP = "nodespan.controllers.network.vip.operator"


def operator_spec_controller(settings: Settings) -> OperatorSpecController:
    """The controller of an agent with these settings."""

    # What operators of one family share is made once.
    @cache
    def dhcp(kind: OperatorKind) -> OperatorFactory:
        from nodespan.controllers.network.dhcp.factories import dhcp_factories

        return dhcp_factories(settings.state_dir)[kind]

    @cache
    def vip() -> OperatorFactory:
        from nodespan.controllers.network.vip.environment import VIPEnvironment
        from nodespan.controllers.network.vip.operator import vip_factories

        return vip_factories(VIPEnvironment(state_dir=settings.state_dir))[OperatorKind.VIP]

    def new_dhcp(spec: OperatorSpecSpec) -> Operator:
        return LoadedOperator(_DHCP, lambda: dhcp(spec.operator)(spec))

    def new_vip(spec: OperatorSpecSpec) -> Operator:
        return LoadedOperator(_VIP, lambda: vip()(spec), hands_over=True)

    factories = {OperatorKind.DHCP4: new_dhcp, OperatorKind.DHCP6: new_dhcp, OperatorKind.VIP: new_vip}
    return OperatorSpecController(factories, inputs=INPUTS)
