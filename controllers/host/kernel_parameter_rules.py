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
# What the originals set by default, beside the ports of their own API.
_DEFAULTS: Final = {
    "net.ipv4.ip_forward": "1",
    "net.ipv4.icmp_ignore_bogus_error_responses": "1",
    "net.ipv4.icmp_echo_ignore_broadcasts": "1",
    "net.ipv4.conf.all.send_redirects": "0",
    "net.ipv4.conf.default.send_redirects": "0",
    "net.ipv4.tcp_keepalive_time": "600",
    "net.ipv4.tcp_keepalive_intvl": "60",
    "net.ipv6.conf.default.forwarding": "1",
    "net.ipv6.conf.default.accept_ra": "2",
    "net.bridge.bridge-nf-call-iptables": "1",
    "net.bridge.bridge-nf-call-ip6tables": "1",
    "kernel.panic": "10",
    "kernel.pid_max": "262144",
    "kernel.ctrl-alt-del": "0",
    "vm.overcommit_memory": "1",
    "fs.inotify.max_user_instances": "8192",
    "fs.aio-max-nr": "1048576",
}
# By which they protect the kernel, as the Kernel Self Protection Project recommends.
_HARDENING: Final = {
    "dev.tty.ldisc_autoload": "0",
    "dev.tty.legacy_tiocsti": "0",
    "fs.protected_symlinks": "1",
    "fs.protected_hardlinks": "1",
    "fs.protected_fifos": "2",
    "fs.protected_regular": "2",
    "fs.suid_dumpable": "0",
    "kernel.kptr_restrict": "2",
    "kernel.dmesg_restrict": "1",
    "kernel.perf_event_paranoid": "3",
    "kernel.randomize_va_space": "2",
    "kernel.yama.ptrace_scope": "2",
    "kernel.unprivileged_bpf_disabled": "1",
    "net.core.bpf_jit_harden": "2",
    "user.max_user_namespaces": "0",
}
# Of both, those that are limits, or stricter the higher they are: a machine that has more keeps it.
_AT_LEAST: Final = frozenset(
    {
        "kernel.pid_max",
        "fs.inotify.max_user_instances",
        "fs.aio-max-nr",
        "kernel.perf_event_paranoid",
        "kernel.yama.ptrace_scope",
    }
)
# What belongs to a network namespace, below /proc/sys.
_NAMESPACED: Final = "net/"
# A setting of one link, of all, or of those to come: the family of settings, the link, the setting.
_OF_LINK: Final = re.compile(r"net/(ipv[46])/(conf|neigh)/([^/]+)/([^/]+)")
_SYSFS_OF_LINK: Final = re.compile(r"class/net/([^/]+)/.")
_NUMBER: Final = re.compile(r"-?[0-9]{1,20}", re.ASCII)
_SHARED: Final = frozenset({"all", "default"})
_FORWARDING_OF_ALL: Final = frozenset(
    {"net/ipv4/ip_forward", "net/ipv4/conf/all/forwarding", "net/ipv6/conf/all/forwarding"}
)
# Of each pair one is in effect: a write to one sets the other to 0, and 0 is not to be written to all.
_PAIRS: Final = (
    ("vm/dirty_bytes", "vm/dirty_ratio"),
    ("vm/dirty_background_bytes", "vm/dirty_background_ratio"),
    ("vm/overcommit_kbytes", "vm/overcommit_ratio"),
)
_OPPOSITES: Final = {one: other for pair in _PAIRS for one, other in (pair, pair[::-1])}
_WATCHDOGS: Final = ("kernel/nmi_watchdog", "kernel/soft_watchdog")
# Those that the kernel copies from all links to each, and to those to come.
_COPIED_FROM_ALL: Final = {
    "ipv4": frozenset({"forwarding"}),
    "ipv6": frozenset({"forwarding", "disable_ipv6", "ignore_routes_with_linkdown", "addr_gen_mode"}),
}


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

    def of_link(self, name: str) -> "Parameter":
        """The same setting of another link; this one must be of a link."""
        start, end = (_SYSFS_OF_LINK.match(self.path) if self.sys else _OF_LINK.fullmatch(self.path)).span(  # type: ignore[union-attr]
            1 if self.sys else 3
        )
        return Parameter(f"{self.path[:start]}{name}{self.path[end:]}", sys=self.sys)

    @property
    def is_forwarding_of_all(self) -> bool:
        """Whether it is the one switch for forwarding on all links, by either of its names."""
        return not self.sys and self.path in _FORWARDING_OF_ALL

    @property
    def is_forwarding(self) -> bool:
        """Whether packets are forwarded by it: on all links, or on one."""
        match = None if self.sys else _OF_LINK.fullmatch(self.path)
        of_one = match is not None and (match[2], match[4]) == ("conf", "forwarding") and match[3] not in _SHARED
        return of_one or self.is_forwarding_of_all

    @property
    def shared(self) -> str:
        """`all` or `default` for a setting of all links, or of those to come; else ""."""
        match = None if self.sys else _OF_LINK.fullmatch(self.path)
        return match[3] if match is not None and match[3] in _SHARED else ""

    @property
    def rank(self) -> int:
        """The order of writing: one whose write changes others comes before those."""
        if self.link_name:
            return 3
        return 0 if self.is_forwarding_of_all else 2 if self.shared == "default" else 1


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
    """What the configuration implies without naming it.

    A node that advertises IPv4 networks behind it to the mesh forwards their packets. The defaults of the originals are
    set where they are asked for; what this kernel does not have of them is no problem.
    """
    found: dict[str, KernelParamSpecSpec] = {}
    defaults = config.nodespan.defaults
    for values, is_enabled in ((_DEFAULTS, defaults.kernel_parameters), (_HARDENING, defaults.hardening)):
        if is_enabled:
            for key, value in values.items():
                found[f"{PROC_SYS}{key}"] = KernelParamSpecSpec(value=value, ignore_errors=True)
    if 4 in advertised_versions(config, mesh):
        found[_IPV4_ID] = KernelParamSpecSpec(value="1")
    return found


