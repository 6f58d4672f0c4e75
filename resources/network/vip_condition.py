"""VIPCondition: whether a condition for owning virtual IPs holds on this node. The id is the condition's name."""

import attrs

from nodespan.resources.network.namespace import NAMESPACE
from nodespan.runtime.resource import ResourceType, wire


@attrs.frozen(kw_only=True)
class VIPConditionSpec:
    """A condition for holding virtual IPs."""

    ok: bool
    """Whether it holds."""
    since: str
    """When that last changed (RFC 3339, UTC)."""
    reason: str = attrs.field(default="", metadata=wire(omit_empty=True))
    """Why it does not hold, or not yet again."""


VIPCondition = ResourceType(
    "VIPConditions.net.nodespan.dev",
    VIPConditionSpec,
    namespace=NAMESPACE,
    columns={"OK": ".ok", "Since": ".since", "Reason": ".reason"},
)
