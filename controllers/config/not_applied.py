"""Documents and keys that would change the security or the connectivity of a machine, and are not applied.

That such a part is ignored must not go unnoticed, so each is a warning that says what follows. What belongs plainly to
another system, as the settings of the kubelet, is only listed.
"""

from collections.abc import Iterator, Mapping
from typing import Final

import attrs

from nodespan.controllers.config.finding import Finding, Path, warn

_FIREWALL_HINT = "filter packets with nftables yourself, or take the document away"

# By kind: what follows, and what to do.
KINDS: Final[Mapping[str, tuple[str, str]]] = {
    "BGPInstanceConfig": ("no routes are exchanged", "run a routing daemon"),
    "EventSinkConfig": ("no events are sent", ""),
    "KmsgLogConfig": ("the kernel's log is not sent anywhere", ""),
    "NetworkLinkIngressConfig": ("no packet is blocked", _FIREWALL_HINT),
    "NetworkNATRuleConfig": ("no address is translated", "write rules of nftables yourself, or take the document away"),
    "NetworkWifiConfig": ("the link joins no wireless network", "use wpa_supplicant or iwd"),
    "PCIDriverRebindConfig": ("devices keep their drivers", ""),
    "SecurityProfileConfig": ("no security profile is in force", ""),
    "SideroLinkConfig": ("the machine is not connected to its management server", ""),
}
# By key of the main document.
KEYS: Final[Mapping[Path, tuple[str, str]]] = {
    ("machine", "acceptedCAs"): ("no certificate is trusted for it", "use TrustedRootsConfig"),
    ("machine", "seccompProfiles"): ("no profile is written", ""),
}
# Kinds of the originals that belong plainly to other systems. Any other unknown kind is one of a newer original.
OTHERS: Final = frozenset(
    {
        *("CPUPartitionConfig", "CPUScalingConfig", "CRIBaseRuntimeSpecConfig", "CRICustomizationConfig"),
        *("ContentLibraryConfig", "DiskSMARTConfig", "ExistingVolumeConfig", "ExtensionServiceConfig"),
        *("ExternalVolumeConfig", "FilesystemScrubConfig", "FilesystemTrimConfig", "ImageCacheConfig"),
        *("ImageVerificationConfig", "LVMLogicalVolumeConfig", "LVMVolumeGroupConfig", "OOMConfig"),
        *("RAIDArrayConfig", "RawVolumeConfig", "RegistryAuthConfig", "RegistryMirrorConfig", "RegistryTLSConfig"),
        *("SwapVolumeConfig", "UnattendedInstallConfig", "UserVolumeConfig", "VirtualMachineConfig", "VolumeConfig"),
        *("WatchdogTimerConfig", "WorkloadResourceConfig", "ZswapConfig"),
    }
)


def is_kind_of_others(kind: str) -> bool:
    """Whether a kind that nodespan does not act on is known by its name, and so no misspelling of another one."""
    return kind in OTHERS or kind in KINDS


def is_known_elsewhere(kind: str) -> bool:
    """Whether a kind that nodespan does not act on is one of the originals."""
    return is_kind_of_others(kind) or kind.startswith(("Kube", "Etcd"))


def kind_not_applied(kind: str) -> Iterator[Finding]:
    """The warning about a document of another system."""
    consequence, hint = KINDS.get(kind, ("", ""))
    if consequence:
        yield warn("kind", message=f"this document is not applied: {consequence}", hint=hint)


def key_not_applied(path: Path) -> Iterator[Finding]:
    """The warning about a key of another system."""
    if path in KEYS:
        consequence, hint = KEYS[path]
        yield attrs.evolve(warn(*path, message=f"this is not applied: {consequence}", hint=hint), on_key=True)
