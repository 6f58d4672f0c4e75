"""What nodes say of themselves, serialized."""

from typing import Any

import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st

from nodespan.discovery.affiliate import (
    AffiliateData,
    AffiliateError,
    ControlPlanePart,
    KubeSpanPart,
    decode_affiliate,
    decode_endpoint,
    encode_affiliate,
)
from nodespan.discovery.wire import client_pb2, server_pb2
from nodespan.resources.addresses import AddressError
from tests.discovery.samples import affiliates
from tests.support.vectors import cases


def frozen(fields: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in fields.items()}


def data_of(fields: dict[str, Any]) -> AffiliateData:
    values = frozen(fields)
    if "kubespan" in fields:
        values["kubespan"] = KubeSpanPart(**frozen(fields["kubespan"]))
    if "control_plane" in fields:
        values["control_plane"] = ControlPlanePart(**fields["control_plane"])
    return AffiliateData(**values)


@pytest.mark.parametrize("case", cases("affiliate_protobuf"))
def test_known_affiliates(case: dict[str, Any]) -> None:
    data, serialized = data_of(case["fields"]), bytes.fromhex(case["hex"])
    assert decode_affiliate(serialized) == data
    if not case.get("decode_only"):
        assert encode_affiliate(data) == serialized
        message = client_pb2.Affiliate.FromString(serialized)
        assert json_format.MessageToDict(message, preserving_proto_field_name=True) == case["json"]


@pytest.mark.parametrize("case", cases("affiliate_protobuf_reject"))
def test_malformed_affiliates_are_rejected(case: dict[str, Any]) -> None:
    with pytest.raises(AffiliateError):
        decode_affiliate(bytes.fromhex(case["hex"]))


@pytest.mark.parametrize("case", cases("endpoint_decode"))
def test_known_endpoints(case: dict[str, Any]) -> None:
    serialized = bytes.fromhex(case["protobuf_hex"])
    if case["endpoint"] is None:
        with pytest.raises(AddressError):
            decode_endpoint(serialized)
    else:
        assert decode_endpoint(serialized) == case["endpoint"]


@pytest.mark.parametrize("case", cases("server_messages"))
def test_known_messages_to_and_from_the_service(case: dict[str, Any]) -> None:
    kind = getattr(server_pb2, case["message"].rpartition(".")[2])
    message = kind.FromString(bytes.fromhex(case["hex"]))
    assert message == json_format.ParseDict(case["json"], kind())
    assert message.SerializeToString(deterministic=True).hex() == case["hex"]


def test_invalid_fields_are_dropped_individually() -> None:
    message = client_pb2.Affiliate(node_id="a", addresses=[b"", b"\1\2\3", bytes(4), bytes(17)])
    message.kubespan.address = b"\1"
    message.kubespan.additional_addresses.add(ip=b"\1\2")
    message.kubespan.additional_addresses.add(ip=b"", bits=8)
    message.kubespan.additional_addresses.add(ip=b"\n\0\0\0", bits=8)
    assert decode_affiliate(message.SerializeToString()) == AffiliateData(
        node_id="a", addresses=("0.0.0.0",), kubespan=KubeSpanPart(additional_addresses=("10.0.0.0/8",))
    )


@given(affiliates())
def test_every_affiliate_survives_the_wire(data: AffiliateData) -> None:
    assert decode_affiliate(encode_affiliate(data)) == data


@given(st.binary())
def test_garbage_is_an_affiliate_or_an_error(serialized: bytes) -> None:
    try:
        data = decode_affiliate(serialized)
    except AffiliateError:
        return
    assert decode_affiliate(encode_affiliate(data)) == data


@given(st.binary(max_size=60))
def test_garbage_is_an_endpoint_or_an_error(serialized: bytes) -> None:
    try:
        decode_endpoint(serialized)
    except (AffiliateError, AddressError):
        return
