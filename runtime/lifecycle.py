"""AgentLifecycle: the agent runs. It is torn down when the agent stops, and held by controllers that must hand over.

A controller that holds something another node waits for puts a finalizer on it (input `strong(AgentLifecycle)`). Once
the resource is tearing down, the controller hands over and removes the finalizer. The agent waits for a limited time.
"""

import attrs

from nodespan.runtime.resource import ResourceType

NAMESPACE = "runtime"
AGENT_ID = "agent"


@attrs.frozen(kw_only=True)
class AgentLifecycleSpec:
    """The agent's process."""

    pid: int
    """The id of the process."""


AgentLifecycle = ResourceType(
    "AgentLifecycles.runtime.nodespan.dev", AgentLifecycleSpec, namespace=NAMESPACE, columns={"PID": ".pid"}
)

__all__ = [
    "AGENT_ID",
    "NAMESPACE",
    "AgentLifecycle",
    "AgentLifecycleSpec",
]
