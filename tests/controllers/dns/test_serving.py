"""The server over real sockets of the loopback, with servers of the tests' own behind it."""

import contextlib
import ipaddress
import socket
from collections import defaultdict
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import attrs
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import pytest
import trio

from nodespan.controllers.dns import connections, upstreams
from nodespan.controllers.dns import serving as serving_module
from nodespan.controllers.dns.answering import Answering
from nodespan.controllers.dns.listening import Place
from nodespan.controllers.dns.metrics import Counts
from nodespan.controllers.dns.names import Names
from nodespan.controllers.dns.rebinding import networks
from nodespan.controllers.dns.resolve_cache import DNSResolveCacheController
from nodespan.controllers.dns.upstreams import Upstreams
from nodespan.resources.cluster import MemberName, MemberNameSpec
from nodespan.resources.network import (
    HOST_DNS_CONFIG_ID,
    RESOLVERS_ID,
    DNSProtocol,
    DNSResolveCache,
    DNSUpstream,
    HostDNSConfig,
    HostDNSConfigSpec,
    NameServer,
    NetworkProblem,
    ResolverStatus,
    ResolverStatusSpec,
    StaticHost,
    StaticHostSpec,
    network_problem_id,
)
from nodespan.resources.trust import TRUST_BUNDLE_ID, TrustBundle, TrustBundleSpec
from nodespan.runtime.controller import QueueContext
from nodespan.runtime.testing.kit import Node, running
from tests.controllers.dns.servers import HOST, Server, answer, serving
from tests.support.certificates import Authority
from tests.support.deadlines import PATIENCE
from tests.support.ports import free_port
from tests.support.process import eventually

NAME = "dns.example.org"
PORTS = {DNSProtocol.DO53: "udp", DNSProtocol.DOT: "tls", DNSProtocol.DOH: "https"}


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Real sockets and handshakes on a busy machine; what the server itself does in which time is in test_upstreams."""
    for module, name in (
        (upstreams, "PATIENCE"),
        (upstreams, "ALTOGETHER"),
        (upstreams, "_LOOK_PATIENCE"),
        (connections, "IDLE"),
    ):
        monkeypatch.setattr(module, name, PATIENCE)


async def ask(port: int, name: str, type: str = "A", *, over: str = "udp", **options: object) -> dns.message.Message:
    """What the server answers, with a deadline by the test's."""
    question = dns.message.make_query(name, type, **options)  # type: ignore[arg-type]
    data = question.to_wire()
    if over == "udp":
        with trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM) as opened:
            await opened.connect((HOST, port))
            await opened.send(data)
            found = await opened.recv(65535)
    else:
        async with await trio.open_tcp_stream(HOST, port) as stream:
            await stream.send_all(len(data).to_bytes(2) + data)
            found = b""
            while len(found) < 2 or len(found) < 2 + int.from_bytes(found[:2]):
                found += await stream.receive_some(65535)
            found = found[2:]
    message = dns.message.from_wire(found)
    assert question.is_response(message)
    return message


def values(message: dns.message.Message) -> list[str]:
    return [rdata.to_text() for rrset in message.answer for rdata in rrset]


@attrs.frozen
class Stage:
    node: Node
    port: int

    async def use(self, *servers: NameServer) -> None:
        spec = ResolverStatusSpec(dns_servers=tuple(each.addr for each in servers), name_servers=servers)
        await self.node.put(ResolverStatus, RESOLVERS_ID, spec)


@contextlib.asynccontextmanager
async def stage(server: Server | None = None, **config: Any) -> AsyncIterator[Stage]:
    """A node whose server is enabled, and asks this one."""
    port = free_port()
    ports = (
        {} if server is None else dict(zip(DNSProtocol, map(server.ports.get, ("udp", "tls", "https")), strict=True))
    )
    controller = DNSResolveCacheController(ports={key: found for key, found in ports.items() if found is not None})
    async with running(controller) as node:
        address = f"{HOST}:{port}"
        spec = HostDNSConfigSpec(enabled=True, listen_addresses=(address,), resolve_member_names=True)
        await node.put(HostDNSConfig, HOST_DNS_CONFIG_ID, attrs.evolve(spec, **config))
        await node.eventually(DNSResolveCache, f"udp-{address}", lambda found: found.spec.status == "running")
        await node.eventually(DNSResolveCache, f"tcp-{address}")
        yield Stage(node, port)


