"""Which kernel parameters the configuration desires, which file each is, and what else a write to it changes. Pure."""

import ipaddress
import re
from collections.abc import Iterator, Mapping
from typing import Final

import attrs

from nodespan.controllers.common.kernel_names import file_of_parameter
from nodespan.resources.config import MachineConfigSpec, SysctlConfig, SysfsConfig
from nodespan.resources.kubespan import KubeSpanConfigSpec
from nodespan.resources.runtime import PROC_SYS, SYS, KernelParamSpecSpec

IPV4_FORWARDING: Final = "net.ipv4.ip_forward"
IPV6_FORWARDING: Final = "net.ipv6.conf.all.forwarding"
_IPV4_ID, _IPV6_ID = f"{PROC_SYS}{IPV4_FORWARDING}", f"{PROC_SYS}{IPV6_FORWARDING}"
_DROPPED: Final = "podNetworks are advertised to the mesh, and packets to them are dropped here"
# What belongs to a network namespace, below /proc/sys.
_NAMESPACED: Final = "net/"
# A setting of one link, of all, or of those to come: the family of settings, the link, the setting.
_OF_LINK: Final = re.compile(r"net/(ipv[46])/(conf|neigh)/([^/]+)/([^/]+)")
_SYSFS_OF_LINK: Final = re.compile(r"class/net/([^/]+)/.")
_SHARED: Final = frozenset({"all", "default"})


@attrs.frozen
class Parameter:
    """A kernel parameter: a file below /proc/sys (`sys` is false) or /sys, by its path there."""

    path: str
    sys: bool = False

    @property
    def absolute(self) -> str:
        """`/proc/sys/net/ipv4/ip_forward`."""
        return f"/{'sys' if self.sys else 'proc/sys'}/{self.path}"

    @property
    def is_of_namespace(self) -> bool:
        """Whether each network namespace has its own."""
        return not self.sys and self.path.startswith(_NAMESPACED)

    @property
    def link_name(self) -> str:
        """The link that it is a setting of, "" for none."""
        if self.sys:
            match = _SYSFS_OF_LINK.match(self.path)
            return match[1] if match is not None else ""
        match = _OF_LINK.fullmatch(self.path)
        return match[3] if match is not None and match[3] not in _SHARED else ""


def parameter_of(id: str) -> Parameter | None:
    """The parameter that the id of a spec names; None if it names no file."""
    for prefix, is_sys in ((PROC_SYS, False), (SYS, True)):
        if id.startswith(prefix):
            path = file_of_parameter(id.removeprefix(prefix))
            return Parameter(path, sys=is_sys) if path else None
    return None


def configured_parameters(config: MachineConfigSpec) -> dict[str, KernelParamSpecSpec]:
    """The specs by their ids. A document wins over the main document, however either spells the parameter."""
    sources: tuple[tuple[str, Mapping[str, str]], ...] = (
        *((PROC_SYS, document.params) for document in config.documents_of(SysctlConfig)[:1]),
        *((SYS, document.params) for document in config.documents_of(SysfsConfig)[:1]),
        (PROC_SYS, config.machine.sysctls),
        (SYS, config.machine.sysfs),
    )
    found: dict[str, KernelParamSpecSpec] = {}
    ids: dict[Parameter, str] = {}
    for prefix, values in sources:
        own: dict[Parameter, str] = {}
        for key, value in values.items():
            parameter = parameter_of(f"{prefix}{key}")
            if parameter is None or parameter in ids:
                continue
            # Two spellings within one part: the last of them counts.
            found.pop(own.get(parameter, ""), None)
            own[parameter] = f"{prefix}{key}"
            found[own[parameter]] = KernelParamSpecSpec(value=value)
        ids |= own
    return found


def implied_parameters(config: MachineConfigSpec, mesh: KubeSpanConfigSpec | None) -> dict[str, KernelParamSpecSpec]:
    """What a node needs that advertises IPv4 networks behind it to the mesh: it forwards their packets."""
    if 4 not in advertised_versions(config, mesh):
        return {}
    return {_IPV4_ID: KernelParamSpecSpec(value="1")}


def advertised_versions(config: MachineConfigSpec, mesh: KubeSpanConfigSpec | None) -> frozenset[int]:
    """The IP versions of the networks behind this node that it advertises to the mesh."""
    if mesh is None or not mesh.enabled or not mesh.advertise_kubernetes_networks:
        return frozenset()
    return frozenset(ipaddress.ip_interface(network).version for network in config.nodespan.pod_networks)


def forwarding_faults(
    versions: frozenset[int], named: dict[str, KernelParamSpecSpec], forwards_ipv6: str
) -> Iterator[tuple[str, str]]:
    """What keeps packets to the advertised networks from being forwarded, by the id of the parameter."""
    values = {parameter_of(id): spec.value.strip() for id, spec in named.items()}
    if 4 in versions and values.get(parameter_of(_IPV4_ID), "1") == "0":
        yield _IPV4_ID, f"{_DROPPED}: set {IPV4_FORWARDING} to 1, or leave it out"
    if 6 in versions and values.get(parameter_of(_IPV6_ID), forwards_ipv6) == "0":
        # Not done unasked: with it the kernel drops the default routes that routers advertised.
        also = "net.ipv6.conf.LINK.accept_ra to 2 for links whose routers advertise a default route"
        yield _IPV6_ID, f"{_DROPPED}: set {IPV6_FORWARDING} to 1 in machine.sysctls, and {also}"


def beside(parameter: Parameter) -> Iterator[str]:
    """Patterns, below /proc/sys, of other parameters that a write to this one changes too.

    Forwarding of all links is that of each; settings for links to come are copied to links that have none of their
    own (IPv4, and neighbours), and those of IPv6 for all links to each of them.
    """
    if parameter.sys:
        return
    if parameter.path == "net/ipv4/ip_forward":
        yield "net/ipv4/conf/*/forwarding"
        yield "net/ipv4/conf/all/accept_redirects"
        return
    match = _OF_LINK.fullmatch(parameter.path)
    if match is None or match[3] not in _SHARED:
        return
    family, kind, _, setting = match.groups()
    yield f"net/{family}/{kind}/*/{setting}"
    if (family, setting) == ("ipv4", "forwarding"):
        yield "net/ipv4/ip_forward"
        yield "net/ipv4/conf/all/accept_redirects"


def one_line(value: str) -> str:
    """A value without the blanks that the kernel puts between its parts."""
    return " ".join(value.split())
