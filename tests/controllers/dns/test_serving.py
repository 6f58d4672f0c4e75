"""The server over real sockets of the loopback, with servers of the tests' own behind it."""

import contextlib
import errno
import ipaddress
import os
import socket
import ssl
from collections import defaultdict
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any, cast

import attrs
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from nodespan.controllers.dns import connections, listening, upstreams
from nodespan.controllers.dns import serving as serving_module
from nodespan.controllers.dns.answering import Answering
from nodespan.controllers.dns.connections import ExchangeError
from nodespan.controllers.dns.exchanges import Exchanges
from nodespan.controllers.dns.listening import Place
from nodespan.controllers.dns.metrics import Counts
from nodespan.controllers.dns.names import Names
from nodespan.controllers.dns.queries import read_query
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
from nodespan.resources.runtime import ENVIRONMENT_ID, Environment, EnvironmentSpec
from nodespan.resources.trust import TRUST_BUNDLE_ID, TrustBundle, TrustBundleSpec
from nodespan.runtime.controller import QueueContext
from nodespan.runtime.testing.kit import Node, running
from tests.controllers.dns.servers import HOST, Server, answer, serving
from tests.support import proxying
from tests.support.certificates import Authority
from tests.support.connect_proxy import ConnectProxy
from tests.support.deadlines import PATIENCE
from tests.support.ports import free_port
from tests.support.process import eventually
from tests.support.proxying import pass_on

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
    controller: DNSResolveCacheController

    @property
    def upstreams(self) -> Upstreams:
        assert self.controller._serving is not None
        return self.controller._serving._upstreams

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
        yield Stage(node, port, controller)


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


async def slow_names_pending(at: "Stage", server: Server, count: int, nursery: trio.Nursery) -> None:
    """Have so many names asked for that the server does not answer yet."""
    for number in range(count):
        nursery.start_soon(partial(ask, at.port, f"slow{number}.example", over="tcp"))
    await eventually(lambda: len(slow_names(server)) == count)


def slow_names(server: Server) -> set[str]:
    names = (question.question[0].name.to_text() for _, question in server.asked)
    return {name for name in names if name.startswith("slow")}


@pytest.mark.parametrize("protocol", [DNSProtocol.DO53, DNSProtocol.DOT, DNSProtocol.DOH])
async def test_slow_names_hold_up_no_others_however_the_server_is_asked(
    authority: tuple[Path, tuple[Path, Path]], protocol: DNSProtocol
) -> None:
    def respond(question: dns.message.QueryMessage) -> dns.message.Message:
        return answer(question, f"{question.question[0].name.to_text()} 60 IN A 93.184.215.14")

    path, certificate = authority
    async with serving(respond, certificate) as server, stage(server) as at, trio.open_nursery() as nursery:
        await at.node.put(TrustBundle, TRUST_BUNDLE_ID, TrustBundleSpec(path=str(path), digest="1"))
        name = "" if protocol is DNSProtocol.DO53 else NAME
        await at.use(NameServer(addr=HOST, protocol=protocol, tls_server_name=name))
        id = f"#000 {protocol.value} {HOST}"
        await at.node.eventually(DNSUpstream, id, lambda found: found.spec.healthy == "true")
        await slow_names_pending(at, server, 30, nursery)
        for number in range(3):
            assert values(await ask(at.port, f"n{number}.example", over="tcp")) == ["93.184.215.14"]
        assert not server.released.is_set()
        server.released.set()
        # Over HTTPS one connection does for all.
        assert server.connections <= (1 if protocol is DNSProtocol.DOH else connections.MOST_CONNECTIONS)


