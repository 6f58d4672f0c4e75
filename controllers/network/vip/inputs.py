"""What the operator of a virtual IP reads, beside what all operators do: known before the operator is loaded."""

from nodespan.resources.network import AddressSpec, AddressStatus
from nodespan.resources.network.vip_condition import VIPCondition
from nodespan.runtime.controller import Input, weak

INPUTS: tuple[Input, ...] = (
    weak(AddressSpec),
    weak(AddressStatus),
    weak(VIPCondition),
)
