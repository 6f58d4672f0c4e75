"""The peer states reported by a cluster's agents, and their changes."""

from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from nodespan.cluster.plan import Plan, Station
from nodespan.runtime.cli.client import AgentGoneError, specs
from nodespan.runtime.text.table import Table

UP = "up"
NOT_FOUND = "not found yet"
NO_AGENT = "no agent"


@attrs.frozen(kw_only=True)
class PeerView:
    """One node's report of another: a state, or NOT_FOUND or NO_AGENT."""

    state: str = NOT_FOUND
    endpoint: str = ""
    # The relay that the peer is reached over, "" for a direct path.
    relay: str = ""

    @property
    def is_up(self) -> bool:
        """Whether there are fresh handshakes."""
        return self.state == UP


# By the names of the reporting node and of its peer.
MeshView = Mapping[tuple[str, str], PeerView]


def look(plan: Plan) -> MeshView:
    """Query all agents. Blocks for a moment. Raises CommandError for an invalid answer."""
    found: dict[tuple[str, str], PeerView] = {}
    for node in plan.nodes:
        try:
            statuses = specs_of(node, "kubespanpeerstatuses")
        except AgentGoneError:
            found |= {(node.name, peer.name): PeerView(state=NO_AGENT) for peer in plan.nodes if peer != node}
            continue
        by_label = {
            spec["label"]: PeerView(state=spec["state"], endpoint=spec["endpoint"], relay=spec.get("relay", ""))
            for spec in statuses
        }
        found |= {(node.name, peer.name): by_label.get(peer.name, PeerView()) for peer in plan.nodes if peer != node}
    return found


def kubespan_address(node: Station) -> str:
    """The node's address in the mesh, "" while it has none. Raises AgentGoneError, CommandError."""
    for spec in specs_of(node, "kubespanidentities"):
        return str(spec["address"]).partition("/")[0]
    return ""


def specs_of(node: Station, type: str) -> list[dict[str, Any]]:
    """The specs of an agent's resources of a type. Raises AgentGoneError, CommandError."""
    return specs(str(node.socket), type)


def table(view: MeshView) -> list[str]:
    """The lines of a table of all pairs."""
    has_relays = any(seen.relay for seen in view.values())
    rows = Table(["NODE", "PEER", "STATE", "ENDPOINT", *(["RELAY"] if has_relays else [])])
    for (node, peer), seen in view.items():
        rows.add([node, peer, seen.state, seen.endpoint, *([seen.relay] if has_relays else [])])
    return rows.flush().splitlines()


def changes(before: MeshView, after: MeshView) -> Iterator[str]:
    """A line for each pair whose state or endpoint changed, and for each agent that stopped answering."""
    silent: set[str] = set()
    for (node, peer), seen in after.items():
        known = before.get((node, peer), PeerView(state=NO_AGENT))
        if seen == known or (seen.state == NOT_FOUND and known.state == NO_AGENT):
            continue
        if seen.state != NO_AGENT:
            at = f" at {seen.endpoint}" if seen.endpoint else ""
            at += f" over the relay {seen.relay}" if seen.relay else ""
            yield f"{node}: {peer} is {seen.state}{at}"
        elif node not in silent:
            silent.add(node)
            yield f"{node}: its agent does not answer"
