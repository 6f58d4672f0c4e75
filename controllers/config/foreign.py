"""The keys of a machine configuration that other systems act on, not nodespan.

A class listed here is open: keys that it does not know are left alone. The keys named are those known to belong to
others; any further one that is nearly a key of the class is taken for a misspelling of it.
"""

from collections.abc import Mapping
from typing import Final

from nodespan.resources.config.kubernetes import ClusterNetwork
from nodespan.resources.config.main import Cluster, ControlPlane, Features, Install, Machine, MainDocument

OPEN: Final[Mapping[type, frozenset[str]]] = {
    MainDocument: frozenset(),
    Machine: frozenset(
        {
            "baseRuntimeSpecOverrides",
            "controlPlane",
            "disks",
            "kubelet",
            "logging",
            "nodeAnnotations",
            "nodeLabels",
            "nodeTaints",
            "pods",
            "registries",
            "seccompProfiles",
            "systemDiskEncryption",
        }
    ),
    Install: frozenset({"bootloader", "disk", "diskSelector", "extensions", "image", "legacyBIOSSupport", "wipe"}),
    Features: frozenset(
        {"apidCheckExtKeyUsage", "diskQuotaSupport", "imageCache", "kubePrism", "kubernetesTalosAPIAccess", "rbac"}
    ),
    Cluster: frozenset(
        {
            "acceptedCAs",
            "adminKubeconfig",
            "aescbcEncryptionSecret",
            "aggregatorCA",
            "allowSchedulingOnControlPlanes",
            "allowSchedulingOnMasters",
            "apiServer",
            "ca",
            "controllerManager",
            "coreDNS",
            "etcd",
            "externalCloudProvider",
            "extraManifestHeaders",
            "extraManifests",
            "inlineManifests",
            "proxy",
            "scheduler",
            "secretboxEncryptionSecret",
            "serviceAccount",
            "token",
        }
    ),
    ClusterNetwork: frozenset({"cni"}),
    ControlPlane: frozenset({"localAPIServerPort"}),
}
