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
    """A problem with another resource."""

    type: str
    """The full type of the resource with the problem."""
    id: str
    """Its id."""
    message: str
    """What is wrong and what to do, for operators."""
    severity: Severity = Severity.ERROR
    """How bad it is."""


def network_problem_id(type: str, id: str) -> str:
    """`LinkSpecs/eth0`."""
    return f"{type.partition('.')[0]}/{id}"


NetworkProblem = ResourceType(
    "NetworkProblems.net.nodespan.dev",
    NetworkProblemSpec,
    namespace=NAMESPACE,
    columns={"Severity": ".severity", "Message": ".message"},
)
