"""WireGuard devices as values: equality, canonical forms, what differs; and both back ends' words for a change."""

import datetime
import socket
from base64 import b64encode
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodespan.controllers.network.wireguard.ledger import PeerLedger
from nodespan.kernel.rtnetlink import attribute, nest, number16, number32, split
from nodespan.kernel.wireguard import genl, uapi
from nodespan.kernel.wireguard.device import (
    DeviceChange,
    DeviceState,
    PeerConfig,
    PeersOfAnswers,
    PeerState,
    canonical_peer,
    device_difference,
    format_endpoint,
    parse_endpoint,
    sort_allowed_ips,
    wireguard_peer_equal,
)
from nodespan.resources.network import WireguardPeer, WireguardSpec
from tests.support.tunnels import key_pair
from tests.support.vectors import each

KEYS = st.binary(min_size=32, max_size=32).filter(any).map(lambda raw: b64encode(raw).decode())
ENDPOINTS = st.one_of(
    st.just(""),
    st.builds(
        lambda address, port: format_endpoint(str(address), port),
        st.ip_addresses().filter(lambda address: getattr(address, "ipv4_mapped", None) is None),
        st.integers(1, 65535),
    ),
)
PREFIXES = st.lists(st.ip_addresses().map(str), max_size=8).map(sort_allowed_ips)
PEERS = st.builds(
    PeerConfig,
    public_key=KEYS,
    preshared_key=st.one_of(st.just(""), KEYS),
    endpoint=ENDPOINTS,
    persistent_keepalive=st.integers(0, 65535),
    allowed_ips=PREFIXES,
)
PRIVATE, PUBLIC = key_pair(1)
OTHER = key_pair(2)[1]


@each("wireguard_peer_equal")
def test_peer_equality_matches_the_known_answers(vector: dict[str, Any]) -> None:
    def peer(given: dict[str, Any]) -> PeerConfig:
        return PeerConfig(
            public_key=given["public_key"],
            preshared_key=given["preshared_key"],
            endpoint=given["endpoint"],
            persistent_keepalive=given["keepalive_s"],
            allowed_ips=tuple(given["allowed_ips"]),
        )

    assert wireguard_peer_equal(peer(vector["current"]), peer(vector["wanted"])) is vector["equal"]


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("192.0.2.1:51820", "192.0.2.1", 51820),
        ("[2001:db8::1]:1", "2001:db8::1", 1),
        ("host.example:65535", "host.example", 65535),
    ],
)
def test_endpoints_are_read(text: str, host: str, port: int) -> None:
    assert parse_endpoint(text) == (host, port)


@pytest.mark.parametrize("text", ["", "192.0.2.1", "192.0.2.1:", ":1", "192.0.2.1:0", "192.0.2.1:65536", "a:-1"])
def test_invalid_endpoints_are_rejected(text: str) -> None:
    with pytest.raises(ValueError, match="is not an endpoint"):
        parse_endpoint(text)


def test_an_ipv4_mapped_address_is_shown_as_ipv4() -> None:
    assert format_endpoint("::ffff:192.0.2.1", 7) == "192.0.2.1:7"
    assert format_endpoint("fe80::1%eth0", 7) == "[fe80::1]:7"


def test_a_desired_peer_has_one_canonical_form() -> None:
    peer = WireguardPeer(
        public_key=PUBLIC,
        preshared_key=PRIVATE,
        persistent_keepalive_interval=datetime.timedelta(seconds=25),
        allowed_ips=("fd00::1/64", "10.2.0.0/16", "10.1.2.3/24", "10.1.2.0/24"),
    )
    assert canonical_peer(peer, "[2001:DB8::1]:7") == PeerConfig(
        public_key=PUBLIC,
        preshared_key=PRIVATE,
        endpoint="[2001:db8::1]:7",
        persistent_keepalive=25,
        allowed_ips=("10.1.2.0/24", "10.2.0.0/16", "fd00::/64"),
    )


