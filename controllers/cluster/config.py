"""cluster.ConfigController: which discovery services are used, from any of the documents."""

from collections.abc import Iterator

from nodespan.discovery.cluster_secret import decode_secret
from nodespan.discovery.endpoint_url import parse_endpoint_url
from nodespan.resources.cluster import DISCOVERY_CONFIG_ID, DiscoveryConfig, DiscoveryConfigSpec, DiscoveryService
from nodespan.resources.config import (
    MACHINE_CONFIG_ID,
    DiscoveryIdentityConfig,
    DiscoveryServiceConfig,
    MachineConfig,
    MachineConfigSpec,
)
from nodespan.resources.config.kubespan import DEFAULT_DISCOVERY_ENDPOINT
from nodespan.runtime.controller import Controller, ControllerContext, exclusive, weak

_LEGACY_NAME = "legacy"


def cluster_identity(config: MachineConfigSpec) -> tuple[str, str]:
    """The cluster's id and secret, "" where they are not given: the main document's before those of the identity's."""
    cluster = config.cluster
    if cluster.id or cluster.secret:
        return cluster.id, cluster.secret
    for identity in config.documents_of(DiscoveryIdentityConfig):
        return identity.cluster_id, identity.cluster_secret
    return "", ""


def discovery_config(config: MachineConfigSpec) -> DiscoveryConfigSpec:
    """The settings in effect. Raises ClusterSecretError or EndpointURLError for what validation would have refused."""
    services = tuple(_services(config))
    cluster_id, secret = cluster_identity(config)
    return DiscoveryConfigSpec(
        discovery_enabled=bool(services),
        registry_service_enabled=bool(services),
        service_endpoint=services[0].endpoint if services else "",
        service_endpoint_insecure=services[0].insecure if services else False,
        service_encryption_key=decode_secret(secret) if services else b"",
        service_cluster_id=cluster_id if services else "",
        service_endpoints=services,
    )


def wants_kubernetes_registry(config: MachineConfigSpec) -> bool:
    """Whether the configuration requests the registry that nodespan does not support."""
    discovery = config.cluster.discovery
    return discovery is not None and discovery.enabled and not discovery.registries.kubernetes.disabled


def _services(config: MachineConfigSpec) -> Iterator[DiscoveryService]:
    """The section of the main document stands before the documents, if it gives a service."""
    legacy = config.cluster.discovery
    if legacy is not None and legacy.enabled and not legacy.registries.service.disabled:
        yield _service(_LEGACY_NAME, legacy.registries.service.endpoint or DEFAULT_DISCOVERY_ENDPOINT)
        return
    for document in config.documents_of(DiscoveryServiceConfig):
        yield _service(document.name, document.endpoint)


def _service(name: str, url: str) -> DiscoveryService:
    target = parse_endpoint_url(url)
    return DiscoveryService(name=name, endpoint=target.address, insecure=target.insecure)


class ConfigController(Controller):
    """Writes `cluster` while there is a configuration; without a discovery service in it, one that names none."""

    name = "cluster.ConfigController"
    only_derives = True
    inputs = (weak(MachineConfig, MACHINE_CONFIG_ID),)
    outputs = (exclusive(DiscoveryConfig),)

    async def run(self, ctx: ControllerContext) -> None:
        """Follow the configuration."""
        is_logged = False
        async for _ in ctx:
            async with ctx.tracked_outputs(DiscoveryConfig):
                config = ctx.find(MachineConfig, MACHINE_CONFIG_ID)
                if config is None:
                    continue
                if wants_kubernetes_registry(config.spec) and not is_logged:
                    is_logged = True
                    ctx.log.info(
                        "the Kubernetes registry of cluster.discovery is not provided by nodespan, "
                        "nodes are found through discovery services only"
                    )
                await ctx.put(DiscoveryConfig, DISCOVERY_CONFIG_ID, discovery_config(config.spec))
