"""The identity of the cluster, and its discovery services."""

from collections.abc import Iterator

from nodespan.controllers.common.quoting import quote
from nodespan.controllers.config.finding import Finding, at
from nodespan.controllers.config.notation import is_key, is_url
from nodespan.controllers.config.rules.base import RuleSet, required
from nodespan.resources.config.kubespan import (
    DiscoveryIdentityConfig,
    DiscoveryServiceConfig,
)

RULES = RuleSet()


def check_secret(secret: str, key: str) -> Iterator[Finding]:
    """A cluster secret, which is never shown."""
    if not is_key(secret):
        yield at(key, message=f"{key} is not base64 of 32 bytes", hint="copy it from another node of the cluster")


@RULES.document(DiscoveryIdentityConfig)
def check_discovery_identity(identity: DiscoveryIdentityConfig) -> Iterator[Finding]:
    """DiscoveryIdentityConfig."""
    yield from required(identity, ("clusterID", identity.cluster_id))
    yield from check_secret(identity.cluster_secret, "clusterSecret")


@RULES.document(DiscoveryServiceConfig)
def check_discovery_service(service: DiscoveryServiceConfig) -> Iterator[Finding]:
    """DiscoveryServiceConfig."""
    yield from required(service, ("name", service.name))
    if not is_url(service.endpoint, "http", "https", "grpc"):
        message = f"{quote(service.endpoint)} is not a URL of a discovery service"
        yield at("endpoint", message=message, hint="write it like https://discovery.example.org:3000/")
