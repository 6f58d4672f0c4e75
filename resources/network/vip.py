"""VIPStatus: how this node stands to a virtual IP, and who it thinks holds it. Id: `<link>/<ip>`."""

import enum

import attrs

from nodespan.resources.network.namespace import NAMESPACE
from nodespan.runtime.resource import ResourceType, wire

_OPTIONAL = wire(omit_empty=True)


class VIPState(enum.StrEnum):
    """What this node does about a virtual IP.

    `waiting`: a condition does not hold, so it does not stand for election; `candidate`: it stands and another holds
    the address; `leader`: it holds the address; `refused`: it cannot hold it, and `reason` says why.
    """

    WAITING = "waiting"
    CANDIDATE = "candidate"
    LEADER = "leader"
    REFUSED = "refused"


@attrs.frozen(kw_only=True)
class VIPStatusSpec:
    """`leader` is the name that the elected node gave itself, "" if nobody is known to be elected.

    `since` is when this state began (RFC 3339, UTC), `lease` the id of this node's own lease at etcd in hexadecimal
    digits, "" while it has none. `reason` is for an operator: what is waited for, or why the address was given up last.
    """

    ip: str
    link_name: str
    state: VIPState
    leader: str = ""
    since: str = ""
    lease: str = attrs.field(default="", metadata=_OPTIONAL)
    reason: str = attrs.field(default="", metadata=_OPTIONAL)


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
