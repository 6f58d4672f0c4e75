"""The identity of a DHCP client: the identifier of DHCPv4 (option 61), and DUID and IAID of DHCPv6.

They must stay the same for as long as a link has its hardware address: servers identify clients by them.
"""

from nodespan.controllers.network.dhcp.malformed import MalformedError
from nodespan.resources.config.network import ClientIdentifier
from nodespan.resources.network import ClientIdentifierSpec

_DUID_LINK_LAYER = 3
# The type in front of an identifier that is made of IAID and DUID (RFC 4361).
_IAID_AND_DUID = 255
_IAID_SIZE = 4
_MOST_DUID, _LEAST_DUID = 130, 3


def iaid_of(hardware_address: bytes) -> bytes:
    """Four bytes that identify a link of the client: the end of its address, which differs."""
    return hardware_address[-_IAID_SIZE:].rjust(_IAID_SIZE, b"\0")


def client_id4(spec: ClientIdentifierSpec, hardware_type: int, hardware_address: bytes) -> bytes:
    """The identifier for DHCPv4, b"" if none is to be sent. Raises MalformedError for an invalid DUID."""
    match spec.client_identifier:
        case ClientIdentifier.NONE:
            return b""
        case ClientIdentifier.MAC:
            return bytes([hardware_type]) + hardware_address
        case ClientIdentifier.DUID:
            return bytes([_IAID_AND_DUID]) + iaid_of(hardware_address) + raw_duid(spec.duid_raw)


def duid6(spec: ClientIdentifierSpec, hardware_type: int, hardware_address: bytes) -> bytes:
    """The DUID for DHCPv6, where a client without one does not exist: `none` is the same as `mac`.

    Raises MalformedError for an invalid DUID.
    """
    if spec.client_identifier == ClientIdentifier.DUID:
        return raw_duid(spec.duid_raw)
    return _DUID_LINK_LAYER.to_bytes(2) + hardware_type.to_bytes(2) + hardware_address


def raw_duid(text: str) -> bytes:
    """The bytes of a DUID in hexadecimal digits, with or without colons. Raises MalformedError."""
    try:
        duid = bytes.fromhex(text.replace(":", ""))
    except ValueError as error:
        raise MalformedError(f"the DUID {text!r} is not made of hexadecimal digits") from error
    if not _LEAST_DUID <= len(duid) <= _MOST_DUID:
        raise MalformedError(f"a DUID has {_LEAST_DUID} to {_MOST_DUID} bytes, {text!r} has {len(duid)}")
    return duid
