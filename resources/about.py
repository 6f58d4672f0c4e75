"""What the namespaces of the built-in types are for, and the messages of their specs."""

from collections.abc import Sequence
from typing import Any

from nodespan.resources import cluster, files, kubespan, network, runtime, trust
from nodespan.runtime.about import About


def _messages() -> Sequence[Any]:
    # Only who serves the State service, or uses one, pays for them.
    from nodespan.resources.messages import messages

    return messages()


ABOUT = About(
    messages=_messages,
    namespaces={
        cluster.NAMESPACE: "The nodes of the cluster, merged from all sources.",
        cluster.RAW_NAMESPACE: "The nodes of the cluster, by source.",
        cluster.CONFIG_NAMESPACE: "The configuration of this node.",
        cluster.CONTROL_PLANE_NAMESPACE: "The addresses of the cluster's control plane.",
        files.NAMESPACE: "Files that nodespan writes.",
        kubespan.NAMESPACE: "The mesh: this node's identity in it, its peers, and their states.",
        network.NAMESPACE: "The network: observed state, and desired state merged from all layers.",
        network.CONFIG_NAMESPACE: "The desired state of the network, by source.",
        runtime.NAMESPACE: "The agent and the system that it runs on.",
        trust.NAMESPACE: "The certificates that this node trusts.",
    },
)