@pytest.mark.parametrize(
    "peer",
    [
        WireguardPeer(public_key="AAAA"),
        WireguardPeer(public_key="not base64"),
        WireguardPeer(public_key=b64encode(bytes(32)).decode()),
        WireguardPeer(public_key=PUBLIC, preshared_key="AAAA"),
        WireguardPeer(public_key=PUBLIC, allowed_ips=("nowhere",)),
        WireguardPeer(public_key=PUBLIC, persistent_keepalive_interval=datetime.timedelta(days=1)),
    ],
)
def test_an_invalid_peer_is_refused(peer: WireguardPeer) -> None:
    with pytest.raises(ValueError, match=r".") as refusal:
        canonical_peer(peer, "")
    assert "AAAA" not in str(refusal.value)


@pytest.mark.parametrize(
    ("wanted", "current", "change"),
    [
        (WireguardSpec(), DeviceState(public_key=PUBLIC, listen_port=7), DeviceChange()),
        (WireguardSpec(private_key=PRIVATE), DeviceState(public_key=PUBLIC), DeviceChange()),
        (WireguardSpec(private_key=PRIVATE), DeviceState(public_key=OTHER), DeviceChange(private_key=PRIVATE)),
        (WireguardSpec(listen_port=5), DeviceState(listen_port=7), DeviceChange(listen_port=5)),
        (WireguardSpec(firewall_mark=5), DeviceState(), DeviceChange(firewall_mark=5)),
        (WireguardSpec(), DeviceState(firewall_mark=5), DeviceChange(firewall_mark=0)),
    ],
)
def test_only_settings_that_differ_are_sent(wanted: WireguardSpec, current: DeviceState, change: DeviceChange) -> None:
    assert device_difference(wanted, current) == change


def test_no_secret_is_in_the_repr_of_anything() -> None:
    values = (
        WireguardSpec(private_key=PRIVATE),
        WireguardPeer(public_key=PUBLIC, preshared_key=PRIVATE),
        PeerConfig(public_key=PUBLIC, preshared_key=PRIVATE),
        DeviceChange(private_key=PRIVATE, peers=(PeerConfig(public_key=PUBLIC, preshared_key=PRIVATE),)),
    )
    for value in values:
        assert PRIVATE not in repr(value)


# What a device is told can be read back from it: the two sides of each back end agree.


@given(st.lists(PEERS, max_size=40, unique_by=lambda peer: peer.public_key))
@pytest.mark.slow
def test_messages_to_the_kernel_equal_its_own_answers(peers: list[PeerConfig]) -> None:
    messages = list(genl.change_messages("wg0", DeviceChange(peers=tuple(peers))))
    device = genl.read_device(datagram(message) for message in messages)
    assert {key: peer.config for key, peer in device.peers.items()} == {peer.public_key: peer for peer in peers}


def datagram(attributes: bytes) -> bytes:
    body = bytes(4) + attributes
    return (16 + len(body)).to_bytes(4, "little") + (40).to_bytes(2, "little") + bytes(10) + body


def test_long_lists_are_split_into_messages_that_fit() -> None:
    prefixes = sort_allowed_ips([f"2001:db8:{number:x}::/48" for number in range(3000)])
    peers = [PeerConfig(public_key=key_pair(number)[1], allowed_ips=prefixes[:50]) for number in range(1, 60)]
    peers.append(PeerConfig(public_key=key_pair(60)[1], allowed_ips=prefixes))
    change = DeviceChange(listen_port=7, peers=tuple(peers), removed=(OTHER,))
    messages = list(genl.change_messages("wg0", change))
    assert len(messages) > 3
    assert all(len(message) < 60000 for message in messages)
    for message in messages:
        assert len(list(split(datagram(message)))) == 1
    device = genl.read_device(map(datagram, messages))
    assert device.listen_port == 7
    assert device.peers[peers[-1].public_key].config.allowed_ips == prefixes


def test_a_netlink_attribute_that_is_too_long_is_refused() -> None:
    with pytest.raises(ValueError, match="more than 65535"):
        attribute(1, bytes(65532))
    assert nest(1, number16(2, 3), number32(4, 5))[:4] == bytes([20, 0, 1, 0x80])


