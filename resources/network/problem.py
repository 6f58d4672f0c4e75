"""NetworkProblem: what is wanted of the network and could not be done, and why. Gone once it is done."""

import enum

import attrs

from nodespan.resources.network.namespace import NAMESPACE
from nodespan.runtime.resource import ResourceType


class Severity(enum.StrEnum):
    """Whether something cannot be done, or deserves a look: it may disappoint, or waits for what is not there."""

    ERROR = "error"
    WARNING = "warning"


@attrs.frozen(kw_only=True)
class NetworkProblemSpec:
    """The resource that this is about, by its type and id, and what is wrong in words for an operator."""

    type: str
    id: str
    message: str
    severity: Severity = Severity.ERROR


def network_problem_id(type: str, id: str) -> str:
    """`LinkSpecs/eth0`."""
    return f"{type.partition('.')[0]}/{id}"


NetworkProblem = ResourceType(
    "NetworkProblems.net.nodespan.dev",
    NetworkProblemSpec,
    namespace=NAMESPACE,
    columns={"Severity": ".severity", "Message": ".message"},
)
