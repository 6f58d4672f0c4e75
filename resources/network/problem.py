"""NetworkProblem: what is wanted of the network and could not be done, and why. Gone once it is done."""

import attrs

from resources.network.namespace import NAMESPACE
from runtime.resource import ResourceType


@attrs.frozen(kw_only=True)
class NetworkProblemSpec:
    """The resource that cannot be applied, by its type and id, and the reason in words for an operator."""

    type: str
    id: str
    message: str


def network_problem_id(type: str, id: str) -> str:
    """`LinkSpecs/eth0`."""
    return f"{type.partition('.')[0]}/{id}"


NetworkProblem = ResourceType(
    "NetworkProblems.net.nodespan.dev",
    NetworkProblemSpec,
    namespace=NAMESPACE,
    columns={"Message": ".message"},
)
