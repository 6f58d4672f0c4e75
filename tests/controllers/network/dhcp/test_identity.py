"""The identities of clients."""

import pytest

from nodespan.controllers.network.dhcp.identity import client_id4, duid6, iaid_of, raw_duid
from nodespan.controllers.network.dhcp.malformed import MalformedError
from nodespan.resources.config.network import ClientIdentifier
from nodespan.resources.network import ClientIdentifierSpec

MAC = bytes.fromhex("020000abcdef")
DUID = ClientIdentifierSpec(client_identifier=ClientIdentifier.DUID, duid_raw="00:03:00:01:aa:bb:cc:dd:ee:ff")


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (ClientIdentifierSpec(client_identifier=ClientIdentifier.NONE), ""),
        (ClientIdentifierSpec(client_identifier=ClientIdentifier.MAC), "01020000abcdef"),
        (DUID, "ff00abcdef00030001aabbccddeeff"),
    ],
)
def test_the_identifier_of_dhcpv4(spec: ClientIdentifierSpec, expected: str) -> None:
    assert client_id4(spec, 1, MAC).hex() == expected


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (ClientIdentifierSpec(client_identifier=ClientIdentifier.NONE), "00030001020000abcdef"),
        (ClientIdentifierSpec(client_identifier=ClientIdentifier.MAC), "00030001020000abcdef"),
        (DUID, "00030001aabbccddeeff"),
    ],
)
def test_the_duid_of_dhcpv6(spec: ClientIdentifierSpec, expected: str) -> None:
    assert duid6(spec, 1, MAC).hex() == expected


@pytest.mark.parametrize(
    ("address", "expected"), [(MAC, "00abcdef"), (b"\1", "00000001"), (bytes(range(20)), "10111213")]
)
def test_links_are_identified_by_the_end_of_their_address(address: bytes, expected: str) -> None:
    assert iaid_of(address).hex() == expected


@pytest.mark.parametrize("text", ["", "0001", "xyz", "000", "00" * 131])
def test_an_invalid_duid_is_refused(text: str) -> None:
    with pytest.raises(MalformedError, match="DUID"):
        raw_duid(text)
