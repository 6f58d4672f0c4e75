"""What the tracker of connections is told about one, byte by byte. Whether the kernel takes it: tests/mesh."""

from ipaddress import ip_address

import pytest

from nodespan.kernel.packet_filter.connections import Connection, entry
from nodespan.kernel.rtnetlink import members


def read(data: bytes) -> dict[int, bytes]:
    return dict(members(data))


@pytest.mark.parametrize(
    ("local", "peer", "family", "numbers"),
    [("192.0.2.1", "198.51.100.7", 2, (1, 2)), ("2001:db8::1", "2001:db8:1::7", 10, (3, 4))],
)
def test_an_entry_has_both_ways_of_the_connection(local: str, peer: str, family: int, numbers: tuple[int, int]) -> None:
    body = entry(Connection(local=ip_address(local), local_port=22, peer=ip_address(peer), peer_port=51000))
    assert body[:4] == bytes((family, 0, 0, 0))
    found = read(body[4:])
    source, destination = numbers
    for number, (first, first_port), (second, second_port) in (
        (1, (peer, 51000), (local, 22)),
        (2, (local, 22), (peer, 51000)),
    ):
        way = read(found[number])
        assert read(way[1]) == {source: ip_address(first).packed, destination: ip_address(second).packed}
        assert read(way[2]) == {1: b"\x06", 2: first_port.to_bytes(2), 3: second_port.to_bytes(2)}
    # Seen both ways, and confirmed; established, with any window; for five days.
    assert found[3] == (2 | 4 | 8).to_bytes(4)
    assert read(read(found[4])[1]) == {1: b"\x03", 4: b"\x08\x08", 5: b"\x08\x08"}
    assert found[7] == (432_000).to_bytes(4)
