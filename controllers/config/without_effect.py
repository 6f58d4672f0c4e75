"""Settings that are read and checked, but have no effect in nodespan."""

from collections.abc import Iterator

from nodespan.controllers.config.finding import Path
from nodespan.resources.config.host import DnsProtocol, ResolverConfig
from nodespan.resources.config.main import HostDns, Machine, MainDocument


def without_effect(document: object) -> Iterator[tuple[Path, str]]:
    """The keys of one document that have no effect with the values they have, and the consequence."""
    match document:
        case MainDocument():
            if document.debug:
                yield ("debug",), "start the agent with --log-level debug"
            machine = document.machine or Machine()
            if machine.install.extra_kernel_args:
                yield ("machine", "install", "extraKernelArgs"), "give them to the boot loader yourself"
            if machine.features.host_dns and machine.features.host_dns.enabled:
                yield ("machine", "features", "hostDNS"), _without_host_dns(machine.features.host_dns)
        case ResolverConfig():
            for index, server in enumerate(document.nameservers):
                if server.protocol is DnsProtocol.HTTPS:
                    consequence = "the server is not asked, for nothing here can ask it over HTTPS"
                    yield ("nameservers", index, "protocol"), consequence
            if document.host_dns and document.host_dns.enabled:
                yield ("hostDNS",), _without_host_dns(document.host_dns)


def _without_host_dns(host_dns: HostDns) -> str:
    text = "names are looked up by systemd-resolved, where it runs, or as /etc/resolv.conf says"
    if host_dns.resolve_member_names:
        text += "; those of the other nodes are not added to them"
    if host_dns.forward_kube_dns_to_host:
        text += "; the DNS of Kubernetes is not led there"
    return text
