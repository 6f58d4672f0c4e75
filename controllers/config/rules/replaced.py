"""Documents that replace a part of the main document: the part must not be given there too."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from nodespan.controllers.config.finding import Finding, at
from nodespan.controllers.config.rules.entry import Entry

_HINT = "keep one of the two"
_NODE_KEYS = (
    *("cluster.allowSchedulingOnControlPlanes", "cluster.allowSchedulingOnMasters"),
    *("machine.kubelet.skipNodeRegistration", "machine.kubelet.registerWithFQDN", "machine.kubelet.nodeIP"),
    *("machine.nodeLabels", "machine.nodeAnnotations", "machine.nodeTaints"),
)

# The keys of the main document that a document of this kind excludes. Also of kinds that nodespan does not act on: the
# same file is to work on both sides.
EXCLUDED: Final[Mapping[str, tuple[str, ...]]] = {
    "DiscoveryIdentityConfig": ("cluster.id", "cluster.secret"),
    "DiscoveryServiceConfig": ("cluster.discovery",),
    "HostnameConfig": ("machine.network.hostname", "machine.features.stableHostname"),
    "KubeAPIServerConfig": ("cluster.apiServer", "cluster.controlPlane.localAPIServerPort"),
    "KubeClusterConfig": ("cluster.clusterName", "cluster.controlPlane.endpoint"),
    "KubeFlannelCNIConfig": ("cluster.network",),
    "KubeNetworkConfig": ("cluster.network",),
    "KubeNodeConfig": _NODE_KEYS,
    "KubePrismConfig": ("machine.features.kubePrism",),
    "KubeProxyConfig": ("cluster.proxy",),
    "KubeSpanConfig": ("machine.network.kubespan",),
    "KubeTalosAPIAccessConfig": ("machine.features.kubernetesTalosAPIAccess",),
    "KubeletConfig": ("machine.kubelet",),
    "ResolverConfig": (
        *("machine.network.nameservers", "machine.network.searchDomains", "machine.network.disableSearchDomain"),
    ),
    "TimeSyncConfig": ("machine.time.servers", "machine.time.bootTimeout"),
    "UnattendedInstallConfig": ("machine.install",),
}
# The same, if the document has this key.
_EXCLUDED_BY_KEY: Final[Mapping[str, tuple[tuple[str, str], ...]]] = {
    "ResolverConfig": (("hostDNS", "machine.features.hostDNS"),),
}
# Values for which a key does not count; any other value but none, false and nothing does. An empty list of search
# domains says something, and so does a section in which everything is off.
_COUNTS_EMPTY: Final = frozenset({"machine.network.searchDomains"})


def is_set(path: str, *, is_null: bool, text: str | None, size: int) -> bool:
    """Whether a key counts as given: `text` is that of a single value, `size` the number of items or keys."""
    if is_null:
        return False
    if text is not None:
        return text not in ("", "false", "False", "FALSE", "0s")
    return size > 0 or path in _COUNTS_EMPTY


def check_replaced(entries: Sequence[Entry]) -> Iterator[tuple[int, Finding]]:
    """Settings that have a document of their own are not given in the main document too."""
    given = next((entry.given for entry in entries if not entry.kind and entry.given), frozenset())
    for index, entry in enumerate(entries):
        keys = [*EXCLUDED.get(entry.kind, ())]
        keys += [key for own, key in _EXCLUDED_BY_KEY.get(entry.kind, ()) if own in entry.given]
        for key in keys:
            if key in given:
                yield index, at("kind", message=f"{key} is given in the main document too", hint=_HINT)
        if entry.kind == "TimeSyncConfig" and "machine.time.disabled" in given and "enabled" not in entry.given:
            message = "machine.time.disabled is given in the main document too"
            yield index, at("kind", message=message, hint=_HINT)
