"""The settings of a cluster, from whichever documents they stand in."""

import pytest
from structlog.testing import capture_logs

from nodespan.controllers.cluster.config import ConfigController, discovery_config, wants_kubernetes_registry
from nodespan.controllers.cluster.info import InfoController
from nodespan.resources.cluster import (
    DISCOVERY_CONFIG_ID,
    INFO_ID,
    DiscoveryConfig,
    DiscoveryConfigSpec,
    DiscoveryService,
    Info,
    InfoSpec,
)
from nodespan.resources.config import (
    MACHINE_CONFIG_ID,
    Cluster,
    DiscoveryIdentityConfig,
    DiscoveryServiceConfig,
    MachineConfig,
)
from nodespan.resources.config.kubespan import Discovery, KubernetesRegistry, Registries, ServiceRegistry
from nodespan.runtime.testing.kit import running
from tests.controllers.cluster.samples import KEY, SECRET, machine_config, with_services

pytestmark = pytest.mark.virtual_clock

LEGACY = Cluster(id="id", secret=SECRET, cluster_name="home", discovery=Discovery(enabled=True))


def test_documents_name_any_number_of_services() -> None:
    spec = discovery_config(
        machine_config(
            DiscoveryIdentityConfig(cluster_id="id", cluster_secret=SECRET),
            DiscoveryServiceConfig(name="one", endpoint="http://10.0.0.1:3000"),
            DiscoveryServiceConfig(name="two", endpoint="https://discovery.example.org/"),
        )
    )
    assert spec == DiscoveryConfigSpec(
        discovery_enabled=True,
        registry_service_enabled=True,
        service_endpoint="10.0.0.1:3000",
        service_endpoint_insecure=True,
        service_encryption_key=KEY,
        service_cluster_id="id",
        service_endpoints=(
            DiscoveryService(name="one", endpoint="10.0.0.1:3000", insecure=True),
            DiscoveryService(name="two", endpoint="discovery.example.org:443"),
        ),
    )


@pytest.mark.parametrize(
    ("discovery", "endpoints"),
    [
        (Discovery(enabled=True), ["discovery.talos.dev:443"]),
        (Discovery(enabled=True, registries=Registries(service=ServiceRegistry(endpoint="https://x:1"))), ["x:1"]),
        (Discovery(enabled=False), []),
        (Discovery(enabled=True, registries=Registries(service=ServiceRegistry(disabled=True))), []),
        (None, []),
    ],
)
def test_the_section_of_the_main_document_is_one_service(discovery: Discovery | None, endpoints: list[str]) -> None:
    spec = discovery_config(machine_config(cluster=Cluster(id="id", secret=SECRET, discovery=discovery)))
    assert [service.endpoint for service in spec.service_endpoints] == endpoints
    assert {service.name for service in spec.service_endpoints} <= {"legacy"}
    assert spec.registry_service_enabled == bool(endpoints)
    assert bool(spec.service_encryption_key) == bool(endpoints)


def test_the_main_document_takes_precedence_over_separate_documents() -> None:
    document = DiscoveryServiceConfig(name="one", endpoint="http://10.0.0.1:3000")
    identity = DiscoveryIdentityConfig(cluster_id="other", cluster_secret="")
    spec = discovery_config(machine_config(document, identity, cluster=LEGACY))
    assert (spec.service_cluster_id, [s.name for s in spec.service_endpoints]) == ("id", ["legacy"])
    off = Cluster(id="id", secret=SECRET, discovery=Discovery(enabled=False))
    assert [s.name for s in discovery_config(machine_config(document, cluster=off)).service_endpoints] == ["one"]


def test_the_unsupported_registry_is_recognised() -> None:
    assert wants_kubernetes_registry(machine_config(cluster=LEGACY))
    off = Registries(kubernetes=KubernetesRegistry(disabled=True))
    without = Cluster(discovery=Discovery(enabled=True, registries=off))
    assert not wants_kubernetes_registry(machine_config(cluster=without))
    assert not wants_kubernetes_registry(machine_config())


async def test_settings_and_info_follow_the_configuration() -> None:
    async with running(ConfigController(), InfoController()) as node:
        await node.put(MachineConfig, MACHINE_CONFIG_ID, machine_config(cluster=LEGACY))
        found = await node.eventually(DiscoveryConfig, DISCOVERY_CONFIG_ID)
        assert found.spec.service_cluster_id == "id"
        await node.eventually(Info, INFO_ID, spec=InfoSpec(cluster_id="id", cluster_name="home"))
        await node.put(MachineConfig, MACHINE_CONFIG_ID, machine_config())
        await node.eventually(DiscoveryConfig, DISCOVERY_CONFIG_ID, spec=DiscoveryConfigSpec())
        await node.gone(Info, INFO_ID)
        await node.put(MachineConfig, MACHINE_CONFIG_ID, with_services("one"))
        await node.eventually(Info, INFO_ID, spec=InfoSpec(cluster_id="cluster"))
        await node.destroy(MachineConfig, MACHINE_CONFIG_ID)
        await node.gone(DiscoveryConfig, DISCOVERY_CONFIG_ID)
        await node.gone(Info, INFO_ID)


async def test_the_unsupported_registry_is_reported_once() -> None:
    with capture_logs() as logs:
        async with running(ConfigController()) as node:
            for name in ("one", "two"):
                cluster = Cluster(id=name, secret=SECRET, discovery=Discovery(enabled=True))
                await node.put(MachineConfig, MACHINE_CONFIG_ID, machine_config(cluster=cluster))
                await node.settled()
    assert len([log for log in logs if "Kubernetes registry" in log["event"]]) == 1
