"""What the discovery services are told, and what is made of what they tell."""

import os
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

import attrs
import pytest
import trio

from nodespan.controllers.cluster.affiliate_merge import AffiliateMergeController
from nodespan.controllers.cluster.config import ConfigController
from nodespan.controllers.cluster.conversion import to_wire
from nodespan.controllers.cluster.discovery_service import DiscoveryServiceController
from nodespan.controllers.cluster.metrics import METRICS
from nodespan.controllers.cluster.missing_nodes import PATIENCE
from nodespan.controllers.network.status.network_status import NetworkStatusController
from nodespan.discovery.ciphers import ClusterCipher
from nodespan.discovery.client import Connection, Transport, TransportError
from nodespan.discovery.endpoint_url import DialAddress
from nodespan.discovery.wire import server_pb2
from nodespan.resources.cluster import (
    LOCAL,
    NAMESPACE,
    PUBLIC_ADDRESS_ID,
    RAW_AFFILIATE,
    RESET_ID,
    Affiliate,
    AffiliateSpec,
    DiscoveryServiceStatus,
    Identity,
    IdentitySpec,
    MachineResetSignal,
    MachineResetSignalSpec,
    ServiceState,
)
from nodespan.resources.config import MACHINE_CONFIG_ID, MachineConfig
from nodespan.resources.kubespan import KubeSpanEndpoint, KubeSpanEndpointSpec
from nodespan.resources.network import (
    NETWORK_STATUS_ID,
    AddressStatus,
    AddressStatusSpec,
    Family,
    NetworkProblem,
    NetworkStatus,
    NodeAddress,
    NodeAddressSpec,
    Severity,
    network_problem_id,
)
from nodespan.resources.runtime import ENVIRONMENT_ID, Environment, EnvironmentSpec
from nodespan.resources.trust import TRUST_BUNDLE_ID, TrustBundle, TrustBundleSpec
from nodespan.runtime.api.grpc.client import Stage
from nodespan.runtime.state import MemoryState, State
from nodespan.runtime.testing.kit import Node, running
from tests.controllers.cluster.samples import KEY, affiliate, machine_config, with_services
from tests.discovery.fake_service import FakeService

pytestmark = pytest.mark.virtual_clock

NAME = "cluster.DiscoveryServiceController"
CIPHER = ClusterCipher(KEY, os.urandom)
PUBLIC_ADDRESS = AddressStatus.within(NAMESPACE)


@attrs.define
class Network:
    """Services by the name that they are dialled by."""

    services: defaultdict[str, FakeService] = attrs.field(factory=lambda: defaultdict(FakeService))
    roots: Callable[[], bytes] = attrs.field(default=bytes)
    environment: Callable[[], Mapping[str, str]] = attrs.field(default=dict)

    def transport(self, roots: Callable[[], bytes], environment: Callable[[], Mapping[str, str]]) -> Transport:
        self.roots, self.environment = roots, environment
        return self

    @asynccontextmanager
    async def connect(self, target: DialAddress, *, keepalive: float) -> AsyncIterator[Connection]:
        async with self.services[target.host.partition(".")[0]].connect(target, keepalive=keepalive) as connection:
            yield connection


def controller(network: Network) -> DiscoveryServiceController:
    return DiscoveryServiceController(version="v1.0.0", transport=network.transport, random=random.Random(0))


@asynccontextmanager
async def started(network: Network, *names: str, state: MemoryState | None = None) -> AsyncIterator[Node]:
    async with running(ConfigController(), controller(network), state=state) as node:
        await node.put(MachineConfig, MACHINE_CONFIG_ID, with_services(*names))
        await node.put(Identity, LOCAL, IdentitySpec(node_id="me"))
        yield node


def blob(spec: AffiliateSpec, id: str = "") -> server_pb2.Affiliate:
    data, endpoints = to_wire(spec)
    return server_pb2.Affiliate(
        id=id or spec.node_id,
        data=CIPHER.encrypt_affiliate(data),
        endpoints=[CIPHER.encrypt_endpoint(endpoint) for endpoint in endpoints],
    )


def ids(node: Node) -> list[str]:
    return [found.id for found in node.state.list(RAW_AFFILIATE)]


