"""NetworkProblem: a desired state that could not be applied, and the reason. Removed once it is applied."""

import enum

import attrs

from nodespan.resources.network.namespace import NAMESPACE
from nodespan.runtime.resource import ResourceType


class Severity(enum.StrEnum):
    """Whether a spec cannot be applied, or needs attention: it may not work as intended, or waits for a dependency."""

    ERROR = "error"
    WARNING = "warning"


@attrs.frozen(kw_only=True)
class NetworkProblemSpec:
    """The resource with the problem, by type and id, and a message for operators."""

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
