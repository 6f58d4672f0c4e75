"""The node's own DNS server: what it does by the configuration, which names it knows, whom it asks for others."""

from nodespan.controllers.dns.host_dns_config import HostDNSConfigController
from nodespan.runtime.plugins import AnyController, Settings


def controllers(settings: Settings) -> list[AnyController]:  # noqa: ARG001
    """The controllers of this family, for its entry point."""
    return [HostDNSConfigController()]


__all__ = ["HostDNSConfigController", "controllers"]