@given(st.lists(PEERS, max_size=10, unique_by=lambda peer: peer.public_key))
@pytest.mark.slow
def test_requests_to_wireguard_go_equal_its_own_answers(peers: list[PeerConfig]) -> None:
    request = uapi.change_request(DeviceChange(private_key=PRIVATE, listen_port=7, peers=tuple(peers)))
    assert request.startswith("set=1\n")
    assert request.endswith("\n\n")
    device = uapi.read_device([*request.split("\n")[1:-2], "errno=0"])
    assert (device.public_key, device.listen_port) == (PUBLIC, 7)
    assert {key: peer.config for key, peer in device.peers.items()} == {peer.public_key: peer for peer in peers}


def test_numbers_of_a_device_in_userspace_are_read() -> None:
    answer = [
        f"private_key={uapi._hex(PRIVATE)}",
        "fwmark=32",
        f"public_key={uapi._hex(OTHER)}",
        "last_handshake_time_sec=1700000000",
        "last_handshake_time_nsec=500000000",
        "rx_bytes=7",
        "tx_bytes=8",
        "errno=0",
    ]
    device = uapi.read_device(answer)
    assert device.firewall_mark == 32
    assert device.peers[OTHER] == PeerState(
        config=PeerConfig(public_key=OTHER),
        last_handshake_time=datetime.datetime.fromtimestamp(1700000000.5, datetime.UTC),
        receive_bytes=7,
        transmit_bytes=8,
    )
    assert uapi.read_device(answer, peers=False).peers == {}


def test_what_did_not_change_since_the_answer_before_is_not_made_again() -> None:
    made: list[str] = []

    def make(text: str) -> PeerState:
        made.append(text)
        return PeerState(config=PeerConfig(public_key=text))

    answers = PeersOfAnswers(make)
    first = answers.of(["a", "b"])
    again = answers.of(["b", "c"])
    assert again[0] is first[1]
    assert [peer.config.public_key for peer in again] == ["b", "c"]
    # Only the answer before counts: what changes all the time fills no memory.
    answers.of(["a"])
    assert made == ["a", "b", "c", "a"]


def test_a_device_is_read_again_as_it_is() -> None:
    """Both back ends, with peers that change, come and go between the answers."""
    keys = [key_pair(number)[1] for number in range(1, 4)]

    def answer(sent: int, *names: str) -> list[str]:
        peers = [(f"public_key={uapi._hex(name)}", f"tx_bytes={sent}", "allowed_ip=10.0.0.0/8") for name in names]
        return [line for peer in peers for line in peer] + ["errno=0"]

    for sent, names in ((0, keys[:2]), (0, keys[:2]), (7, keys[:2]), (7, keys), (9, keys[2:]), (9, [])):
        shown = uapi.read_device(answer(sent, *names)).peers
        assert {name: peer.transmit_bytes for name, peer in shown.items()} == dict.fromkeys(names, sent)
        peers = tuple(PeerConfig(public_key=name, persistent_keepalive=sent) for name in names)
        messages = map(datagram, genl.change_messages("wg0", DeviceChange(listen_port=1, peers=peers)))
        device = genl.read_device(messages)
        assert {key: peer.config.persistent_keepalive for key, peer in device.peers.items()} == dict.fromkeys(
            names, sent
        )


def test_a_refusal_of_a_device_in_userspace_is_an_error() -> None:
    with pytest.raises(OSError, match="wireguard-go refuses: Invalid argument"):
        uapi.read_device(["errno=-22"])


# What a device was told.

PEER = PeerConfig(public_key=OTHER, endpoint="192.0.2.1:7", allowed_ips=("10.0.0.0/8",))
ALIVE = attrs.evolve(PEER, persistent_keepalive=25)


def device(*peers: PeerConfig) -> DeviceState:
    return DeviceState(peers={peer.public_key: PeerState(config=peer) for peer in peers})


def told(*peers: PeerConfig) -> PeerLedger:
    ledger = PeerLedger()
    ledger.note_all({peer.public_key: peer for peer in peers})
    return ledger


