import contextlib
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodespan.discovery.relay import wire
from nodespan.discovery.relay.names import has_name
from nodespan.discovery.relay.proof import Challenger, ProofError, prove
from nodespan.discovery.relay.wire import Challenge, Grant, Hello, WireError

HELLO = Hello(key=bytes(range(32)), cluster=wire.cluster_tag("c"), port=21005, name="relay.example.org:3000")
PACKET = b"\x04\0\0\0" + bytes(28)


def test_messages_survive_the_wire() -> None:
    assert Hello.decode(HELLO.encode()) == HELLO
    challenge = Challenge(bytes(32), bytes(range(16)))
    assert Challenge.decode(challenge.encode()) == challenge
    assert wire.decode_proof(wire.encode_proof(bytes(32))) == bytes(32)
    grant = Grant(21005, (ip_address("192.0.2.1"), ip_address("2001:db8::1")), 12_500_000)
    assert Grant.decode(grant.encode()) == grant
    assert grant.endpoints == (("192.0.2.1", 21005), ("2001:db8::1", 21005))


@pytest.mark.parametrize("address", [("192.0.2.7", 51820), ("2001:db8::7", 1)])
def test_packets_survive_the_wire(address: wire.Address) -> None:
    packets = [PACKET, b"\x01\0\0\0" + bytes(144)]
    message = wire.packets_message(wire.encode_address(address), packets)
    encoded = wire.address_of(message)
    assert wire.decode_address(encoded) == address
    assert wire.port_of(encoded) == address[1]
    assert wire.count_packets(message, 1 + len(encoded)) == 2
    assert wire.packets_of(message, 1 + len(encoded)) == packets