async def test_records_of_a_service_are_published_and_kept_up_to_date() -> None:
    network = Network()
    one = network.services["one"]
    one.put(blob(affiliate("a", "10.0.0.1")))
    async with started(network, "one") as node:
        await node.eventually(RAW_AFFILIATE, "service/a", spec=affiliate("a", "10.0.0.1"))
        one.put(blob(affiliate("a", "10.0.0.2")))
        await node.eventually(RAW_AFFILIATE, "service/a", spec=affiliate("a", "10.0.0.2"))
        one.put(blob(affiliate("b")))
        await node.eventually(RAW_AFFILIATE, "service/b")
        one.drop("a")
        await node.gone(RAW_AFFILIATE, "service/a")
        assert ids(node) == ["service/b"]


async def test_the_local_affiliate_is_sent_to_every_service() -> None:
    network = Network()
    async with started(network, "one", "two") as node:
        await node.put(Affiliate, "me", affiliate("me", "10.0.0.9"))
        await trio.sleep(2)
        for name in ("one", "two"):
            told = network.services[name].affiliates["me"]
            assert CIPHER.decrypt_affiliate(told.data) == to_wire(affiliate("me", "10.0.0.9"))[0]
            assert [CIPHER.decrypt_endpoint(e) for e in told.endpoints] == ["10.0.0.9:51820"]
        await node.put(Affiliate, "me", affiliate("me", "10.0.0.8"))
        await trio.sleep(2)
        assert CIPHER.decrypt_affiliate(network.services["two"].affiliates["me"].data).addresses == ("10.0.0.8",)
        assert ids(node) == []


async def test_observed_endpoints_of_other_nodes_are_sent() -> None:
    network = Network()
    one = network.services["one"]
    one.put(blob(affiliate("a", "10.0.0.1")))
    async with started(network, "one") as node:
        await node.put(Affiliate, "me", affiliate("me"))
        observed = KubeSpanEndpointSpec(affiliate_id="a", endpoint="203.0.113.5:4000")
        await node.put(KubeSpanEndpoint, "key-a", observed)
        seen = await node.eventually(RAW_AFFILIATE, "service/a", lambda found: len(_endpoints(found.spec)) == 2)
        assert _endpoints(seen.spec) == ("10.0.0.1:51820", "203.0.113.5:4000")


def _endpoints(spec: AffiliateSpec) -> tuple[str, ...]:
    return () if spec.kubespan is None else spec.kubespan.endpoints


@pytest.mark.parametrize(
    ("told", "spec"),
    [
        ("203.0.113.7", AddressStatusSpec(address="203.0.113.7/32", family=Family.INET4)),
        ("2001:db8::7", AddressStatusSpec(address="2001:db8::7/128", family=Family.INET6)),
    ],
)
async def test_the_public_address_is_published_and_kept(told: str, spec: AddressStatusSpec) -> None:
    network = Network()
    one = network.services["one"]
    one.client_ip = told
    async with started(network, "one") as node:
        await node.eventually(PUBLIC_ADDRESS, PUBLIC_ADDRESS_ID, spec=spec)
        one.client_ip = ""
        one.end_watches()
        await trio.sleep(10)
        await node.settled()
        assert node.state.get(PUBLIC_ADDRESS, PUBLIC_ADDRESS_ID).spec == spec


@pytest.mark.parametrize("told", ["127.0.0.1", "::1", "fe80::1", "0.0.0.0", ""])
async def test_a_public_address_unusable_by_other_nodes_is_not_published(told: str) -> None:
    network = Network()
    network.services["one"].client_ip = told
    network.services["two"].client_ip = "203.0.113.7"
    async with started(network, "one") as node:
        await trio.sleep(2)
        assert node.state.find(PUBLIC_ADDRESS, PUBLIC_ADDRESS_ID) is None
        await node.put(MachineConfig, MACHINE_CONFIG_ID, with_services("one", "two"))
        await node.eventually(PUBLIC_ADDRESS, PUBLIC_ADDRESS_ID)


