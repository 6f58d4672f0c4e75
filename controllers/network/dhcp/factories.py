"""Makes the DHCP operators for the OperatorSpecController."""

from collections.abc import Mapping
from pathlib import Path

from nodespan.controllers.network.dhcp.environment import DHCPEnvironment
from nodespan.controllers.network.dhcp.operator4 import DHCP4Operator
from nodespan.controllers.network.dhcp.operator6 import DHCP6Operator
from nodespan.controllers.network.operators.base import OperatorFactory
from nodespan.resources.network import Operator


def dhcp_factories(state_dir: Path, *, netns: str | None = None) -> Mapping[Operator, OperatorFactory]:
    """The operators for `dhcp4` and `dhcp6`; leases are kept below `state_dir`."""
    environment = DHCPEnvironment(state_dir=state_dir, netns=netns)
    return {
        Operator.DHCP4: lambda spec: DHCP4Operator(spec, environment),
        Operator.DHCP6: lambda spec: DHCP6Operator(spec, environment),
    }