def is_minimum(id: str) -> bool:
    """Whether the default of this id is met by higher values, too."""
    return id.removeprefix(PROC_SYS) in _AT_LEAST


def number(value: str) -> int | None:
    """A value as a whole number, None if it is none that a parameter can have."""
    return int(value) if _NUMBER.fullmatch(value) else None


def exceeds(value: str, minimum: str) -> bool:
    """Whether both values are whole numbers, and the first is the higher one."""
    one, other = number(value.strip()), number(minimum.strip())
    return one is not None and other is not None and one > other


def weakened(config: MachineConfigSpec) -> dict[str, str]:
    """The values that the configuration names in place of those by which it has the kernel protected, by parameter."""
    if not config.nodespan.defaults.hardening:
        return {}
    named = {parameter_of(id): spec.value.strip() for id, spec in configured_parameters(config).items()}
    values = {key: named.get(parameter_of(f"{PROC_SYS}{key}"), value) for key, value in _HARDENING.items()}
    return {
        key: value
        for key, value in values.items()
        if value != _HARDENING[key] and not (key in _AT_LEAST and exceeds(value, _HARDENING[key]))
    }


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


def opposite(parameter: Parameter) -> str:
    """The path of the other one of a pair of which one is in effect, "" for none."""
    return "" if parameter.sys else _OPPOSITES.get(parameter.path, "")


def beside(parameter: Parameter) -> Iterator[str]:
    """Patterns, below /proc/sys, of other parameters that a write to this one changes too.

    Forwarding of all links is that of each; settings for links to come are copied to links that have none of their
    own (IPv4, and neighbours), and those of IPv6 for all links to each of them.
    """
    if parameter.sys:
        return
    if opposite(parameter):
        yield opposite(parameter)
        return
    if parameter.path == "kernel/watchdog":
        yield from _WATCHDOGS
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


def is_above(other: Parameter, parameter: Parameter) -> bool:
    """Whether the other one is about all links, and this one about those to come, which never changes the former."""
    return other.shared == "all" and parameter.shared == "default"


def gives(parameter: Parameter, other: Parameter, is_same: bool) -> bool:
    """Whether the kernel gives the other one a value by this one. `is_same` is whether they have the same value.

    What is beside a parameter is recorded more widely than this, for that costs nothing. Settings for links to come
    are copied only to links that have none of their own, so that there the values have to agree.
    """
    if parameter.path == "net/ipv4/ip_forward" or (parameter.is_forwarding_of_all and "ipv4" in parameter.path):
        return True
    match = _OF_LINK.fullmatch(parameter.path)
    if match is None or parameter.sys or is_above(other, parameter):
        return False
    family, kind, name, setting = match.groups()
    if name == "all":
        return setting in _COPIED_FROM_ALL[family]
    is_copied = kind == "neigh" or (family == "ipv4" and setting not in _COPIED_FROM_ALL[family])
    return name == "default" and is_copied and is_same and bool(other.link_name)


def one_line(value: str) -> str:
    """A value without the blanks that the kernel puts between its parts."""
    return " ".join(value.split())