async def test_several_services_complete_each_other() -> None:
    network = Network()
    network.services["one"].put(blob(affiliate("a")))
    network.services["two"].put(blob(affiliate("a", "10.0.0.1")))
    network.services["two"].put(blob(affiliate("b")))
    async with started(network, "one", "two") as node:
        await node.eventually(RAW_AFFILIATE, "service/b")
        await trio.sleep(2)
        network.services["one"].put(blob(affiliate("a", "10.0.0.2")))
        await node.eventually(RAW_AFFILIATE, "service/a", spec=affiliate("a", "10.0.0.2"))
        network.services["one"].drop("a")
        await node.eventually(RAW_AFFILIATE, "service/a", spec=affiliate("a", "10.0.0.1"))
        network.services["two"].drop("a")
        await node.gone(RAW_AFFILIATE, "service/a")


async def test_a_dead_service_removes_no_affiliates() -> None:
    network = Network()
    one = network.services["one"]
    one.put(blob(affiliate("a")))
    async with started(network, "one") as node:
        await node.eventually(RAW_AFFILIATE, "service/a")
        one.stop()
        await trio.sleep(3600)
        assert ids(node) == ["service/a"]
        del one.affiliates["a"]
        one.is_down = False
        await node.gone(RAW_AFFILIATE, "service/a", within=100 + PATIENCE)


async def test_a_service_without_its_records_removes_no_node_that_comes_back_to_it() -> None:
    network = Network()
    one = network.services["one"]
    for name, address in (("a", "10.0.0.1"), ("b", "10.0.0.2"), ("c", "10.0.0.3")):
        one.put(blob(affiliate(name, address)))
    async with started(network, "one") as node:
        await node.eventually(RAW_AFFILIATE, "service/c")
        version = node.state.get(RAW_AFFILIATE, "service/a").metadata.version
        one.stop()
        one.affiliates.clear()
        one.is_down = False
        await node.eventually(
            DiscoveryServiceStatus, "one", lambda found: found.spec.affiliates == 0 and found.spec.state == "connected"
        )
        await node.settled()
        emptied = trio.current_time()
        assert ids(node) == ["service/a", "service/b", "service/c"]
        # One of them was not away, another one is a machine that was installed again.
        one.put(blob(affiliate("a", "10.0.0.1")))
        one.put(blob(affiliate("d", "10.0.0.2")))
        await node.gone(RAW_AFFILIATE, "service/b")
        assert trio.current_time() < emptied + 1
        await trio.sleep(PATIENCE - 2)
        assert ids(node) == ["service/a", "service/c", "service/d"]
        await node.gone(RAW_AFFILIATE, "service/c", within=5)
        assert node.state.get(RAW_AFFILIATE, "service/a").metadata.version == version


async def test_a_virtual_ip_that_moves_while_a_service_has_no_records_removes_no_node() -> None:
    network = Network()
    one = network.services["one"]
    for name in ("a", "b"):
        one.put(blob(attrs.evolve(affiliate(name, f"10.0.0.{ord(name)}"), nodename="clone")))
    one.put(blob(attrs.evolve(affiliate("a", "10.0.0.97", "10.0.0.200"), nodename="clone")))
    async with started(network, "one") as node:
        await node.eventually(RAW_AFFILIATE, "service/b")
        one.stop()
        one.affiliates.clear()
        one.is_down = False
        await node.eventually(
            DiscoveryServiceStatus, "one", lambda found: found.spec.affiliates == 0 and found.spec.state == "connected"
        )
        moved = attrs.evolve(affiliate("b", "10.0.0.98", "10.0.0.200"), nodename="clone")
        one.put(blob(moved))
        await node.eventually(RAW_AFFILIATE, "service/b", spec=moved)
        await node.settled()
        assert ids(node) == ["service/a", "service/b"]


async def test_a_node_that_is_deleted_is_gone_at_once_also_when_another_service_lacks_it() -> None:
    network = Network()
    one, two = network.services["one"], network.services["two"]
    for service in (one, two):
        service.put(blob(affiliate("a", "10.0.0.1")))
    async with started(network, "one", "two") as node:
        await node.eventually(RAW_AFFILIATE, "service/a")
        await trio.sleep(2)
        one.affiliates.clear()
        one.end_watches()
        await trio.sleep(5)
        two.drop("a")
        await node.gone(RAW_AFFILIATE, "service/a", within=1)


