"""Documents and keys that would change the security or the connectivity of a machine, and are not applied.

That such a part is ignored must not go unnoticed, so each is a warning that says what follows. What belongs plainly to
another system, as the settings of the kubelet, is only listed.
"""

from collections.abc import Iterator, Mapping
from typing import Final

import attrs

from nodespan.controllers.config.finding import Finding, Path, warn
from nodespan.resources.config.device import Vip
from nodespan.resources.config.main import MainDocument

_FIREWALL_HINT = "filter packets with nftables yourself, or take the document away"
_KERNEL_HINT = "use /etc/sysctl.d, or take it away"

# By kind: what follows, and what to do.
KINDS: Final[Mapping[str, tuple[str, str]]] = {
    "BGPInstanceConfig": ("no routes are exchanged", "run a routing daemon"),
    "EventSinkConfig": ("no events are sent", ""),
    "HTTPProbeConfig": ("nothing is probed, and the network counts as ready without it", ""),
    "KernelModuleConfig": ("no kernel module is loaded", "use /etc/modules-load.d"),
    "KmsgLogConfig": ("the kernel's log is not sent anywhere", ""),
    "NetworkLinkIngressConfig": ("no packet is blocked", _FIREWALL_HINT),
    "NetworkNATRuleConfig": ("no address is translated", "write rules of nftables yourself, or take the document away"),
    "NetworkWifiConfig": ("the link joins no wireless network", "use wpa_supplicant or iwd"),
    "PCIDriverRebindConfig": ("devices keep their drivers", ""),
    "SecurityProfileConfig": ("no security profile is in force", ""),
    "SideroLinkConfig": ("the machine is not connected to its management server", ""),
    "SysctlConfig": ("kernel parameters stay as they are", _KERNEL_HINT),
    "SysfsConfig": ("kernel parameters stay as they are", _KERNEL_HINT),
    "TCPProbeConfig": ("nothing is probed, and the network counts as ready without it", ""),
    "UdevRulesConfig": ("devices get no further rules", "use /etc/udev/rules.d"),
}
# By key of the main document.
KEYS: Final[Mapping[Path, tuple[str, str]]] = {
    ("machine", "acceptedCAs"): ("no certificate is trusted for it", "use TrustedRootsConfig"),
    ("machine", "kernel"): ("no kernel module is loaded", "use /etc/modules-load.d"),
    ("machine", "seccompProfiles"): ("no profile is written", ""),
    ("machine", "sysctls"): ("kernel parameters stay as they are", _KERNEL_HINT),
    ("machine", "sysfs"): ("kernel parameters stay as they are", _KERNEL_HINT),
    ("machine", "udev"): ("devices get no further rules", "use /etc/udev/rules.d"),
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


def values_not_applied(document: object) -> Iterator[Finding]:
    """The warnings about keys that are read, but of which nothing follows here."""
    if not isinstance(document, MainDocument) or document.machine is None:
        return
    for index, device in enumerate(document.machine.network.interfaces):
        if device.ignore:
            continue
        path = ("machine", "network", "interfaces", index)
        yield from _clouds(device.vip, (*path, "vip"))
        for position, vlan in enumerate(device.vlans):
            yield from _clouds(vlan.vip, (*path, "vlans", position, "vip"))


def cloud_vip_not_applied() -> Finding:
    """The warning about a HCloudVIPConfig."""
    return warn("kind", message=_cloud_message("Hetzner Cloud"), hint=_CLOUD_HINT)


_CLOUD_HINT = "have the cloud's own tool route it, or write a virtual IP without it, which needs a network of layer 2"


def _cloud_message(cloud: str) -> str:
    return f"this virtual IP is not applied: nothing here tells {cloud} where to route it, so no node holds the address"


def _clouds(vip: Vip | None, path: Path) -> Iterator[Finding]:
    if vip is None:
        return
    for key, cloud, value in (
        ("hcloud", "Hetzner Cloud", vip.hcloud),
        ("equinixMetal", "Equinix Metal", vip.equinix_metal),
    ):
        if value is not None:
            finding = warn(*path, key, message=_cloud_message(cloud), hint=_CLOUD_HINT)
            yield attrs.evolve(finding, on_key=True)
