"""How two nodes in given places reach each other: started, pinged, and watched until they stay with a path.

`python -m tests.mesh.reachability` (as root; `make matrix`) prints the table of all pairs; with words, only the pairs
whose names have them all. `--talos` has the second end do as a Talos node does: without relays and other extensions.
"""

import argparse
import base64
import contextlib
import math
import os
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import attrs
import trio

from nodespan.cluster.echo import ping
from nodespan.runtime.cli.errors import CommandError
from tests.mesh import nodes
from tests.mesh.places import PROXY_PORT, SERVICE, Kind, Place, World, can_be_direct, ends, pairs, world
from tests.support import forked, run
from tests.support.agent import AgentProcess, daemon
from tests.support.certificates import Authority
from tests.support.connect_proxy import ConnectProxy
from tests.support.deadlines import PATIENCE
from tests.support.netns import Namespace, entered
from tests.support.process import eventually
from tests.support.proxying import serving

PORT = 3000
# By rule a path that becomes possible is found within two minutes.
DIRECT_WITHIN = 150.0
UP_WITHIN = 150.0
_PING_INTERVAL = 0.1


@attrs.frozen
class Service:
    """The station with discovery and relay."""

    authority: Authority
    relays: tuple[int, ...] = (PORT,)


@attrs.define
class Found:
    """What became of a pair. Times are in seconds since both agents were begun, infinite for never."""

    first_packet: float = math.inf
    direct: float = math.inf
    # How the first end, and the second, reach the other: an endpoint, or the name of a relay.
    paths: tuple[str, ...] = ()
    is_relayed: tuple[bool, ...] = ()

    @property
    def path(self) -> str:
        """In a word."""
        if self.first_packet == math.inf:
            return "none"
        return "relay" if any(self.is_relayed) else "direct"


def made(directory: Path) -> Path:
    """The directory, once it is there."""
    directory.mkdir()
    return directory


@contextlib.asynccontextmanager
async def service(directory: Path, at: World) -> AsyncIterator[Service]:
    """Discovery and relay, for as long as the block lasts."""
    made(directory)
    authority = Authority("everybody's")
    certificate, key = authority.issue(directory, *SERVICE)
    command = (
        *("discovery", "serve", "--listen", f":{PORT}", "--state-dir", str(directory / "state")),
        *("--tls-cert", str(certificate), "--tls-key", str(key), "--relay"),
        *(part for address in SERVICE for part in ("--relay-address", address)),
    )
    async with daemon(directory, *command, namespace=at.service):
        yield Service(authority)


def config(place: Place, service: Service, cluster: str, *, harvests: bool = False, relays: bool = True) -> str:
    """The configuration of a node in a place; without relays it is one that Talos would take."""
    host = f"[{place.service}]" if ":" in place.service else place.service
    pem = "".join(f"        {line}\n" for line in service.authority.pem.decode().splitlines())
    proxy = f"  env: {{https_proxy: 'http://{place.proxy}:{PROXY_PORT}'}}\n" if place.proxy else ""
    urls = ", ".join(f'"https://{host}:{port}"' for port in service.relays)
    extensions = f"---\napiVersion: nodespan.dev/v1alpha1\nkind: NodespanConfig\nkubespan: {{relays: [{urls}]}}\n"
    return f"""\
version: v1alpha1
cluster:
  id: {cluster}
  secret: {base64.b64encode(b"A" * 32).decode()}
  discovery:
    enabled: true
    registries:
      service: {{endpoint: "https://{host}:{PORT}/"}}
machine:
  type: worker
  network: {{kubespan: {{enabled: true, harvestExtraEndpoints: {str(harvests).lower()}}}}}
{proxy}  files:
    - op: append
      path: /etc/ssl/certs/ca-certificates
      permissions: 0644
      content: |
{pem}{extensions if relays else ""}"""


@contextlib.asynccontextmanager
async def proxy_of(place: Place) -> AsyncIterator[ConnectProxy | None]:
    """The proxy of a place that has one."""
    if place.proxy_host is None:
        yield None
        return
    proxy = ConnectProxy(partial(entered, place.proxy_host))
    async with serving(proxy, place.proxy, PROXY_PORT):
        yield proxy


@contextlib.asynccontextmanager
async def node(directory: Path, place: Place, name: str, text: str) -> AsyncIterator[AgentProcess]:
    """An agent in a place."""
    (made(directory) / "config.yaml").write_text(text)
    async with nodes.node(directory, name, "--config", "config.yaml", namespace=place.node) as served:
        yield served


class Pinging:
    """Pings an address from a namespace, in a thread, until one is answered or the block ends."""

    def __init__(self, source: Namespace, address: str) -> None:
        self._source = source
        self._address = address
        self._over = threading.Event()
        self.answered = math.inf

    def _ping(self) -> None:
        sequence = 0
        while not self._over.wait(_PING_INTERVAL):
            sequence = (sequence + 1) & 0xFFFF
            if ping(self._source.path, self._address, sequence=sequence, timeout=0.5) is not None:
                self.answered = time.monotonic()
                return

    @contextlib.contextmanager
    def running(self) -> Iterator["Pinging"]:
        """Ping beside the block."""
        thread = threading.Thread(target=self._ping)
        thread.start()
        try:
            yield self
        finally:
            self._over.set()
            thread.join()