async def test_replacing_a_service_leaves_no_gap() -> None:
    network = Network()
    network.services["one"].put(blob(affiliate("a")))
    network.services["one"].put(blob(affiliate("b")))
    network.services["two"].put(blob(affiliate("a")))
    async with started(network, "one") as node:
        await node.eventually(RAW_AFFILIATE, "service/b")
        version = node.state.get(RAW_AFFILIATE, "service/a").metadata.version
        network.services["two"].is_down = True
        await node.put(MachineConfig, MACHINE_CONFIG_ID, with_services("two"))
        await trio.sleep(600)
        assert ids(node) == ["service/a", "service/b"]
        network.services["two"].is_down = False
        await node.gone(RAW_AFFILIATE, "service/b", within=100 + PATIENCE)
        assert node.state.get(RAW_AFFILIATE, "service/a").metadata.version == version
        assert not network.services["one"].watchers


async def test_another_cluster_has_other_nodes_at_once() -> None:
    network = Network()
    one = network.services["one"]
    one.put(blob(affiliate("a")))
    async with started(network, "one") as node:
        await node.eventually(RAW_AFFILIATE, "service/a")
        one.is_down = True
        await node.put(MachineConfig, MACHINE_CONFIG_ID, with_services("one", cluster_id="other"))
        await node.gone(RAW_AFFILIATE, "service/a")


async def test_without_services_there_are_no_affiliates() -> None:
    network = Network()
    network.services["one"].put(blob(affiliate("a")))
    async with started(network, "one") as node:
        await node.eventually(RAW_AFFILIATE, "service/a")
        await node.put(MachineConfig, MACHINE_CONFIG_ID, machine_config())
        await node.gone(RAW_AFFILIATE, "service/a")
        await node.settled()
        assert not network.services["one"].watchers


async def test_a_restarted_controller_removes_no_affiliates_before_its_first_snapshot() -> None:
    network = Network()
    one = network.services["one"]
    one.put(blob(affiliate("a")))
    one.put(blob(affiliate("b")))
    async with started(network, "one") as node:
        await node.eventually(RAW_AFFILIATE, "service/b")
    one.is_down = True
    async with running(ConfigController(), controller(network), state=node.state) as again:
        await trio.sleep(100)
        assert ids(again) == ["service/a", "service/b"]
        del one.affiliates["b"]
        one.is_down = False
        await again.gone(RAW_AFFILIATE, "service/b", within=100 + PATIENCE)
        assert ids(again) == ["service/a"]


async def test_records_with_the_own_id_or_none_are_ignored() -> None:
    network = Network()
    one = network.services["one"]
    one.put(blob(affiliate("me", "10.6.6.6"), "copy"))
    one.put(blob(affiliate(""), "nobody"))
    one.put(server_pb2.Affiliate(id="garbage", data=os.urandom(100)))
    one.put(blob(affiliate("a"), "id-of-a"))
    async with started(network, "one") as node:
        await node.eventually(RAW_AFFILIATE, "service/a")
        await node.settled()
        assert ids(node) == ["service/a"]


async def test_leaving_deletes_the_record_before_releasing_the_signal() -> None:
    network = Network()
    one, two = network.services["one"], network.services["two"]
    async with started(network, "one", "two") as node:
        await node.put(Affiliate, "me", affiliate("me"))
        await trio.sleep(2)
        two.is_down = True
        two.end_watches()
        await node.create(MachineResetSignal.new(RESET_ID, MachineResetSignalSpec()))
        await node.eventually(MachineResetSignal, RESET_ID, lambda found: NAME in found.metadata.finalizers)
        await node.teardown(MachineResetSignal, RESET_ID)
        await trio.sleep(30)
        assert "me" not in one.affiliates
        assert NAME in node.state.get(MachineResetSignal, RESET_ID).metadata.finalizers
        two.is_down = False
        await node.eventually(MachineResetSignal, RESET_ID, lambda found: not found.metadata.finalizers, within=100)
        assert "me" not in two.affiliates
        await node.destroy(MachineResetSignal, RESET_ID)
        await trio.sleep(2)
        assert "me" in one.affiliates


