"""Documents that replace a part of the main document: the part must not be given there too.

The originals refuse such a pair for every kind, so the tables are complete, kinds that nodespan does not act on
included: the same file is to work on both sides.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from nodespan.controllers.config.finding import Finding, at
from nodespan.controllers.config.rules.entry import Entry
from nodespan.resources.config.main import MainDocument

_HINT = "keep one of the two"
_NODE_KEYS = (
    *("cluster.allowSchedulingOnControlPlanes", "cluster.allowSchedulingOnMasters"),
    *("machine.kubelet.skipNodeRegistration", "machine.kubelet.registerWithFQDN", "machine.kubelet.nodeIP"),
    *("machine.nodeLabels", "machine.nodeAnnotations", "machine.nodeTaints"),
)

# The keys of the main document that a document of this kind excludes.
EXCLUDED: Final[Mapping[str, tuple[str, ...]]] = {
    "CRIBaseRuntimeSpecConfig": ("machine.baseRuntimeSpecOverrides",),
    "DiscoveryIdentityConfig": ("cluster.id", "cluster.secret"),
    "DiscoveryServiceConfig": ("cluster.discovery",),
    "HostnameConfig": ("machine.network.hostname", "machine.features.stableHostname"),
    "ImageCacheConfig": ("machine.features.imageCache",),
    "KubeAPIServerCAConfig": ("cluster.ca",),
    "KubeAPIServerConfig": ("cluster.apiServer", "cluster.controlPlane.localAPIServerPort"),
    "KubeAdmissionControlConfig": ("cluster.apiServer.admissionControl",),
    "KubeAggregatorCAConfig": ("cluster.aggregatorCA",),
    "KubeAuditPolicyConfig": ("cluster.apiServer.auditPolicy",),
    "KubeAuthorizerConfig": ("cluster.apiServer.admissionControl",),
    "KubeClusterConfig": ("cluster.clusterName", "cluster.controlPlane.endpoint"),
    "KubeControllerManagerConfig": ("cluster.controllerManager", "machine.controlPlane.controllerManager"),
    "KubeCoreDNSConfig": ("cluster.coreDNS",),
    "KubeCredentialProviderConfig": ("machine.kubelet",),
    "KubeEtcdEncryptionConfig": ("cluster.secretboxEncryptionSecret", "cluster.aescbcEncryptionSecret"),
    "KubeFlannelCNIConfig": ("cluster.network",),
    "KubeNetworkConfig": ("cluster.network",),
    "KubeNodeConfig": _NODE_KEYS,
    "KubePrismConfig": ("machine.features.kubePrism",),
    "KubeProxyConfig": ("cluster.proxy",),
    "KubeSchedulerConfig": ("cluster.scheduler", "machine.controlPlane.scheduler"),
    "KubeServiceAccountConfig": ("cluster.serviceAccount",),
    "KubeSpanConfig": ("machine.network.kubespan",),
    "KubeTalosAPIAccessConfig": ("machine.features.kubernetesTalosAPIAccess",),
    "KubeletConfig": ("machine.kubelet",),
    "ResolverConfig": (
        *("machine.network.nameservers", "machine.network.searchDomains", "machine.network.disableSearchDomain"),
    ),
    "TimeSyncConfig": ("machine.time.disabled", "machine.time.servers", "machine.time.bootTimeout"),
    "UnattendedInstallConfig": ("machine.install",),
}
# The same, if the document has this key.
_EXCLUDED_BY_KEY: Final[Mapping[str, tuple[tuple[str, str], ...]]] = {
    "ResolverConfig": (("hostDNS", "machine.features.hostDNS"),),
}
# The same, if it has this name and key.
_EXCLUDED_BY_NAME: Final[Mapping[tuple[str, str], tuple[str, str]]] = {
    ("VolumeConfig", "STATE"): ("encryption", "machine.systemDiskEncryption.state"),
    ("VolumeConfig", "EPHEMERAL"): ("encryption", "machine.systemDiskEncryption.ephemeral"),
}
# Keys that count as soon as they are there, also with nothing in them: of lists, an empty one says something; of
# sections, the originals ask only whether there is one.
_COUNTS_EMPTY: Final = frozenset(
    {
        *("cluster.aggregatorCA", "cluster.apiServer", "cluster.ca", "cluster.controllerManager", "cluster.coreDNS"),
        *("cluster.discovery", "cluster.network", "cluster.proxy", "cluster.scheduler", "cluster.serviceAccount"),
        *("machine.controlPlane.controllerManager", "machine.controlPlane.scheduler", "machine.install"),
        *("machine.features.hostDNS", "machine.features.imageCache", "machine.features.kubePrism"),
        *("machine.features.kubernetesTalosAPIAccess", "machine.kubelet", "machine.kubelet.nodeIP"),
        *("machine.network.kubespan", "machine.network.nameservers", "machine.network.searchDomains"),
        *("machine.systemDiskEncryption.ephemeral", "machine.systemDiskEncryption.state"),
    }
)
# Switches that the originals tell from unset ones, so that `false` counts.
_COUNTS_FALSE: Final = frozenset(_NODE_KEYS[:4])
_FALSE: Final = frozenset({"false", "False", "FALSE"})
# Kinds of the originals for machines of the control plane.
_CONTROL_PLANE_KINDS: Final = frozenset(
    {
        *("KubeAPIServerConfig", "KubeAdmissionControlConfig", "KubeAggregatorCAConfig", "KubeAuditPolicyConfig"),
        *("KubeAuthenticationConfig", "KubeAuthorizerConfig", "KubeControllerManagerConfig", "KubeCoreDNSConfig"),
        *("KubeEtcdEncryptionConfig", "KubeFlannelCNIConfig", "KubeProxyConfig", "KubeSchedulerConfig"),
        *("KubeServiceAccountConfig", "KubeTalosAPIAccessConfig"),
    }
)


def is_set(path: str, *, is_null: bool, text: str | None, size: int) -> bool:
    """Whether a key counts as given: `text` is that of a single value, `size` the number of items or keys."""
    if is_null:
        return False
    if text in _FALSE:
        return path in _COUNTS_FALSE
    if text is not None:
        return text not in ("", "0", "0s")
    return size > 0 or path in _COUNTS_EMPTY


def check_replaced(entries: Sequence[Entry]) -> Iterator[tuple[int, Finding]]:
    """Settings that have a document of their own are not given in the main document too."""
    given = next((entry.given for entry in entries if not entry.kind and entry.given), frozenset())
    for index, entry in enumerate(entries):
        keys = [*EXCLUDED.get(entry.kind, ())]
        keys += [key for own, key in _EXCLUDED_BY_KEY.get(entry.kind, ()) if own in entry.given]
        own, key = _EXCLUDED_BY_NAME.get((entry.kind, entry.name), ("", ""))
        keys += [key] if own in entry.given else []
        for key in keys:
            if key in given:
                yield index, at("kind", message=f"{key} is given in the main document too", hint=_HINT)


def check_control_plane_kinds(entries: Sequence[Entry]) -> Iterator[tuple[int, Finding]]:
    """What runs on machines of the control plane is not configured for others.

    The originals refuse it without a main document, too, for then they do not know what the machine is. Here nothing
    runs of it, so that is let pass.
    """
    main = next((entry.value for entry in entries if isinstance(entry.value, MainDocument)), None)
    if main is None or (main.machine is not None and main.machine.type.is_control_plane):
        return
    for index, entry in enumerate(entries):
        if entry.kind in _CONTROL_PLANE_KINDS:
            message = f"{entry.kind} is for machines of the control plane only"
            yield index, at("kind", message=message, hint="take the document away, or set machine.type: controlplane")
