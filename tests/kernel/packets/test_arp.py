"""The frames in which neighbours are told of an IPv4 address and asked for it, and what is heard in theirs."""

import pytest

from nodespan.kernel.packets.arp import announcement, claimant, probe_frame

MAC, ADDRESS = bytes.fromhex("020000000007"), bytes([192, 0, 2, 1])
OTHER = bytes.fromhex("020000000009")


def test_an_announcement_is_a_request_for_its_own_address() -> None:
    assert announcement(ADDRESS, MAC).hex() == (
        "ffffffffffff02000000000708060001080006040001020000000007c0000201020000000007c0000201"
    )


def test_a_probe_has_no_sender_address() -> None:
    assert probe_frame(ADDRESS, MAC).hex() == (
        "ffffffffffff0200000000070806000108000604000102000000000700000000000000000000c0000201"
    )


ANSWER = "02000000000702000000000908060001080006040002020000000009c0000201020000000007c0000203"


@pytest.mark.parametrize(
    ("frame", "who"),
    [
        (bytes.fromhex(ANSWER), OTHER),
        (announcement(ADDRESS, OTHER), OTHER),
        # Longer, as frames are that were padded on their way.
        (bytes.fromhex(ANSWER) + bytes(18), OTHER),
        (probe_frame(ADDRESS, OTHER), None),
        (announcement(bytes([192, 0, 2, 2]), OTHER), None),
        (bytes.fromhex(ANSWER)[:-1], None),
        (b"", None),
    ],
)
def test_claims_of_an_address_are_recognized(frame: bytes, who: bytes | None) -> None:
    assert claimant(frame, ADDRESS) == who
