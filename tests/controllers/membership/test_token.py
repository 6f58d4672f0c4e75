"""Tokens: one line, whole or refused."""

import datetime

import attrs
import pytest

from nodespan.controllers.membership.machine_config import DiscoveryService, Mesh, new_mesh
from nodespan.controllers.membership.token import (
    Description,
    InvitationToken,
    Token,
    TokenError,
    cluster_of,
    decode,
    encode,
    listening_everywhere,
)
from nodespan.controllers.secrets.authority import new_authority
from nodespan.controllers.secrets.key_pair import KeyPair

AUTHORITY = new_authority(datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC))
MESH = new_mesh("home", "https://discovery.example.org:3000/", authority=AUTHORITY)
INVITATION = InvitationToken(
    endpoints=("192.0.2.1:50001", "[2001:db8::1]:50001"),
    authority=AUTHORITY.certificate,
    cluster_id=MESH.cluster_id,
    id="0a0b0c0d",
    secret="00112233445566778899aabbccddeeff",
)
FULL = attrs.evolve(
    MESH,
    services=(DiscoveryService(name="one", url="https://one.example.org/"), DiscoveryService(name="two")),
    trusted_roots=(("discovery", AUTHORITY.certificate.decode()),),
    harvest_extra_endpoints=True,
    mtu=1380,
    endpoint_filters=(),
    exclude_advertised_networks=("198.51.100.0/24",),
    relays=("https://discovery.example.org:3000/", "https://relay.example.org:3443"),
)
BARE = Mesh(cluster_name="", cluster_id=MESH.cluster_id, cluster_secret=MESH.cluster_secret)


def without_key(mesh: Mesh) -> Mesh:
    return attrs.evolve(mesh, authority=mesh.authority and KeyPair(mesh.authority.certificate))


@pytest.mark.parametrize(
    "token",
    [INVITATION, *(Description(mesh=without_key(mesh), api="[::]:50000") for mesh in (MESH, FULL, BARE))],
    ids=["invitation", "usual", "full", "bare"],
)
def test_a_token_is_one_word_and_says_all(token: Token) -> None:
    line = encode(token)
    assert line.replace("_", "").replace("-", "").isalnum()
    assert decode(f"  {line}\n") == token
    assert cluster_of(decode(line)) == MESH.cluster_id


def test_lines_that_a_mail_has_broken_are_one_again() -> None:
    line = encode(INVITATION)
    assert decode("\n".join(line[at : at + 70] for at in range(0, len(line), 70))) == INVITATION


def test_the_key_of_the_authority_is_in_no_token() -> None:
    said = decode(encode(Description(mesh=MESH)))
    assert isinstance(said, Description)
    assert said.mesh.authority is not None
    assert said.mesh.authority.key == b""


def test_the_secrets_of_the_mesh_are_not_in_an_invitation() -> None:
    assert MESH.cluster_secret not in repr(decode(encode(INVITATION)))
    assert "secret" not in repr(Description(mesh=MESH))
    assert INVITATION.secret not in repr(INVITATION)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "there is no token"),
        ("hello", "begins with nst1_"),
        ("nst1_", "begins with nst1_"),
        (f"nst1_{'A' * 70000}", "begins with nst1_"),
        ("nst1_AAAA", "damaged"),
        (encode(INVITATION)[:-40], "cut off|damaged"),
        (encode(INVITATION)[:60] + encode(INVITATION)[64:], "damaged|cut off"),
    ],
)
def test_what_is_no_token_is_refused_without_showing_it(text: str, reason: str) -> None:
    with pytest.raises(TokenError, match=reason) as refused:
        decode(text)
    assert len(text) < 10 or text not in str(refused.value)


def test_a_token_of_another_version_is_told_apart_from_a_damaged_one() -> None:

    import base64
    import json
    import zlib

    packed = zlib.compress(json.dumps({"at": ["192.0.2.1:50001"], "pin": "x"}).encode())
    with pytest.raises(TokenError, match="another version"):
        decode("nst1_" + base64.urlsafe_b64encode(packed).decode().rstrip("="))


def test_the_api_of_a_new_node_listens_at_the_same_port() -> None:
    assert listening_everywhere("192.0.2.1:50000") == listening_everywhere("[::]:50000") == "[::]:50000"
    assert listening_everywhere("") == ""
