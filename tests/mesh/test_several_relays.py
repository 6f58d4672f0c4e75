"""Two nodes behind symmetric NATs, with two relays: what becomes of them when one is killed, or has no port left."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import attrs
import pytest

from nodespan.cluster.pinging import Pinging
from tests.mesh.places import SERVICE, Kind, Place, World, ends, world
from tests.mesh.reachability import PORT, Service, config, is_up, made, node, status_of
from tests.support.agent import AgentProcess, daemon
from tests.support.certificates import Authority
from tests.support.netns import Namespace
from tests.support.process import Daemon, eventually

pytestmark = [
    pytest.mark.soak,
    pytest.mark.process,
    pytest.mark.needs_link("veth", "bridge"),
    pytest.mark.needs_program("nft", "unshare", "nsenter"),
]

FIRST, SECOND = 3443, 3444
PORTS = {FIRST: "21000-21999", SECOND: "22000-22999"}
CLUSTER = "c2V2ZXJhbCByZWxheXMsIG9uZSBhZnRlciBhbm90aGVy"
# A relay that could not be measured is measured again after 30 s, one that has failed is avoided for 120 s, and the
# attempts to connect are up to 20 s apart; five times as much as that takes together.
SETTLED_WITHIN = 300.0


def name(port: int) -> str:
    return f"{SERVICE[0]}:{port}"


@attrs.define
class Station:
    """The machine with discovery, and with the relays that were started."""

    world: World
    directory: Path
    authority: Authority
    certificate: tuple[str, ...]
    stack: AsyncExitStack

    async def relay(self, port: int, ports: str = "") -> Daemon:
        """Start a relay."""
        serve = ("relay", "serve", "--listen", f":{port}", "--relay-ports", ports or PORTS[port])
        return await self._start(*serve, "--relay-address", SERVICE[0])

    async def discovery(self) -> None:
        """Start the discovery service, which is no relay."""
        await self._start("discovery", "serve", "--listen", f":{PORT}", "--state-dir", str(self.directory / "state"))

    async def _start(self, *arguments: str) -> Daemon:
        started = daemon(self.directory, *arguments, *self.certificate, namespace=self.world.service)
        return await self.stack.enter_async_context(started)

    def text(self, place: Place, *relays: int) -> str:
        """The configuration of a node."""
        return config(place, Service(self.authority, relays), CLUSTER)


@asynccontextmanager
async def station(directory: Path) -> AsyncIterator[Station]:
    authority = Authority("everybody's")
    certificate, key = authority.issue(made(directory), *SERVICE)
    options = ("--tls-cert", str(certificate), "--tls-key", str(key))
    with world() as internet:
        async with AsyncExitStack() as stack:
            at = Station(internet, directory, authority, options, stack)
            await at.discovery()
            yield at


@attrs.frozen
class Pair:
    """Two nodes that know both relays, and where the first one stands."""

    one: AgentProcess
    two: AgentProcess
    source: Namespace

    @property
    def both(self) -> tuple[AgentProcess, AgentProcess]:
        return self.one, self.two

    def address(self) -> str:
        """That of the second node in the mesh, "" until it has one."""
        return str(self.two.specs("kubespanidentities").get("local", {}).get("address", "")).partition("/")[0]

    def is_on(self, relay: int) -> bool:
        """Whether both ends are up over this relay."""
        return all(
            is_up(served, other) and status_of(served, other).get("relay") == name(relay)
            for served, other in ((self.one, "two"), (self.two, "one"))
        )


@asynccontextmanager
async def pair(directory: Path, at: Station) -> AsyncIterator[Pair]:
    made(directory)
    with at.world.nodes() as nodes:
        one, two = ends(nodes, Kind.SYMMETRIC, Kind.SYMMETRIC)
        async with (
            node(directory / "one", one, "one", at.text(one, FIRST, SECOND)) as first,
            node(directory / "two", two, "two", at.text(two, FIRST, SECOND)) as second,
        ):
            yield Pair(first, second, one.node)


def relay(served: AgentProcess, port: int) -> dict[str, object]:
    """What a node shows of a relay, {} for nothing yet."""
    return served.specs("kubespanrelaystatuses").get(name(port), {})


def all_show(both: tuple[AgentProcess, ...], port: int, state: str, message: str = "") -> bool:
    shown = [relay(served, port) for served in both]
    return all(each.get("state") == state and message in str(each.get("message", "")) for each in shown)


async def test_a_pair_goes_on_over_the_other_relay_when_its_own_is_killed(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    async with station(tmp_path / "service") as at:
        killed = await at.relay(FIRST)
        async with pair(tmp_path / "pair", at) as nodes:
            await eventually(partial(nodes.is_on, FIRST), within=SETTLED_WITHIN)
            # It comes later, so that both have the first one, however near this one is.
            await at.relay(SECOND)
            await eventually(partial(all_show, nodes.both, SECOND, "reserve"), within=SETTLED_WITHIN)
            with Pinging(nodes.source.path, nodes.address()) as pings:
                await eventually(lambda: pings.answered_at)
                began = time.monotonic()
                killed.kill()
                await eventually(partial(nodes.is_on, SECOND), within=SETTLED_WITHIN)
                record_property("until_up_s", round(time.monotonic() - began, 1))
                then = time.monotonic()
                await eventually(lambda: pings.answered_since(then))
                before, after = pings.silence(began)
                record_property("longest_silence_s", round(after - before, 1))
            # Each announces its address at the one that works, and that alone.
            for served in nodes.both:
                assert relay(served, SECOND)["announced"]
                assert not relay(served, FIRST).get("announced")


async def test_a_relay_without_a_port_is_named_and_passed_over_and_used_when_it_has_one(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    async with station(tmp_path / "service") as at:
        await at.relay(FIRST, "21000-21000")
        async with AsyncExitStack() as stack:
            hub = stack.enter_context(at.world.nodes()).hub()
            holder = await stack.enter_async_context(node(tmp_path / "hub", hub, "hub", at.text(hub, FIRST)))
            await eventually(partial(all_show, (holder,), FIRST, "connected"))
            async with pair(tmp_path / "pair", at) as nodes:
                full = partial(all_show, nodes.both, FIRST, "failed", "the relay is full: it has no free port")
                await eventually(full)
                await at.relay(SECOND)
                began = time.monotonic()
                await eventually(partial(nodes.is_on, SECOND), within=SETTLED_WITHIN)
                record_property("until_up_over_the_other_s", round(time.monotonic() - began, 1))
                assert full()
                with Pinging(nodes.source.path, nodes.address()) as pings:
                    await eventually(lambda: pings.answered_at)
                    began = time.monotonic()
                    await stack.aclose()

                    def has_port() -> bool:
                        return any(relay(served, FIRST).get("state") == "connected" for served in nodes.both)

                    await eventually(has_port, within=SETTLED_WITHIN)
                    record_property("until_it_has_the_port_s", round(time.monotonic() - began, 1))
                    then = time.monotonic()
                    await eventually(lambda: pings.answered_since(then))
                    before, after = pings.silence(began)
                    record_property("longest_silence_s", round(after - before, 2))
                given = [relay(served, FIRST).get("endpoints") for served in nodes.both]
                assert [f"{SERVICE[0]}:21000"] in given
