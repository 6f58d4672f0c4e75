"""The node's own DNS server: what it does by the configuration, which names it knows, whom it asks for others."""

from nodespan.controllers.dns.host_dns_config import HostDNSConfigController
from nodespan.controllers.dns.metrics import Counts, dns_metrics
from nodespan.controllers.dns.resolve_cache import DNSResolveCacheController
from nodespan.runtime.plugins import AnyController, Settings


def controllers(settings: Settings) -> list[AnyController]:
    """The controllers of this family, for its entry point."""
    counts = Counts()
    settings.publish(dns_metrics(counts))
    return [HostDNSConfigController(), DNSResolveCacheController(counts)]


__all__ = ["DNSResolveCacheController", "HostDNSConfigController", "controllers"]
