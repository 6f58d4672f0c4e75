"""What must hold of WireGuard links whoever runs them: tried with wireguard-go (mesh) and with the kernel (vm)."""

import contextlib
import datetime
import socket
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import attrs

from nodespan.controllers.common.prior_state import PriorState
from nodespan.controllers.network.apply.address_spec import AddressSpecController
from nodespan.controllers.network.apply.link_spec import LinkSpecController
from nodespan.controllers.network.merge.controllers import AddressMergeController, LinkMergeController
from nodespan.controllers.network.status.link_status import LinkStatusController
from nodespan.controllers.network.wireguard.endpoint_names import Silence
from nodespan.controllers.network.wireguard.peers import WireguardPeerController
from nodespan.kernel.wireguard import daemon, read_device
from nodespan.resources.network import (
    CONFIG_NAMESPACE,
    AddressSpec,
    AddressSpecSpec,
    ConfigLayer,
    Family,
    LinkSpec,
    LinkSpecSpec,
    LinkStatus,
    LinkStatusSpec,
    LinkType,
    NetworkProblem,
    WireguardPeer,
    WireguardPeerSpec,
    WireguardPeerStatus,
    WireguardSpec,
    layered_id,
    wireguard_peer_id,
)
from nodespan.runtime.testing.kit import Node, running
from tests.support import probe
from tests.support.monitor import watching
from tests.support.netns import Namespace, connect, entered, namespaces
from tests.support.process import eventually
from tests.support.tunnels import key_pair, link_name, show

OPERATOR = ConfigLayer.OPERATOR
PORT = 51820
# A first packet that is lost, for the other end is not there yet, is sent again after more than five seconds.
HANDSHAKES = 75.0
# Less than that: the first packet gets there, however busy the machine is.
AT_ONCE = 4.0
SECRET = key_pair(77)[0]
STRANGER = key_pair(99)[1]


@attrs.frozen
class End:
    """One end of a tunnel: the addresses are those of the cable, then that of the tunnel."""

    inside: Namespace
    runtime: Node
    # Its controllers, which end when this is closed.
    at_work: contextlib.AsyncExitStack
    link: str
    private: str
    public: str
    outer: str
    inner: str

    @property
    def link_spec(self) -> LinkSpecSpec:
        return LinkSpecSpec(
            name=self.link,
            logical=True,
            up=True,
            mtu=1420,
            kind="wireguard",
            type=LinkType.NOHDR,
            wireguard=WireguardSpec(private_key=self.private, listen_port=PORT, firewall_mark=0x20),
            layer=OPERATOR,
        )

    @property
    def peer_spec(self) -> WireguardPeer:
        """This end as a peer of the other."""
        return WireguardPeer(
            public_key=self.public,
            preshared_key=SECRET,
            endpoint=f"{self.outer}:{PORT}",
            persistent_keepalive_interval=datetime.timedelta(seconds=25),
            allowed_ips=(f"{self.inner}/128", "198.51.100.0/24"),
        )

    async def want_link(self, runtime: Node | None = None, **changes: Any) -> None:
        spec = attrs.evolve(self.link_spec, **changes)
        link = LinkSpec.new(layered_id(OPERATOR, self.link), spec, namespace=CONFIG_NAMESPACE)
        await (runtime or self.runtime).state.modify(link, lambda known: known.with_spec(spec))
        address = AddressSpecSpec(address=f"{self.inner}/64", link_name=self.link, family=Family.INET6, layer=OPERATOR)
        wanted = AddressSpec.new(layered_id(OPERATOR, self.link), address, namespace=CONFIG_NAMESPACE)
        await (runtime or self.runtime).state.modify(wanted, lambda known: known.with_spec(address))

    async def want_peer(self, spec: WireguardPeer, runtime: Node | None = None) -> None:
        await (runtime or self.runtime).put(WireguardPeerSpec, wireguard_peer_id(self.link, spec.public_key), spec)

    async def unwant_peer(self, public_key: str) -> None:
        await self.runtime.destroy(WireguardPeerSpec, wireguard_peer_id(self.link, public_key))

    @contextlib.asynccontextmanager
    async def restarted(self, **settings: Any) -> AsyncIterator[Node]:
        """End its controllers, then have others at work. Only of the left end, whose were begun last."""
        await self.at_work.aclose()
        async with running(*controllers(self.inside, **settings)) as again:
            yield again

    def show(self, what: str) -> dict[str, str]:
        return show(self.inside, self.link, what)

    def index(self) -> str:
        return self.inside.run("ip", "-o", "link", "show", "dev", self.link).partition(":")[0]

    def reaches(self, other: "End", patience: float = 0.05) -> bool:
        """Whether a packet gets there and an answer comes back: a refusal, for nobody listens."""
        with entered(self.inside):
            probe = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
        with probe:
            probe.settimeout(patience)
            try:
                probe.connect((other.inner, 9))
            except ConnectionRefusedError:
                return True
            except OSError:
                return False
        raise AssertionError("somebody listens to the port for discarding")