async def test_stopping_keeps_the_record_at_the_service() -> None:
    network = Network()
    async with started(network, "one") as node:
        await node.put(Affiliate, "me", affiliate("me"))
        await trio.sleep(2)
    assert "me" in network.services["one"].affiliates
    assert not network.services["one"].watchers


async def test_added_certificate_authorities_are_trusted_from_the_next_connection_on() -> None:
    network = Network()
    async with started(network, "one") as node:
        await node.settled()
        assert network.roots() == b""
        await node.put(TrustBundle, TRUST_BUNDLE_ID, TrustBundleSpec(digest="1", added="PEM of a\n"))
        await node.settled()
        assert network.roots() == b"PEM of a\n"


def variables(**given: str) -> EnvironmentSpec:
    return EnvironmentSpec(variables=tuple(f"{name}={value}" for name, value in sorted(given.items())))


async def test_only_a_changed_proxy_or_trust_reconnects() -> None:
    network = Network()
    one = network.services["one"]
    one.put(blob(affiliate("a", "10.0.0.1")))
    async with started(network, "one") as node:
        for environment, digest, dialled in (
            (variables(), "1", 1),
            (variables(https_proxy="http://p:1"), "1", 2),
            # Not for what this service is spoken to with, and not for it.
            (variables(https_proxy="http://p:1", http_proxy="http://q:1"), "1", 2),
            (variables(https_proxy="http://p:1", no_proxy="elsewhere.example"), "1", 2),
            (variables(https_proxy="http://p:1", no_proxy="elsewhere.example"), "2", 3),
            (variables(https_proxy="http://p:1", no_proxy="example.org"), "2", 4),
        ):
            await node.put(Environment, ENVIRONMENT_ID, environment)
            await node.put(TrustBundle, TRUST_BUNDLE_ID, TrustBundleSpec(digest=digest))
            await trio.sleep(2)
            assert len(one.dialled) == dialled, environment.variables
        assert network.environment()["no_proxy"] == "example.org"
        # What was told before is there all the time.
        assert ids(node) == ["service/a"]


async def test_a_node_whose_address_changes_reconnects_at_once() -> None:
    network = Network()
    one = network.services["one"]
    async with started(network, "one") as node:
        for addresses, dialled in (
            ((), 1),
            (("192.0.2.1/24",), 1),
            ((), 1),
            (("192.0.2.1/24",), 1),
            (("198.51.100.1/24",), 2),
            ((), 2),
            (("192.0.2.1/24",), 3),
        ):
            await node.put(NodeAddress, "default", NodeAddressSpec(addresses=addresses))
            await trio.sleep(2)
            assert len(one.dialled) == dialled, addresses


@pytest.mark.parametrize("size", [10, 300])
async def test_the_cost_of_one_nodes_update_is_independent_of_cluster_size(size: int) -> None:
    network = Network()
    one = network.services["one"]
    for number in range(size):
        one.put(blob(affiliate(f"n{number}")))
    async with running(ConfigController(), controller(network), AffiliateMergeController()) as node:
        await node.put(MachineConfig, MACHINE_CONFIG_ID, with_services("one"))
        await node.put(Identity, LOCAL, IdentitySpec(node_id="me"))
        await node.put(Affiliate, "me", affiliate("me"))
        await node.eventually(Affiliate, f"n{size - 1}")
        await node.settled()
        counters = node.engine.runners[NAME].access.counters
        before = (counters.wakeups, counters.reads, counters.writes)
        one.put(blob(affiliate("n7", "10.0.0.7")))
        await node.eventually(Affiliate, "n7", spec=affiliate("n7", "10.0.0.7"))
        after = (counters.wakeups, counters.reads, counters.writes)
        assert [b - a for a, b in zip(before, after, strict=True)] == [0, 3, 1]


# What is to be seen of the services.


