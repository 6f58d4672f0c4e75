"""Settings and affiliates to test with."""

import base64

from nodespan.resources.cluster import AffiliateSpec, KubeSpanAffiliate, MachineType
from nodespan.resources.config import (
    Cluster,
    DiscoveryIdentityConfig,
    DiscoveryServiceConfig,
    Document,
    Machine,
    MachineConfigSpec,
    MainDocument,
    NodespanConfig,
)

KEY = bytes(range(32))
SECRET = base64.b64encode(KEY).decode()


def machine_config(
    *documents: Document, cluster: Cluster | None = None, pods: tuple[str, ...] = ()
) -> MachineConfigSpec:
    """A configuration with these documents."""
    return MachineConfigSpec(
        main=MainDocument(machine=Machine(), cluster=cluster),
        documents=documents,
        nodespan=NodespanConfig(pod_networks=pods),
    )


def with_services(*names: str, cluster_id: str = "cluster", pods: tuple[str, ...] = ()) -> MachineConfigSpec:
    """A configuration with an identity and these discovery services."""
    services = (DiscoveryServiceConfig(name=name, endpoint=f"https://{name}.example.org/") for name in names)
    identity = DiscoveryIdentityConfig(cluster_id=cluster_id, cluster_secret=SECRET)
    return machine_config(identity, *services, pods=pods)


def affiliate(node_id: str, *addresses: str, machine_type: MachineType = MachineType.WORKER) -> AffiliateSpec:
    """A node that is part of the mesh and of the cluster."""
    return AffiliateSpec(
        node_id=node_id,
        addresses=addresses,
        hostname=node_id,
        nodename=node_id,
        machine_type=machine_type,
        kubespan=KubeSpanAffiliate(public_key=f"key-{node_id}", endpoints=tuple(f"{a}:51820" for a in addresses)),
    )