def controllers(inside: Namespace, **settings: Any) -> tuple[Any, ...]:
    netns = str(inside.path)
    return (
        LinkMergeController(),
        AddressMergeController(),
        LinkSpecController(netns=netns),
        AddressSpecController(netns=netns),
        WireguardPeerController(netns=netns, **settings),
        LinkStatusController(netns=netns),
    )


@contextlib.asynccontextmanager
async def two_ends(**settings: Any) -> AsyncIterator[tuple[End, End]]:
    """Two namespaces on a cable, each with its controllers; no tunnel is wanted yet. The settings are for the left."""
    with namespaces("left", "right") as (left, right):
        connect(left, "eth0", right, "eth0")
        left.run("ip", "addr", "add", "192.0.2.1/24", "dev", "eth0")
        right.run("ip", "addr", "add", "192.0.2.2/24", "dev", "eth0")
        async with contextlib.AsyncExitStack() as at_right, contextlib.AsyncExitStack() as at_left:
            right_runtime = await at_right.enter_async_context(running(*controllers(right)))
            left_runtime = await at_left.enter_async_context(running(*controllers(left, **settings)))
            yield (
                End(left, left_runtime, at_left, link_name("l"), *key_pair(1), "192.0.2.1", "fd00::1"),
                End(right, right_runtime, at_right, link_name("r"), *key_pair(2), "192.0.2.2", "fd00::2"),
            )


@contextlib.asynccontextmanager
async def tunnel() -> AsyncIterator[tuple[End, End]]:
    """Two ends that reach each other."""
    async with two_ends() as (left, right):
        for end, other in ((left, right), (right, left)):
            await end.want_link()
            await end.want_peer(other.peer_spec)
        await eventually(lambda: left.reaches(right), within=HANDSHAKES)
        yield left, right


async def packets_pass_through_a_desired_tunnel() -> None:
    async with tunnel() as (left, right):
        assert right.reaches(left, patience=AT_ONCE)
        assert left.show("preshared-keys") == {right.public: SECRET}
        # A new peer has its keepalive a moment later, so that one of the two ends begins.
        await eventually(lambda: left.show("persistent-keepalive") == {right.public: "25"})
        assert left.inside.run("wg", "show", left.link, "listen-port").strip() == str(PORT)
        assert left.inside.run("wg", "show", left.link, "fwmark").strip() == "0x20"
        assert set(left.show("allowed-ips")[right.public].split()) == {"fd00::2/128", "198.51.100.0/24"}
        assert "mtu 1420" in left.inside.run("ip", "link", "show", left.link)
        device = read_device(left.link, str(left.inside.path))
        assert device is not None
        assert (device.public_key, device.listen_port, device.firewall_mark) == (left.public, PORT, 0x20)
        peer = device.peers[right.public]
        assert peer.config.endpoint == "192.0.2.2:51820"
        assert peer.receive_bytes > 0
        assert peer.transmit_bytes > 0
        assert peer.last_handshake_time is not None
        age = datetime.datetime.now(datetime.UTC) - peer.last_handshake_time
        assert abs(age) < datetime.timedelta(seconds=30)
        status = await left.runtime.eventually(
            LinkStatus, left.link, lambda link: bool(link.spec.wireguard and link.spec.wireguard.public_key)
        )
        assert status.spec.type == LinkType.NOHDR
        assert status.spec.wireguard is not None
        assert status.spec.wireguard.public_key == left.public
        # An endpoint is set once the link is up, which may show as a problem for a moment.
        await eventually(lambda: not left.runtime.state.list(NetworkProblem))


