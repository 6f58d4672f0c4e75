"""The main document by itself."""

from collections.abc import Iterator
from datetime import timedelta

from nodespan.controllers.common.machine_files import entry_error
from nodespan.controllers.common.quoting import quote
from nodespan.controllers.config.finding import Finding, at, under, warn
from nodespan.controllers.config.notation import (
    HOSTNAME_HINT,
    IP_HINT,
    is_hostname,
    is_ip,
    is_pem_in_base64,
    is_url,
    url_path,
)
from nodespan.controllers.config.rules.base import check_words
from nodespan.controllers.config.rules.devices import check_devices
from nodespan.controllers.config.rules.discovery import check_secret
from nodespan.controllers.config.rules.kernel import check_kernel_sections
from nodespan.controllers.config.rules.kubernetes import ENDPOINT_HINT, check_subnets
from nodespan.controllers.config.rules.kubespan import check_filters
from nodespan.controllers.config.rules.virtual_ips import NO_VIP, NO_VIP_HINT
from nodespan.resources.config.kubespan import (
    Discovery,
    KubeSpan,
)
from nodespan.resources.config.main import CertificateAndKey, Cluster, Machine, MainDocument, Network
from nodespan.resources.network.link import IPV6_MINIMUM_MTU

_SERVICE_URL_HINT = "write it like https://discovery.example.org/"


def check_main(main: MainDocument) -> Iterator[Finding]:
    """The main document by itself."""
    if main.version != "v1alpha1":
        yield at("version", message=f"version {quote(main.version)} is not known", hint="write version: v1alpha1")
    if main.machine:
        yield from under(("machine",), _check_machine(main.machine))
    if main.cluster:
        yield from under(("cluster",), _check_cluster(main.cluster))


def _check_machine(machine: Machine) -> Iterator[Finding]:
    if machine.install.extra_kernel_args and machine.install.grub_use_uki_cmdline:
        yield at(
            "install",
            "extraKernelArgs",
            message="install.extraKernelArgs and install.grubUseUKICmdline exclude each other",
            hint="take one of the two away",
        )
    if not machine.type.is_control_plane:
        yield from under(("network", "interfaces"), _check_no_vip(machine.network))
    for index, file in enumerate(machine.files):
        # A warning: the originals find out only when they apply it, and apply everything else.
        if error := entry_error(file):
            yield warn("files", index, message=error)
    yield from _check_api_secrets(machine)
    yield from under(("network",), _check_network(machine.network))
    yield from check_kernel_sections(machine)
    yield from under(("time",), check_words("servers", *machine.time.servers, are_many=True))
    if machine.time.boot_timeout < timedelta():
        # A warning: the original checks it in its document only.
        yield warn("time", "bootTimeout", message="the timeout is negative, and counts as 0", hint="write it like 1m")


def _check_api_secrets(machine: Machine) -> Iterator[Finding]:
    """The authority of the API. Warnings: without an API nothing reads it, and the original's may hold anything."""
    pairs: list[tuple[tuple[str | int, ...], CertificateAndKey]] = [(("ca",), machine.ca)] if machine.ca else []
    pairs += [(("acceptedCAs", index), pair) for index, pair in enumerate(machine.accepted_cas)]
    for path, pair in pairs:
        for key, text in (("crt", pair.crt), ("key", pair.key)):
            if text and not is_pem_in_base64(text):
                yield warn(
                    *path,
                    key,
                    message=f"{key} is not PEM in base64, so the API cannot use it",
                    hint="`nodespan gen config` makes an authority",
                )


def _check_no_vip(network: Network) -> Iterator[Finding]:
    for index, device in enumerate(network.interfaces):
        if device.vip:
            yield at(index, "vip", message=NO_VIP, hint=NO_VIP_HINT)
        for position, vlan in enumerate(device.vlans):
            if vlan.vip:
                yield at(index, "vlans", position, "vip", message=NO_VIP, hint=NO_VIP_HINT)


def _check_network(network: Network) -> Iterator[Finding]:
    if network.hostname and not is_hostname(network.hostname):
        yield at(
            "hostname",
            message=f"{quote(network.hostname)} is not a host name",
            hint=HOSTNAME_HINT,
        )
    for index, server in enumerate(network.nameservers):
        if not is_ip(server):
            message = f"{quote(server)} is not an IP address and is left out"
            yield warn("nameservers", index, message=message, hint=IP_HINT)
    for index, host in enumerate(network.extra_host_entries):
        if not is_ip(host.ip):
            yield at("extraHostEntries", index, "ip", message=f"{quote(host.ip)} is not an IP address")
        yield from under(("extraHostEntries", index), check_words("aliases", *host.aliases, are_many=True))
    yield from check_words("searchDomains", *(network.search_domains or ()), are_many=True)
    yield from under(("interfaces",), check_devices(network.interfaces))
    if network.kubespan and network.kubespan.enabled:
        yield from under(("kubespan",), _check_kubespan(network.kubespan))


def _check_kubespan(kubespan: KubeSpan) -> Iterator[Finding]:
    if kubespan.mtu and kubespan.mtu < IPV6_MINIMUM_MTU:
        yield at("mtu", message=f"mtu {kubespan.mtu} is less than {IPV6_MINIMUM_MTU}")
    yield from under(("filters",), check_filters(kubespan.filters))


def _check_cluster(cluster: Cluster) -> Iterator[Finding]:
    if cluster.secret:
        yield from check_secret(cluster.secret, "secret")
    endpoint = cluster.control_plane.endpoint
    if endpoint and not is_url(endpoint, "https", "http"):
        message = f"{quote(endpoint)} is not a URL"
        yield at("controlPlane", "endpoint", message=message, hint=ENDPOINT_HINT)
    for key, subnets in (
        ()
        if cluster.network is None
        else (("podSubnets", cluster.network.pod_subnets), ("serviceSubnets", cluster.network.service_subnets))
    ):
        yield from under(("network",), check_subnets(key, subnets))
    if cluster.discovery and uses_legacy_service(cluster.discovery):
        endpoint = cluster.discovery.registries.service.endpoint
        path = ("discovery", "registries", "service", "endpoint")
        if endpoint and not is_url(endpoint, "https", "http", "grpc"):
            message = f"{quote(endpoint)} is not a URL of a discovery service"
            yield at(*path, message=message, hint=_SERVICE_URL_HINT)
        elif endpoint and url_path(endpoint) not in {"", "/"}:
            yield at(*path, message=f"{quote(endpoint)} has a path", hint=_SERVICE_URL_HINT)


def uses_legacy_service(discovery: Discovery | None) -> bool:
    """Whether the main document enables a discovery service."""
    return discovery is not None and discovery.enabled and not discovery.registries.service.disabled