async def test_a_service_that_cannot_be_used_is_a_status_a_problem_and_not_ready() -> None:
    network = Network()
    one = network.services["one"]
    one.is_down = True
    one.cause = TransportError("UNAVAILABLE", "the certificate of one is refused: expired", Stage.TLS)
    problem = network_problem_id(DiscoveryServiceStatus.name, "one")
    async with started(network, "one", "two") as node:
        status = await node.eventually(
            DiscoveryServiceStatus, "one", lambda found: found.spec.state is ServiceState.FAILED
        )
        assert (status.spec.stage, status.spec.message) == ("tls", "the certificate of one is refused: expired")
        shown = await node.eventually(NetworkProblem, problem)
        assert shown.spec.severity is Severity.ERROR
        assert shown.spec.message.endswith("cannot be used: the certificate of one is refused: expired")
        await node.eventually(DiscoveryServiceStatus, "two", lambda found: found.spec.state is ServiceState.CONNECTED)
        one.is_down = False
        await node.gone(NetworkProblem, problem)
        await node.eventually(DiscoveryServiceStatus, "one", lambda found: found.spec.state is ServiceState.CONNECTED)
        one.is_down = True
        one.end_watches()
        await node.eventually(NetworkProblem, problem)
        await node.put(MachineConfig, MACHINE_CONFIG_ID, with_services("two"))
        await node.gone(DiscoveryServiceStatus, "one")
        await node.gone(NetworkProblem, problem)


@pytest.mark.parametrize("stage", Stage)
async def test_every_step_that_fails_is_named_by_status_problem_netstatus_and_metrics(stage: Stage) -> None:
    network = Network()
    one = network.services["one"]
    one.is_down = True
    one.cause = TransportError("UNAVAILABLE", f"{stage} failed", stage)
    expected = f"UNAVAILABLE: {stage} failed" if stage is Stage.SERVICE else f"{stage} failed"
    async with running(ConfigController(), controller(network), NetworkStatusController()) as node:
        await node.put(MachineConfig, MACHINE_CONFIG_ID, with_services("one"))
        await node.put(Identity, LOCAL, IdentitySpec(node_id="me"))
        status = await node.eventually(
            DiscoveryServiceStatus, "one", lambda found: found.spec.state is ServiceState.FAILED
        )
        assert (status.spec.stage, status.spec.message) == (str(stage), expected)
        problem = await node.eventually(NetworkProblem, network_problem_id(DiscoveryServiceStatus.name, "one"))
        assert problem.spec.message == f"one.example.org:443 cannot be used: {expected}"
        await node.eventually(NetworkStatus, NETWORK_STATUS_ID, lambda found: not found.spec.discovery_ready)
        metrics = _metrics(node.state)
        of_one = ("one", "one.example.org:443")
        assert metrics["nodespan_discovery_connected"] == {of_one: 0.0}
        assert metrics["nodespan_discovery_failure"] == {(*of_one, str(stage)): 1.0}
        one.is_down = False
        await node.eventually(NetworkStatus, NETWORK_STATUS_ID, lambda found: found.spec.discovery_ready)
        metrics = _metrics(node.state)
        assert metrics["nodespan_discovery_connected"] == {of_one: 1.0}
        assert metrics["nodespan_discovery_failure"] == {}


async def test_a_wrong_secret_is_a_problem_and_a_single_bad_record_a_warning() -> None:
    network = Network()
    one = network.services["one"]
    other = ClusterCipher(bytes(32), os.urandom)
    data, _ = to_wire(affiliate("a"))
    one.put(server_pb2.Affiliate(id="a", data=other.encrypt_affiliate(data)))
    problem = network_problem_id(DiscoveryServiceStatus.name, "one")
    async with started(network, "one") as node:
        shown = await node.eventually(NetworkProblem, problem)
        assert shown.spec.severity is Severity.ERROR
        assert "1 of 1 records of other nodes cannot be read" in shown.spec.message
        assert "another cluster's secret" in shown.spec.message
        one.put(blob(affiliate("b")))
        await node.eventually(NetworkProblem, problem, lambda found: found.spec.severity is Severity.WARNING)
        status = await node.eventually(DiscoveryServiceStatus, "one", lambda found: found.spec.affiliates == 1)
        assert status.spec.unreadable == 1
        one.put(blob(affiliate("a")))
        await node.gone(NetworkProblem, problem)


def _metrics(state: State) -> dict[str, dict[tuple[str, ...], float]]:
    """The values of the family's metrics, by name and by the values of their labels."""
    return {
        family.metric.name: {tuple(value for _, value in sample.labels): sample.value for sample in family.samples}
        for family in METRICS.collect(state)
    }
