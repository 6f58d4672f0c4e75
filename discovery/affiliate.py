"""A node's announcement of itself, and its serialized form, which is encrypted as the data of an affiliate.

Decoding is lenient where a part can be left out and strict where it cannot: an invalid address, prefix or endpoint
is left out, unknown fields are skipped, but bytes that do not parse are an error. Encoding is
canonical: the same value gives the same bytes, fields in the order of their numbers, without zero values.

    in                                          out
    an invalid address or prefix                left out
    an invalid KubeSpan address                 ""
    KubeSpan or control plane, but empty        present (None is absent)
    machine type                                the text as received: the reader interprets it
"""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import attrs
from google.protobuf.message import DecodeError

from nodespan.discovery.wire import client_pb2
from nodespan.resources.addresses import (
    AddressError,
    decode_address,
    encode_address,
    join_endpoint,
    join_prefix,
    split_endpoint,
    split_prefix,
)

T = TypeVar("T")


class AffiliateError(ValueError):
    """The bytes are not a valid affiliate."""


@attrs.frozen(kw_only=True)
class KubeSpanPart:
    """The node's part in the mesh: a base64 key, an address, and prefixes as configured."""

    public_key: str = ""
    address: str = ""
    additional_addresses: tuple[str, ...] = ()
    exclude_advertised_addresses: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class ControlPlanePart:
    """The port at which the node serves the Kubernetes API."""

    api_server_port: int = 0


@attrs.frozen(kw_only=True)
class AffiliateData:
    """One node, as announced by itself."""

    node_id: str = ""
    addresses: tuple[str, ...] = ()
    hostname: str = ""
    nodename: str = ""
    machine_type: str = ""
    operating_system: str = ""
    kubespan: KubeSpanPart | None = None
    control_plane: ControlPlanePart | None = None


def encode_affiliate(data: AffiliateData) -> bytes:
    """The canonical bytes. Raises AddressError for an invalid address or prefix."""
    message = client_pb2.Affiliate(
        node_id=data.node_id,
        addresses=[encode_address(address) for address in data.addresses],
        hostname=data.hostname,
        nodename=data.nodename,
        machine_type=data.machine_type,
        operating_system=data.operating_system,
    )
    if (kubespan := data.kubespan) is not None:
        message.kubespan.SetInParent()
        message.kubespan.public_key = kubespan.public_key
        message.kubespan.address = encode_address(kubespan.address)
        message.kubespan.additional_addresses.extend(map(_prefix_message, kubespan.additional_addresses))
        message.kubespan.exclude_advertised_addresses.extend(
            map(_prefix_message, kubespan.exclude_advertised_addresses)
        )
    if data.control_plane is not None:
        message.control_plane.SetInParent()
        message.control_plane.api_server_port = data.control_plane.api_server_port
    return message.SerializeToString(deterministic=True)


def decode_affiliate(serialized: bytes) -> AffiliateData:
    """The affiliate in these bytes. Raises AffiliateError."""
    try:
        message = client_pb2.Affiliate.FromString(serialized)
    except (DecodeError, UnicodeDecodeError) as error:
        raise AffiliateError("the bytes are not a serialized affiliate") from error
    kubespan = None
    if message.HasField("kubespan"):
        part = message.kubespan
        kubespan = KubeSpanPart(
            public_key=part.public_key,
            address=next(_valid(decode_address, [part.address]), ""),
            additional_addresses=tuple(_valid(_prefix_text, part.additional_addresses)),
            exclude_advertised_addresses=tuple(_valid(_prefix_text, part.exclude_advertised_addresses)),
        )
    control_plane = None
    if message.HasField("control_plane"):
        control_plane = ControlPlanePart(api_server_port=message.control_plane.api_server_port)
    return AffiliateData(
        node_id=message.node_id,
        addresses=tuple(filter(None, _valid(decode_address, message.addresses))),
        hostname=message.hostname,
        nodename=message.nodename,
        machine_type=message.machine_type,
        operating_system=message.operating_system,
        kubespan=kubespan,
        control_plane=control_plane,
    )


def encode_endpoint(endpoint: str) -> bytes:
    """The serialized form of `ip:port`. Raises AddressError."""
    ip, port = split_endpoint(endpoint)
    return client_pb2.Endpoint(ip=ip, port=port).SerializeToString(deterministic=True)


def decode_endpoint(serialized: bytes) -> str:
    """The endpoint in these bytes. Raises AffiliateError or AddressError."""
    try:
        message = client_pb2.Endpoint.FromString(serialized)
    except DecodeError as error:
        raise AffiliateError("the bytes are not a serialized endpoint") from error
    return join_endpoint(message.ip, message.port)


def _prefix_message(text: str) -> client_pb2.IPPrefix:
    ip, bits = split_prefix(text)
    return client_pb2.IPPrefix(ip=ip, bits=bits)


def _prefix_text(message: client_pb2.IPPrefix) -> str:
    return join_prefix(message.ip, message.bits)


def _valid(decode: Callable[[T], str], items: Iterable[T]) -> Iterator[str]:
    for item in items:
        try:
            yield decode(item)
        except AddressError:
            # The rest of the affiliate is usable without it.
            continue
