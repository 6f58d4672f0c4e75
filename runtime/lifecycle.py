"""AgentLifecycle: the agent runs. It is torn down when the agent is told to stop, and held by who has yet to hand over.

A controller that holds what another node waits for puts a finalizer on it (input `strong(AgentLifecycle)`), lets go of
what it holds once the resource is tearing down, and then of the finalizer. The agent waits for that, but not for ever.
"""

import attrs

from nodespan.runtime.resource import ResourceType

NAMESPACE = "runtime"
AGENT_ID = "agent"


@attrs.frozen(kw_only=True)
class AgentLifecycleSpec:
    """The process that the agent is."""

    pid: int


AgentLifecycle = ResourceType(
    "AgentLifecycles.runtime.nodespan.dev", AgentLifecycleSpec, namespace=NAMESPACE, columns={"PID": ".pid"}
)

__all__ = [
    "AGENT_ID",
    "NAMESPACE",
    "AgentLifecycle",
    "AgentLifecycleSpec",
]