@pytest.mark.parametrize(
    ("wanted", "changes"),
    [
        (PEER, ()),
        (attrs.evolve(PEER, endpoint=""), ()),
        (attrs.evolve(PEER, endpoint="192.0.2.2:7"), (attrs.evolve(PEER, endpoint="192.0.2.2:7"),)),
        # The peer may have moved since its endpoint was told.
        (attrs.evolve(PEER, allowed_ips=()), (attrs.evolve(PEER, allowed_ips=(), endpoint=""),)),
    ],
)
def test_only_changes_of_a_known_peer_are_sent(wanted: PeerConfig, changes: tuple[PeerConfig, ...]) -> None:
    assert told(PEER).changes({OTHER: wanted}) == DeviceChange(peers=changes)


def test_an_endpoint_is_set_again_after_it_was_unset() -> None:
    ledger = told(PEER)
    ledger.note({OTHER: attrs.evolve(PEER, endpoint="")})
    assert ledger.changes({OTHER: PEER}) == DeviceChange(peers=(PEER,))


@pytest.mark.parametrize("known", [ALIVE, attrs.evolve(ALIVE, endpoint="")])
def test_a_peer_is_greeted_at_an_endpoint_that_it_gets_instead_of_another(known: PeerConfig) -> None:
    wanted = attrs.evolve(ALIVE, endpoint="192.0.2.2:7")
    # A device that is told to keep a peer alive, and did not, begins at once.
    silent = attrs.evolve(wanted, persistent_keepalive=0)
    assert told(known).changes({OTHER: wanted}) == DeviceChange(peers=(silent, wanted))


def test_a_peer_that_is_not_kept_alive_or_gets_no_endpoint_is_not_greeted() -> None:
    held_back = attrs.evolve(ALIVE, persistent_keepalive=0)
    for wanted in (ALIVE, attrs.evolve(ALIVE, endpoint="192.0.2.2:7")):
        assert len(told(held_back).changes({OTHER: wanted}).peers) == 1
    more = attrs.evolve(ALIVE, allowed_ips=("10.0.0.0/8", "10.0.0.0/7"))
    assert told(ALIVE).changes({OTHER: more}) == DeviceChange(peers=(attrs.evolve(more, endpoint=""),))


def test_only_configured_peers_are_removed_one_by_one() -> None:
    assert told(PEER).changes({OTHER: None, PUBLIC: None}) == DeviceChange(removed=(OTHER,))
    assert PeerLedger().changes({OTHER: PEER}) == DeviceChange(peers=(PEER,))


MOVED = attrs.evolve(PEER, endpoint="198.51.100.9:9")


@pytest.mark.parametrize(
    ("ledger", "seen", "changed"),
    [
        (told(), (), True),
        (told(), (PEER,), False),
        (told(PEER), (PEER,), False),
        # Nothing is known of why it differs: it is told what is wanted.
        (told(), (MOVED,), True),
        # It was told that, and moved.
        (told(PEER), (MOVED,), False),
        (told(PEER), (), True),
        (told(PEER), (attrs.evolve(PEER, endpoint=""),), True),
    ],
)
def test_a_device_is_compared_as_a_whole(ledger: PeerLedger, seen: tuple[PeerConfig, ...], changed: bool) -> None:
    difference = ledger.differences({OTHER: PEER}, device(*seen), remove_others=False)
    assert difference == DeviceChange(peers=(PEER,) if changed else ())


def test_undesired_peers_stay_until_they_are_known_to_be_stale() -> None:
    seen = device(PEER)
    assert not PeerLedger().differences({}, seen, remove_others=False)
    assert PeerLedger().differences({}, seen, remove_others=True) == DeviceChange(removed=(OTHER,))
    assert told(PEER).differences({}, seen, remove_others=False) == DeviceChange(removed=(OTHER,))


def test_a_wireguard_go_that_does_not_answer_is_an_error_that_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uapi, "_TIMEOUT", 0.01)
    with socket.socket(socket.AF_UNIX) as listener:
        # By a short name, whatever the directory is.
        monkeypatch.chdir(tmp_path)
        listener.bind("wg0.sock")
        listener.listen()
        device = uapi.UserspaceWireguard(None, Path())
        with pytest.raises(TimeoutError, match="wireguard-go has not answered for 10 s: it waits to send"):
            device.read("wg0")
        with pytest.raises(TimeoutError, match="has not answered"):
            device.change("wg0", DeviceChange(listen_port=7))