@pytest.mark.parametrize("size", [32, 1400, 9000, 9216])
@pytest.mark.parametrize("address", [("192.0.2.7", 51820), ("2001:db8::7", 1)])
def test_packets_make_as_many_messages_as_it_takes_for_none_to_be_too_large(address: wire.Address, size: int) -> None:
    encoded = wire.encode_address(address)
    packets = [PACKET[:4] + bytes((number,)) * (size - 4) for number in range(64)]
    messages = list(wire.packets_messages(encoded, packets))
    assert all(len(message) <= wire.LARGEST_MESSAGE for message, _ in messages)
    assert len(messages) == max(1, -(-64 // ((wire.LARGEST_MESSAGE - 1 - len(encoded)) // (size + 2))))
    assert all(wire.address_of(message) == encoded for message, _ in messages)
    at = 1 + len(encoded)
    assert [wire.count_packets(message, at) for message, _ in messages] == [count for _, count in messages]
    assert [packet for message, _ in messages for packet in wire.packets_of(message, at)] == packets
    assert list(wire.packets_messages(encoded, [])) == []


def test_a_message_that_is_too_large_is_invalid() -> None:
    encoded = wire.encode_address(("192.0.2.7", 9))
    with pytest.raises(WireError, match="at most 65536"):
        wire.address_of(wire.packets_message(encoded, [PACKET.ljust(9000)] * 8))


def test_an_ipv4_mapped_address_is_one_of_ipv4() -> None:
    assert wire.encode_address(("::ffff:192.0.2.7", 9)) == wire.encode_address(("192.0.2.7", 9))


@pytest.mark.parametrize(
    "packet",
    [b"", PACKET[:31], b"\0" + PACKET[1:], b"\x05" + PACKET[1:], b"\x04\0\x01\0" + PACKET[4:], bytes(9217)],
    ids=["empty", "short", "type 0", "type 5", "reserved bytes", "huge"],
)
def test_what_is_not_wireguard_is_not_carried(packet: bytes) -> None:
    message = wire.packets_message(wire.encode_address(("192.0.2.7", 9)), [PACKET, packet])
    with pytest.raises(WireError):
        wire.count_packets(message, 8)


def test_a_message_without_a_packet_is_invalid() -> None:
    with pytest.raises(WireError, match="without a packet"):
        wire.count_packets(wire.packets_message(wire.encode_address(("192.0.2.7", 9)), []), 8)


@pytest.mark.parametrize(
    "texts", [("192.0.2.1", "192.0.2.2"), ("2001:db8::1", "2001:db8::2"), ("192.0.2.1", "2001:db8::1", "192.0.2.2")]
)
def test_a_relay_has_one_address_of_each_kind(texts: tuple[str, ...]) -> None:
    addresses = tuple(map(ip_address, texts))
    with pytest.raises(WireError):
        Grant.decode(Grant(21005, addresses, 1).encode())
    with pytest.raises(WireError):
        wire.Description.decode(wire.Description(1, (21000, 24999), addresses).encode())


@pytest.mark.parametrize(
    ("port", "address"),
    [
        (0, "192.0.2.1"),
        (53, "192.0.2.1"),
        (21000, "0.0.0.0"),
        (21000, "::"),
        (21000, "ff02::1"),
        (21000, "224.0.0.1"),
        (21000, "fe80::1"),
    ],
)
def test_an_address_that_no_relay_can_have_is_not_announced(port: int, address: str) -> None:
    with pytest.raises(WireError):
        Grant.decode(Grant(port, (ip_address(address),), 1).encode())
    with pytest.raises(WireError):
        wire.Description.decode(wire.Description(1, (port, 24999), (ip_address(address),)).encode())


@pytest.mark.parametrize(
    ("address", "host", "valid"),
    [
        ("127.0.0.1", "relay.example.org", False),
        ("::1", "192.0.2.1", False),
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "localhost", True),
        ("192.0.2.9", "relay.example.org", True),
    ],
)
def test_an_address_of_this_machine_is_only_for_a_relay_on_it(address: str, host: str, valid: bool) -> None:
    with contextlib.nullcontext() if valid else pytest.raises(WireError):
        wire.check_loopback((ip_address(address),), host)


@pytest.mark.parametrize(
    ("authority", "expected"),
    [
        ("relay.example.org:3443", True),
        ("RELAY.example.org.:3443", True),
        ("a.relays.example.org:1", True),
        ("relays.example.org:1", False),
        ("a.b.relays.example.org:1", False),
        ("evil.example.org:3443", False),
        ("192.0.2.1:3443", True),
        ("[2001:db8:0::1]:3443", True),
        ("192.0.2.2:3443", False),
        ("b\u00fccher.example:3443", True),
        (":3443", False),
        ("", False),
        ("\u2260" * 100 + ":1", False),
    ],
)
def test_the_names_of_a_relay(authority: str, expected: bool) -> None:
    names = ("relay.example.org", "*.relays.example.org", "192.0.2.1", "2001:db8::1", "xn--bcher-kva.example")
    assert has_name(names, authority) is expected


@given(st.binary(max_size=200))
def test_no_bytes_cause_another_error(data: bytes) -> None:
    for decode in (Hello.decode, Challenge.decode, wire.decode_proof, Grant.decode):
        with pytest.raises(WireError):
            decode(bytes((99,)) + data)
        for kind in range(17):
            try:
                decode(bytes((kind,)) + data)
            except WireError:
                continue
    for message in (data, b"\x10\x04" + data, b"\x10\x06" + data):
        try:
            wire.count_packets(message, 1 + len(wire.address_of(message)))
        except WireError:
            continue


@pytest.mark.parametrize("size", range(0, len(HELLO.encode()), 7))
def test_a_hello_that_is_cut_off_is_refused(size: int) -> None:
    with pytest.raises(WireError):
        Hello.decode(HELLO.encode()[:size])


def _keys() -> tuple[bytes, bytes]:
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    private = X25519PrivateKey.generate()
    return private.private_bytes_raw(), private.public_key().public_bytes_raw()


def _hello(key: bytes, name: str = "relay.example.org:3000") -> Hello:
    return Hello(key=key, cluster=wire.cluster_tag("c"), name=name)


def test_only_the_holder_of_the_key_proves_it() -> None:
    private, public = _keys()
    challenger = Challenger()
    hello = _hello(public)
    challenger.check(hello, prove(private, hello, challenger.challenge))
    other, _ = _keys()
    with pytest.raises(ProofError):
        challenger.check(hello, prove(other, hello, challenger.challenge))


def test_a_proof_is_for_one_challenge_and_one_relay() -> None:
    private, public = _keys()
    first, second = Challenger(), Challenger()
    hello = _hello(public)
    with pytest.raises(ProofError):
        second.check(hello, prove(private, hello, first.challenge))
    # A relay in the middle that passes on the challenge of another: the node has dialled its name, not the other's.
    with pytest.raises(ProofError):
        first.check(hello, prove(private, _hello(public, "evil.example.org:3000"), first.challenge))


def test_a_key_that_makes_the_same_secret_with_any_other_is_refused() -> None:
    challenger = Challenger()
    with pytest.raises(ProofError):
        challenger.check(_hello(bytes(32)), bytes(32))
    private, public = _keys()
    with pytest.raises(ProofError):
        prove(private, _hello(public), Challenge(bytes(32), bytes(16)))