async def test_on_a_connection_of_a_client_a_slow_name_holds_up_no_other_one() -> None:
    async with serving(lambda question: answer(question)) as server, stage(server) as at:
        await at.use(NameServer(addr=HOST))
        async with await trio.open_tcp_stream(HOST, at.port) as stream:
            names = ("slow.example", "n.example", "localhost")
            messages = [dns.message.make_query(name, "A", id=number) for number, name in enumerate(names)]
            await stream.send_all(b"".join(each.to_wire(prepend_length=True) for each in messages))
            # A client that has said all waits for its answers.
            await stream.send_eof()
            received = b""
            while len(frames(received)) < 2:
                received += await stream.receive_some()
            assert {found.id for found in frames(received)} == {1, 2}
            server.released.set()
            async for part in stream:
                received += part
            assert [found.id for found in frames(received)][2:] == [0]


def frames(data: bytes) -> list[dns.message.Message]:
    found: list[dns.message.Message] = []
    while len(data) >= 2 and len(data) >= 2 + (size := int.from_bytes(data[:2])):
        found.append(dns.message.from_wire(data[2 : 2 + size]))
        data = data[2 + size :]
    return found


async def test_a_client_that_asks_much_at_a_time_is_read_no_further_and_answered_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(listening, "MOST_OF_ONE_CONNECTION", 3)
    async with serving(lambda question: answer(question)) as server, stage(server) as at:
        await at.use(NameServer(addr=HOST))
        async with await trio.open_tcp_stream(HOST, at.port) as stream:
            messages = [dns.message.make_query(f"slow{number}.example", "A", id=number) for number in range(8)]
            await stream.send_all(b"".join(each.to_wire(prepend_length=True) for each in messages))
            await eventually(lambda: len(slow_names(server)) == 3)
            server.released.set()
            received = b""
            while len(frames(received)) < 8:
                received += await stream.receive_some()
            assert {found.id for found in frames(received)} == set(range(8))


@attrs.define(eq=False)
class Passing(ConnectProxy):
    """A proxy that leads to a port of this machine, wherever it is asked to; to nowhere without one."""

    port: int = 0

    async def handle(self, client: trio.SocketStream) -> None:
        with contextlib.suppress(trio.BrokenResourceError):
            await self._lead(client)

    async def _lead(self, client: trio.SocketStream) -> None:
        head = b""
        async with client:
            while not head.endswith(b"\r\n\r\n"):
                if not (part := await client.receive_some(1)):
                    return
                head += part
            self.asked.append(head.decode().split()[1])
            if not self.port:
                await client.send_all(b"HTTP/1.1 403 Forbidden\r\n\r\n")
                return
            await client.send_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
            async with await trio.open_tcp_stream(HOST, self.port) as far:
                await pass_on(client, far)


async def test_servers_over_https_are_asked_by_the_proxy_of_the_environment(
    authority: tuple[Path, tuple[Path, Path]],
) -> None:
    def respond(question: dns.message.QueryMessage) -> dns.message.Message:
        return answer(question, f"{question.question[0].name.to_text()} 60 IN A 93.184.215.14")

    far = "192.0.2.53"
    path, certificate = authority
    proxy, port = Passing(contextlib.nullcontext), free_port()
    async with serving(respond, certificate) as server, stage(server) as at, proxying.serving(proxy, HOST, port):
        proxy.port = server.ports["https"]
        await at.node.put(TrustBundle, TRUST_BUNDLE_ID, TrustBundleSpec(path=str(path), digest="1"))
        variables = (f"HTTPS_PROXY=http://operator:secret@{HOST}:{port}", "LANG=C")
        await at.node.put(Environment, ENVIRONMENT_ID, EnvironmentSpec(variables=variables))
        await at.use(NameServer(addr=far, protocol=DNSProtocol.DOH, tls_server_name=NAME))
        id = f"#000 DoH {far}"
        await at.node.eventually(DNSUpstream, id, lambda found: found.spec.healthy == "true")
        assert values(await ask(at.port, "www.example.org")) == ["93.184.215.14"]
        assert set(proxy.asked) == {f"{far}:{proxy.port}"}
        # Other variables change nothing; that of the proxy does, for the connections to come.
        upstream = at.upstreams.servers[0]
        await at.node.put(Environment, ENVIRONMENT_ID, EnvironmentSpec(variables=(variables[0], "LANG=de")))
        await at.node.settled()
        assert at.upstreams.servers[0] is upstream
        proxy.port = 0
        of_proxy = (f"https_proxy=http://{HOST}:{port}",)
        await at.node.put(Environment, ENVIRONMENT_ID, EnvironmentSpec(variables=of_proxy))
        await at.node.eventually(DNSUpstream, id, lambda found: found.spec.healthy == "false")
        (found,) = at.upstreams.servers
        assert found.reason == "the proxy 127.0.0.1 refuses to connect: HTTP status 403"


