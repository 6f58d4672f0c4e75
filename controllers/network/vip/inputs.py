"""What the operator of a virtual IP reads, beside what all operators do: known before the operator is loaded."""

from nodespan.resources.network import AddressSpec, AddressStatus
from nodespan.resources.network.vip_condition import VIPCondition
from nodespan.resources.runtime import ENVIRONMENT_ID, Environment
from nodespan.resources.trust import TRUST_BUNDLE_ID, TrustBundle
from nodespan.runtime.controller import Input, weak

INPUTS: tuple[Input, ...] = (
    weak(AddressSpec),
    weak(AddressStatus),
    weak(VIPCondition),
    weak(Environment, ENVIRONMENT_ID),
    weak(TrustBundle, TRUST_BUNDLE_ID),
)