async def test_members_and_hosts_are_answered_at_once_and_are_gone_with_their_resources() -> None:
    async with stage(domain="mesh.internal") as at:
        assert (await ask(at.port, "db.mesh.internal")).rcode() == dns.rcode.NXDOMAIN
        member = MemberNameSpec(addresses=("192.0.2.1", "fd00:db8::1"), ttl=5, reverse_addresses=("192.0.2.1",))
        await at.node.put(MemberName, "db.mesh.internal", member)
        await at.node.put(StaticHost, "printer", StaticHostSpec(addresses=("192.0.2.9",)))
        await at.node.settled()
        for over in ("udp", "tcp"):
            found = await ask(at.port, "DB.mesh.internal", over=over)
            assert (values(found), found.answer[0].ttl) == (["192.0.2.1"], 5)
            assert found.flags & dns.flags.AA
            assert values(await ask(at.port, "db.mesh.internal", "AAAA", over=over)) == ["fd00:db8::1"]
            assert values(await ask(at.port, "1.2.0.192.in-addr.arpa", "PTR", over=over)) == ["db.mesh.internal."]
            assert values(await ask(at.port, "printer", over=over)) == ["192.0.2.9"]
        await at.node.put(MemberName, "db.mesh.internal", attrs.evolve(member, addresses=("192.0.2.2",)))
        await at.node.settled()
        assert values(await ask(at.port, "DB.mesh.internal")) == ["192.0.2.2"]
        await at.node.destroy(MemberName, "db.mesh.internal")
        await at.node.destroy(StaticHost, "printer")
        await at.node.settled()
        assert (await ask(at.port, "DB.mesh.internal")).rcode() == dns.rcode.NXDOMAIN
        # Without other servers nobody knows.
        assert (await ask(at.port, "printer")).rcode() == dns.rcode.SERVFAIL


async def test_names_of_members_are_answered_only_where_that_is_configured() -> None:
    async with stage(resolve_member_names=False) as at:
        await at.node.put(MemberName, "db", MemberNameSpec(addresses=("192.0.2.1",), ttl=5))
        await at.node.settled()
        assert (await ask(at.port, "db")).rcode() == dns.rcode.SERVFAIL
        spec = at.node.state.get(HostDNSConfig, HOST_DNS_CONFIG_ID).spec
        await at.node.put(HostDNSConfig, HOST_DNS_CONFIG_ID, attrs.evolve(spec, resolve_member_names=True))
        await at.node.settled()
        assert values(await ask(at.port, "db")) == ["192.0.2.1"]
        await at.node.put(HostDNSConfig, HOST_DNS_CONFIG_ID, HostDNSConfigSpec())
        await at.node.gone(DNSResolveCache, f"udp-{HOST}:{at.port}")
        await at.node.gone(DNSResolveCache, f"tcp-{HOST}:{at.port}")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, tuple[Path, Path]]:
    directory = tmp_path_factory.mktemp("trust")
    authority = Authority("An authority of tests")
    (directory / "ca").write_bytes(authority.pem)
    return directory / "ca", authority.issue(directory, NAME)


@pytest.mark.parametrize(
    ("protocol", "expected"), [(DNSProtocol.DO53, "udp"), (DNSProtocol.DOT, "tls"), (DNSProtocol.DOH, "https")]
)
async def test_others_are_asked_by_each_protocol_and_what_they_say_is_kept(
    authority: tuple[Path, tuple[Path, Path]], protocol: DNSProtocol, expected: str
) -> None:
    def respond(question: dns.message.QueryMessage) -> dns.message.Message:
        name = question.question[0].name.to_text()
        return answer(question, f"{name} 60 IN A 93.184.215.14", "other.example. 60 IN A 192.0.2.66")

    path, certificate = authority
    async with serving(respond, certificate) as server, stage(server) as at:
        bundle = TrustBundleSpec(path=str(path), digest="1")
        await at.node.put(TrustBundle, TRUST_BUNDLE_ID, bundle)
        name = "" if protocol is DNSProtocol.DO53 else NAME
        await at.use(NameServer(addr=HOST, protocol=protocol, tls_server_name=name))
        id = f"#000 {protocol.value} {HOST}"
        await at.node.eventually(DNSUpstream, id, lambda found: found.spec.healthy == "true")
        server.asked.clear()
        for _ in range(2):
            found = await ask(at.port, "www.example.org", payload=1232, use_edns=0)
            assert (values(found), found.flags & dns.flags.AA) == (["93.184.215.14"], 0)
            assert 0 < found.answer[0].ttl <= 60
        ((used, question),) = server.asked
        assert (used, question.id == 0) == (expected, protocol is DNSProtocol.DOH)
        assert question.flags & dns.flags.RD
        await ask(at.port, "a.example.org")
        # One connection does for all.
        assert server.connections == (0 if protocol is DNSProtocol.DO53 else 1)
        # A server with another certificate is not believed; one whose name TLS does not take is not asked.
        for other in ("other.example", ".example") if name else ():
            await at.use(NameServer(addr=HOST, protocol=protocol, tls_server_name=name))
            await at.node.eventually(DNSUpstream, id, lambda found: found.spec.healthy == "true")
            await at.use(NameServer(addr=HOST, protocol=protocol, tls_server_name=other))
            await at.node.eventually(DNSUpstream, id, lambda found: found.spec.healthy == "false")
            assert (await ask(at.port, f"b.{other.strip('.')}")).rcode() == dns.rcode.SERVFAIL


