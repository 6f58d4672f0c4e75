"""The networks and the name of a Kubernetes cluster on the node: what tells addresses of pods from those of nodes."""

from typing import Literal

import attrs

from nodespan.runtime.resource import wire

DEFAULT_POD_SUBNETS = ("10.244.0.0/16",)
DEFAULT_SERVICE_SUBNETS = ("10.96.0.0/12",)


@attrs.frozen(kw_only=True)
class ClusterNetwork:
    """Open. `cluster.network`. An empty list stands for the default, a missing section for no Kubernetes network."""

    dns_domain: str = ""
    """The domain of the cluster's services, `cluster.local` by default."""
    pod_subnets: tuple[str, ...] = ()
    """The networks of pods; an empty list stands for 10.244.0.0/16."""
    service_subnets: tuple[str, ...] = ()
    """The networks of services; an empty list stands for 10.96.0.0/12."""


@attrs.frozen(kw_only=True)
class KubeNetworkConfig:
    """The document that replaces `cluster.network`. Each node gets a part of the pod subnets, of the mask's size."""

    api_version: Literal["v1alpha1"] = "v1alpha1"
    kind: Literal["KubeNetworkConfig"] = "KubeNetworkConfig"
    dns_domain: str = "cluster.local"
    """The domain of the cluster's services."""
    pod_subnets: tuple[str, ...] = ()
    """The networks of pods; an empty list stands for 10.244.0.0/16."""
    service_subnets: tuple[str, ...] = ()
    """The networks of services; an empty list stands for 10.96.0.0/12."""
    node_cidr_mask_size_ipv4: int = attrs.field(default=24, metadata=wire("nodeCIDRMaskSizeIPv4"))
    """The prefix length of each node's part of the IPv4 pod subnets."""
    node_cidr_mask_size_ipv6: int = attrs.field(default=64, metadata=wire("nodeCIDRMaskSizeIPv6"))
    """The prefix length of each node's part of the IPv6 pod subnets."""


@attrs.frozen(kw_only=True)
class KubeClusterConfig:
    """The document that replaces `cluster.clusterName` and `cluster.controlPlane.endpoint`."""

    api_version: Literal["v1alpha1"] = "v1alpha1"
    kind: Literal["KubeClusterConfig"] = "KubeClusterConfig"
    cluster_name: str = ""
    """The name of the cluster."""
    endpoint: str = ""
    """The URL of the Kubernetes API."""
