"""Settings that are read and checked, but have no effect in nodespan."""

from collections.abc import Iterator

from nodespan.controllers.config.finding import Path
from nodespan.resources.config.host import ResolverConfig
from nodespan.resources.config.main import HostDns, Machine, MainDocument

_NOT_FORWARDED = "the DNS of Kubernetes is not led to the node's own server: name servers in its own configuration"


def without_effect(document: object) -> Iterator[tuple[Path, str]]:
    """The keys of one document that have no effect with the values they have, and the consequence."""
    match document:
        case MainDocument():
            if document.debug:
                yield ("debug",), "start the agent with --log-level debug"
            machine = document.machine or Machine()
            if machine.install.extra_kernel_args:
                yield ("machine", "install", "extraKernelArgs"), "give them to the boot loader yourself"
            if _forwards(machine.features.host_dns):
                yield ("machine", "features", "hostDNS", "forwardKubeDNSToHost"), _NOT_FORWARDED
        case ResolverConfig():
            if _forwards(document.host_dns):
                yield ("hostDNS", "forwardKubeDNSToHost"), _NOT_FORWARDED


def _forwards(host_dns: HostDns | None) -> bool:
    return host_dns is not None and host_dns.enabled and host_dns.forward_kube_dns_to_host