async def changing_one_peer_keeps_the_sessions_of_others() -> None:
    async with tunnel() as (left, right):
        handshakes = left.show("latest-handshakes")
        third = WireguardPeer(public_key=STRANGER, endpoint="203.0.113.9:51820", allowed_ips=("203.0.113.0/24",))
        await left.want_peer(third)
        await eventually(lambda: STRANGER in left.show("endpoints"))
        await left.want_peer(attrs.evolve(third, allowed_ips=("203.0.113.0/25",), endpoint="203.0.113.10:7"))
        await eventually(lambda: left.show("allowed-ips")[STRANGER] == "203.0.113.0/25")
        assert left.show("endpoints")[STRANGER] == "203.0.113.10:7"
        await left.want_peer(attrs.evolve(right.peer_spec, endpoint="", allowed_ips=("fd00::2/128",)))
        await eventually(lambda: left.show("allowed-ips")[right.public] == "fd00::2/128")
        assert left.show("endpoints")[right.public] == "192.0.2.2:51820"
        await left.unwant_peer(STRANGER)
        await eventually(lambda: STRANGER not in left.show("endpoints"))
        assert left.reaches(right, patience=AT_ONCE)
        assert left.show("latest-handshakes") == handshakes


async def a_roaming_peer_is_not_reset_to_its_old_endpoint() -> None:
    async with tunnel() as (left, right):
        right.inside.run("ip", "addr", "add", "192.0.2.22/24", "dev", "eth0")
        right.inside.run("ip", "addr", "del", "192.0.2.2/24", "dev", "eth0")
        if "192.0.2.22" not in right.inside.run("ip", "addr"):
            # The second address of a subnet goes with the first.
            right.inside.run("ip", "addr", "add", "192.0.2.22/24", "dev", "eth0")
        await eventually(lambda: right.reaches(left), within=HANDSHAKES)
        await eventually(lambda: left.show("endpoints")[right.public] == "192.0.2.22:51820")
        await left.want_peer(attrs.evolve(right.peer_spec, allowed_ips=("fd00::2/128",)))
        await eventually(lambda: left.show("allowed-ips")[right.public] == "fd00::2/128")
        assert left.show("endpoints")[right.public] == "192.0.2.22:51820"
        assert left.reaches(right, patience=AT_ONCE)


async def a_restart_of_the_agent_disturbs_nothing() -> None:
    async with tunnel() as (left, right):
        before = (left.index(), left.show("latest-handshakes"), left.show("endpoints"))
        async with watching(left.inside, "address") as seen, left.restarted() as again:
            await left.want_link(again)
            await again.eventually(LinkSpec, left.link, lambda link: bool(link.metadata.finalizers))
            await again.settled()
            # Peers come to be known one after the other; those of before stay meanwhile.
            assert left.reaches(right, patience=AT_ONCE)
            await left.want_peer(right.peer_spec, again)
            await again.settled()
            assert left.reaches(right, patience=AT_ONCE)
        # The cable may be busy with detecting duplicates of its own addresses.
        disturbed = [line for line in seen().splitlines() if left.link in line]
        assert not disturbed, disturbed
        assert (left.index(), left.show("latest-handshakes"), left.show("endpoints")) == before


async def peers_no_longer_desired_after_a_restart_are_removed_eventually() -> None:
    async with tunnel() as (left, right):
        left.inside.run("wg", "set", left.link, "peer", STRANGER, "allowed-ips", "203.0.113.0/24")
        async with left.restarted(stale_after=0.0) as again:
            await left.want_peer(right.peer_spec, again)
            await left.want_link(again)
            await eventually(lambda: STRANGER not in left.show("endpoints"))
            assert left.reaches(right, patience=AT_ONCE)


async def an_invalid_peer_does_not_block_the_others() -> None:
    async with two_ends() as (left, right):
        await left.want_link()
        for bad in ("no key", "AAAA", "!"):
            await left.want_peer(WireguardPeer(public_key=bad, allowed_ips=("203.0.113.0/24",)))
        await left.want_peer(WireguardPeer(public_key=STRANGER, allowed_ips=("not a prefix",)))
        await left.want_peer(right.peer_spec)
        await eventually(lambda: left.show("endpoints") == {right.public: "192.0.2.2:51820"})
        refused = {wireguard_peer_id(left.link, key) for key in ("no key", "AAAA", "!", STRANGER)}
        await eventually(lambda: {problem.spec.id for problem in left.runtime.state.list(NetworkProblem)} == refused)


