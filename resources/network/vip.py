"""VIPStatus: this node's state in the election of a virtual IP, and the known leader. Id: `<link>/<ip>`."""

import enum

import attrs

from nodespan.resources.network.namespace import NAMESPACE
from nodespan.runtime.resource import ResourceType, wire

_OPTIONAL = wire(omit_empty=True)


class VIPState(enum.StrEnum):
    """This node's state in the election.

    `waiting`: it is no candidate, for a condition does not hold, or etcd has not answered yet (then without a reason);
    `candidate`: another node holds the address; `leader`: it holds the address; `refused`: it cannot hold it, for the
    given `reason`.
    """

    WAITING = "waiting"
    CANDIDATE = "candidate"
    LEADER = "leader"
    REFUSED = "refused"


@attrs.frozen(kw_only=True)
class VIPStatusSpec:
    """This node's part in the election of a virtual IP."""

    ip: str
    """The address."""
    link_name: str
    """The link that holds it."""
    state: VIPState
    """The state of this node."""
    leader: str = ""
    """The elected node's name for itself, "" if no node is known to be elected."""
    since: str = ""
    """When this state began (RFC 3339, UTC)."""
    lease: str = attrs.field(default="", metadata=_OPTIONAL)
    """The id of this node's own lease at etcd in hexadecimal digits, "" while it has none."""
    reason: str = attrs.field(default="", metadata=_OPTIONAL)
    """What the node waits for, or why it last gave the address up."""
    trouble: str = attrs.field(default="", metadata=_OPTIONAL)
    """What keeps the election from being followed, or is wrong with it; "" for nothing."""


VIPStatus = ResourceType(
    "VIPStatuses.net.nodespan.dev",
    VIPStatusSpec,
    singular="VIPStatus",
    namespace=NAMESPACE,
    aliases=("vip", "vips"),
    columns={
        "State": ".state",
        "Leader": ".leader",
        "Since": ".since",
        "Lease": ".lease",
        "Reason": ".reason",
    },
)