async def test_what_does_not_fit_over_udp_is_asked_again_over_tcp_on_both_sides() -> None:
    def respond(question: dns.message.QueryMessage) -> dns.message.Message:
        name = question.question[0].name.to_text()
        if not server.asked or server.asked[-1][0] == "udp":
            return answer(question, truncated=True)
        return answer(question, *(f"{name} 60 IN A 93.184.215.{number}" for number in range(100)))

    async with serving(respond) as server, stage(server) as at:
        await at.use(NameServer(addr=HOST))
        found = await ask(at.port, "large.example")
        assert (values(found), bool(found.flags & dns.flags.TC)) == ([], True)
        assert len(values(await ask(at.port, "large.example", over="tcp"))) == 100
        assert len(values(await ask(at.port, "large.example", use_edns=0, payload=4096))) == 100


async def test_a_place_that_another_program_has_is_a_problem_and_is_taken_once_it_is_free(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("nodespan.controllers.dns.serving.AGAIN", 0.05)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        port = free_port()
        other.bind((HOST, port))
        address = f"{HOST}:{port}"
        async with stage() as at:
            listen = (f"{HOST}:{at.port}", address)
            spec = HostDNSConfigSpec(enabled=True, listen_addresses=listen)
            await at.node.put(HostDNSConfig, HOST_DNS_CONFIG_ID, spec)
            problem = network_problem_id(HostDNSConfig.name, address)
            await at.node.eventually(NetworkProblem, problem, lambda found: "in use" in found.spec.message)
            assert (await ask(at.port, "localhost")).rcode() == dns.rcode.NOERROR
            other.close()
            await at.node.eventually(DNSResolveCache, f"udp-{address}")
            await at.node.gone(NetworkProblem, problem)


async def test_no_server_can_answer_with_addresses_of_the_mesh_nor_is_asked_for_them() -> None:
    def respond(question: dns.message.QueryMessage) -> dns.message.Message:
        name = question.question[0].name.to_text()
        return answer(question, f"{name} 60 IN AAAA fd00:db8::7", f"{name} 60 IN AAAA fd00:99::7")

    async with serving(respond) as server, stage(server, mesh_subnet="fd00:db8::/64") as at:
        await at.use(NameServer(addr=HOST))
        # This server is inside, so it may know what else is there.
        assert values(await ask(at.port, "www.example.org", "AAAA")) == ["fd00:99::7"]
        reverse = ipaddress.ip_address("fd00:db8::7").reverse_pointer
        assert (await ask(at.port, reverse, "PTR")).rcode() == dns.rcode.NXDOMAIN
        assert all(question.question[0].rdtype != dns.rdatatype.PTR for _, question in server.asked)


class SlowContext:
    """The resources of a controller whose writes have to wait, and those that remove something longer."""

    def __init__(self) -> None:
        self.here: set[str] = set()
        self.written: defaultdict[str, list[str]] = defaultdict(list)

    def begin_item(self) -> None:
        return

    def find(self, *_: object) -> None:
        return

    def list(self, *_: object) -> list[object]:
        return []

    async def put(self, _kind: object, id: str, _spec: object) -> None:
        await trio.lowlevel.checkpoint()
        self.here.add(id)
        self.written[id].append("put")

    async def destroy(self, _kind: object, id: str) -> None:
        for _ in range(20):
            await trio.lowlevel.checkpoint()
        self.here.discard(id)
        self.written[id].append("destroy")


async def test_a_listener_that_follows_another_at_its_place_stays_published() -> None:
    ctx, counts = SlowContext(), Counts()
    answering = Answering(Names(), Upstreams(counts, lambda _server: None), counts)
    places = serving_module._Places(cast(QueueContext, ctx), answering, counts)
    text = f"{HOST}:{free_port()}"
    async with trio.open_nursery() as nursery:
        for subnet in ("127.0.0.0/8", "127.0.0.0/16", "127.0.0.0/24"):
            place = attrs.evolve(Place.parse(text, None), sources=networks((subnet,)))
            await places.replace(nursery, {text: place})
            await eventually(lambda: ctx.here == {f"udp-{text}", f"tcp-{text}"})
        await places.replace(nursery, {})
        assert ctx.here == set()
    assert ctx.written == dict.fromkeys((f"udp-{text}", f"tcp-{text}"), ["put", "destroy"] * 3)