async def a_link_no_longer_desired_is_removed_and_others_kept() -> None:
    async with tunnel() as (left, _right):
        await left.runtime.state.destroy(LinkSpec.within(CONFIG_NAMESPACE), layered_id(OPERATOR, left.link))
        await left.runtime.gone(LinkSpec, left.link)
        assert left.link not in left.inside.run("ip", "link")
        assert "eth0" in left.inside.run("ip", "link")


async def a_link_removed_by_hand_is_restored() -> None:
    async with tunnel() as (left, right):
        left.inside.run("ip", "link", "del", left.link)
        await eventually(lambda: left.reaches(right), within=HANDSHAKES)
        left.inside.run("ip", "link", "set", left.link, "down")
        await eventually(lambda: left.reaches(right), within=HANDSHAKES)


async def only_changed_device_settings_are_written() -> None:
    async with tunnel() as (left, right):
        index = left.index()
        private, public = key_pair(3)
        settings = WireguardSpec(private_key=private, listen_port=PORT + 1, firewall_mark=0x21)
        await left.want_link(wireguard=settings, mtu=1300)
        await eventually(lambda: left.inside.run("wg", "show", left.link, "public-key").strip() == public)
        assert left.inside.run("wg", "show", left.link, "listen-port").strip() == str(PORT + 1)
        assert left.inside.run("wg", "show", left.link, "fwmark").strip() == "0x21"
        await eventually(lambda: "mtu 1300" in left.inside.run("ip", "link", "show", left.link))
        assert left.index() == index
        assert list(left.show("endpoints")) == [right.public]