async def test_a_proxy_that_is_named_by_a_name_is_not_asked_for_and_the_reason_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def unreachable(*_: object) -> trio.SocketStream:
        raise OSError(errno.ENETUNREACH, os.strerror(errno.ENETUNREACH))

    monkeypatch.setattr(trio, "open_tcp_stream", unreachable)
    server = NameServer(addr="192.0.2.53", protocol=DNSProtocol.DOH, tls_server_name=NAME)
    query = read_query(dns.message.make_query("www.example.org", "A").to_wire())

    async def fault(*variables: str) -> str:
        exchanges = Exchanges(server, lambda _: ssl.create_default_context(), variables=variables)
        with pytest.raises(ExchangeError) as caught:
            await exchanges.ask(query, over_stream=False)
        return str(caught.value)

    assert await fault() == "Network is unreachable"
    assert await fault("https_proxy=http://proxy.example:3128") == (
        "Network is unreachable; the proxy proxy.example is not used, for its name is looked up here: name it by its "
        "address"
    )
    assert await fault("https_proxy=http://192.0.2.3:3128") == (
        "the proxy 192.0.2.3 cannot be reached: Network is unreachable"
    )
    assert await fault("https_proxy=http://192.0.2.3:3128", "no_proxy=192.0.2.0/24") == "Network is unreachable"
    assert (await fault("https_proxy=ftp://u:secret@x")).startswith("the proxy cannot be used: ")
    assert "secret" not in await fault("https_proxy=ftp://u:secret@x")


async def test_a_question_for_which_no_server_could_be_asked_is_a_problem_that_says_what_to_do() -> None:
    problem = network_problem_id(HostDNSConfig.name, HOST_DNS_CONFIG_ID)
    async with serving(lambda question: answer(question)) as server, stage(server) as at:
        assert (await ask(at.port, "localhost")).rcode() == dns.rcode.NOERROR
        await at.node.settled()
        assert not at.node.state.list(NetworkProblem)
        assert (await ask(at.port, "www.example.org")).rcode() == dns.rcode.SERVFAIL
        await at.node.eventually(NetworkProblem, problem, lambda found: "ResolverConfig" in found.spec.message)
        await at.use(NameServer(addr=HOST))
        await at.node.gone(NetworkProblem, problem)
        assert (await ask(at.port, "other.example.org")).rcode() == dns.rcode.NOERROR


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


async def test_a_server_that_begins_again_uses_its_connections_to_others_again() -> None:
    class Nothing:
        """What there is to write to."""

        def list(self, _type: Any) -> list[Any]:
            return []

        def find(self, _type: Any, _id: str) -> None:
            return None

        def begin_item(self) -> None:
            return

        async def put(self, _type: Any, _id: str, _spec: Any) -> None:
            await trio.lowlevel.checkpoint()

        destroy = put

    ctx = cast(QueueContext, Nothing())
    serving = serving_module.Serving(Counts(), {DNSProtocol.DOT: free_port()})
    named = NameServer(addr=HOST, protocol=DNSProtocol.DOT, tls_server_name=NAME)
    serving.configure(HostDNSConfigSpec(enabled=True), [named], None)
    pools = []
    for _ in range(2):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serving.run, ctx)
            await wait_all_tasks_blocked()
            pools.append(serving._upstreams.servers[0].exchanges._pool)
            assert not pools[-1]._closed
            nursery.cancel_scope.cancel()
        assert pools[-1]._closed