def status_of(served: AgentProcess, label: str) -> dict[str, str]:
    """What an agent has on a peer, {} for nothing."""
    with contextlib.suppress(CommandError):
        for spec in served.specs("kubespanpeerstatuses").values():
            if spec["label"] == label:
                return spec
    return {}


def is_up(served: AgentProcess, label: str) -> bool:
    """Whether an agent has a peer up."""
    return status_of(served, label).get("state") == "up"


def is_direct(served: AgentProcess, label: str) -> bool:
    """Whether an agent reaches a peer without a relay."""
    status = status_of(served, label)
    return status.get("state") == "up" and not status.get("relay")


class Pair:
    """The two ends of a pair, which know a third node that both reach; and the proxies on the way."""

    def __init__(self, one: AgentProcess, two: AgentProcess, source: Namespace, began: float) -> None:
        self.one = one
        self.two = two
        self._source = source
        self._began = began
        self.proxies: list[ConnectProxy] = []

    async def meet(self, *, direct: bool = False) -> Found:
        """Ping the second end until it answers, and wait for a direct path where there has to be one (`direct`)."""
        found = Found()
        target = await eventually(self._address)
        with Pinging(self._source, target).running() as pings, contextlib.suppress(AssertionError):
            await eventually(lambda: pings.answered < math.inf, within=UP_WITHIN)
        found.first_packet = pings.answered - self._began
        ways = ((self.one, "two"), (self.two, "one"))
        with contextlib.suppress(AssertionError):
            await eventually(lambda: all(is_up(*way) for way in ways), within=PATIENCE)
            if direct:
                await eventually(lambda: all(is_direct(*way) for way in ways), within=DIRECT_WITHIN)
                found.direct = time.monotonic() - self._began
        statuses = [status_of(*way) for way in ways]
        found.paths = tuple(status.get("relay") or status.get("endpoint", "") for status in statuses)
        found.is_relayed = tuple(bool(status.get("relay")) for status in statuses)
        return found

    def _address(self) -> str:
        identity = self.two.specs("kubespanidentities").get("local", {})
        return str(identity.get("address", "")).partition("/")[0]


@contextlib.asynccontextmanager
async def pair_in(
    directory: Path, at: World, service: Service, kinds: tuple[Kind, Kind], *, talos: bool = False
) -> AsyncIterator[Pair]:
    """Two nodes, each in a network of a kind. With `talos` the second does as a Talos node."""
    made(directory)
    cluster = base64.b64encode(os.urandom(32)).decode()
    names = ("one", "two")
    async with contextlib.AsyncExitStack() as stack:
        nodes = stack.enter_context(at.nodes())
        hub = nodes.hub()
        text = config(hub, service, cluster, harvests=True)
        await stack.enter_async_context(node(directory / "hub", hub, "hub", text))
        places = ends(nodes, *kinds)
        # A LAN has one proxy.
        proxies = [
            await stack.enter_async_context(proxy_of(place))
            for place in {place.proxy_host: place for place in places}.values()
        ]
        began = time.monotonic()
        served: dict[str, AgentProcess] = {}

        async def begin(name: str, place: Place) -> None:
            text = config(place, service, cluster, relays=not (talos and name == "two"))
            served[name] = await stack.enter_async_context(node(directory / name, place, name, text))

        async with trio.open_nursery() as nursery:
            for name, place in zip(names, places, strict=True):
                nursery.start_soon(begin, name, place)
        pair = Pair(served["one"], served["two"], places[0].node, began)
        pair.proxies += [proxy for proxy in proxies if proxy is not None]
        yield pair


def _show(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def _table(words: list[str], *, talos: bool, first: int) -> bool:
    wrong = 0
    _show(f"{'one end':22} {'the other':22} {'path':8} {'expected':8} {'first packet':>12} {'direct':>8}   endpoints")
    with tempfile.TemporaryDirectory() as base, world() as outer:
        async with service(Path(base) / "service", outer) as running_service:
            for number, (one, other) in enumerate(pairs()):
                if number < first or not all(word in f"{one}/{other}" for word in words):
                    continue
                direct = can_be_direct(one, other)
                directory = Path(base) / str(number)
                async with pair_in(directory, outer, running_service, (one, other), talos=talos) as pair:
                    found = await pair.meet(direct=direct)
                expected = "direct" if direct else "relay"
                wrong += found.path != expected
                _show(
                    f"{one:22} {other:22} {found.path:8} {expected:8} {found.first_packet:12.1f} {found.direct:8.1f}"
                    f"   {', '.join(found.paths)}",
                )
    return not wrong


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("words", nargs="*")
    parser.add_argument("--talos", action="store_true")
    parser.add_argument("--first", type=int, default=0, help="the number of the pair to begin with")
    arguments = parser.parse_args()
    # What it makes bears the name of a run, whose guard removes what is left when this is ended by a signal.
    directory = run.begin()
    try:
        succeeded = trio.run(partial(_table, arguments.words, talos=arguments.talos, first=arguments.first))
    finally:
        forked.stop()
        left = run.leftovers(directory)
    for line in left:
        sys.stderr.write(f"left behind, now removed: {line}\n")
    return 0 if succeeded and not left else 1


if __name__ == "__main__":
    sys.exit(main())