async def an_endpoint_name_is_resolved_again_when_its_peer_stays_silent() -> None:
    answer: list[str] = []

    async def lookup(host: str) -> Sequence[str]:
        assert host == "vpn.example"
        if not answer:
            raise OSError(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return answer

    quick = Silence(first=0.5, after=1.0, look_interval=0.2, pause=0.5)
    async with two_ends(lookup=lookup, silence=quick) as (left, right):
        await right.want_link()
        await right.want_peer(
            attrs.evolve(left.peer_spec, endpoint="", persistent_keepalive_interval=datetime.timedelta())
        )
        named = attrs.evolve(
            right.peer_spec,
            endpoint=f"vpn.example:{PORT}",
            persistent_keepalive_interval=datetime.timedelta(seconds=1),
        )
        other = WireguardPeer(public_key=STRANGER, endpoint="203.0.113.9:51820", allowed_ips=("203.0.113.0/24",))
        settings = WireguardSpec(private_key=left.private, listen_port=PORT, peers=(named, other))
        await left.want_link(wireguard=settings)
        # Everything else is applied, and shown at once.
        problem = await left.runtime.eventually(
            NetworkProblem, f"WireguardPeerSpecs/{wireguard_peer_id(left.link, right.public)}"
        )
        assert "Temporary failure in name resolution" in problem.spec.message
        await eventually(
            lambda: left.show("endpoints") == {right.public: "(none)", STRANGER: "203.0.113.9:51820"}, within=HANDSHAKES
        )
        await left.runtime.eventually(LinkStatus, left.link, lambda link: len(peers_of(link.spec)) == 2)
        answer[:] = ["192.0.2.2"]
        await eventually(lambda: left.reaches(right), within=HANDSHAKES)
        await left.runtime.gone(NetworkProblem, problem.id)
        await left.runtime.eventually(
            LinkStatus, left.link, lambda link: f"192.0.2.2:{PORT}" in {peer.endpoint for peer in peers_of(link.spec)}
        )
        # The other end has another address and does not know where to say so.
        right.inside.run("ip", "addr", "del", "192.0.2.2/24", "dev", "eth0")
        right.inside.run("ip", "addr", "add", "192.0.2.22/24", "dev", "eth0")
        answer[:] = ["192.0.2.22"]
        await eventually(lambda: left.show("endpoints")[right.public] == f"192.0.2.22:{PORT}", within=HANDSHAKES)
        await eventually(lambda: left.reaches(right), within=HANDSHAKES)


async def a_device_of_others_keeps_its_peers_and_is_given_back_as_it_was() -> None:
    name, (private, _), (ours, our_key) = link_name("f"), key_pair(5), key_pair(6)
    with namespaces("node") as (inside,), tempfile.TemporaryDirectory() as directory:
        if probe.no_link("wireguard") is None:
            inside.run("ip", "link", "add", name, "type", "wireguard")
        else:
            daemon.start(name, str(inside.path))
        keys = {each: Path(directory, each) for each in ("private", "preshared")}
        keys["private"].write_text(private)
        keys["preshared"].write_text(SECRET)
        device = f"wg set {name} private-key {keys['private']} listen-port 40123 fwmark 0x5"
        stranger = f"peer {STRANGER} preshared-key {keys['preshared']} endpoint 192.0.2.77:1234 persistent-keepalive 11"
        inside.run(*device.split(), *stranger.split(), "allowed-ips", "203.0.113.0/24,fd77::/64")
        before = sorted(inside.run("wg", "showconf", name).splitlines())
        prior = PriorState(Path(directory, "before.jsonl"))
        appliers = (
            LinkMergeController(),
            LinkSpecController(netns=str(inside.path), prior=prior),
            WireguardPeerController(netns=str(inside.path), prior=prior, stale_after=0.0),
        )
        async with running(*appliers) as runtime:
            peer = WireguardPeer(public_key=key_pair(8)[1], allowed_ips=("198.51.100.0/24",))
            spec = LinkSpecSpec(
                name=name,
                logical=True,
                kind="wireguard",
                type=LinkType.NOHDR,
                wireguard=WireguardSpec(private_key=ours, listen_port=PORT, peers=(peer,)),
                layer=ConfigLayer.CONFIGURATION,
            )
            id = layered_id(spec.layer, name)
            await runtime.state.create(LinkSpec.new(id, spec, namespace=CONFIG_NAMESPACE))
            await eventually(lambda: inside.run("wg", "show", name, "public-key").strip() == our_key)
            await eventually(lambda: peer.public_key in show(inside, name, "endpoints"))
            await runtime.settled()
            assert show(inside, name, "endpoints")[STRANGER] == "192.0.2.77:1234"
            await runtime.state.destroy(LinkSpec.within(CONFIG_NAMESPACE), id)
            await runtime.gone(LinkSpec, name)
            await eventually(lambda: sorted(inside.run("wg", "showconf", name).splitlines()) == before)


def peers_of(link: LinkStatusSpec) -> tuple[WireguardPeerStatus, ...]:
    return () if link.wireguard is None else link.wireguard.peers


async def many_peers_at_once() -> None:
    async with two_ends() as (left, _right):
        await left.want_link()
        for seed in range(1000, 1700):
            prefixes = (f"fd00::{seed:x}/128", f"10.{seed // 256}.{seed % 256}.0/24")
            await left.want_peer(WireguardPeer(public_key=key_pair(seed)[1], allowed_ips=prefixes))
        long = tuple(f"2001:db8:{number:x}::/48" for number in range(1200))
        await left.want_peer(WireguardPeer(public_key=STRANGER, allowed_ips=long))
        await eventually(lambda: len(left.show("endpoints")) == 701)
        assert len(left.show("allowed-ips")[STRANGER].split()) == 1200
        device = read_device(left.link, str(left.inside.path))
        assert device is not None
        assert len(device.peers) == 701
        assert len(device.peers[STRANGER].config.allowed_ips) == 1200


SCENARIOS = (
    packets_pass_through_a_desired_tunnel,
    changing_one_peer_keeps_the_sessions_of_others,
    a_roaming_peer_is_not_reset_to_its_old_endpoint,
    a_restart_of_the_agent_disturbs_nothing,
    peers_no_longer_desired_after_a_restart_are_removed_eventually,
    an_invalid_peer_does_not_block_the_others,
    a_link_no_longer_desired_is_removed_and_others_kept,
    a_link_removed_by_hand_is_restored,
    only_changed_device_settings_are_written,
    an_endpoint_name_is_resolved_again_when_its_peer_stays_silent,
    many_peers_at_once,
    a_device_of_others_keeps_its_peers_and_is_given_back_as_it_was,
)
