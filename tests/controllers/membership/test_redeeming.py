"""A machine gets to know the mesh that it was invited to, over real TLS."""

import fcntl
import threading
import time
from collections.abc import Iterator, MutableMapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from unittest import mock

import attrs
import pytest
import trio
from google.protobuf.wrappers_pb2 import StringValue
from structlog import get_logger
from structlog.testing import capture_logs

from nodespan.controllers.membership.invitations import UNLIMITED, Invitation, InvitationFile, invite
from nodespan.controllers.membership.redeeming import RedeemError, join_methods, redeem
from nodespan.controllers.membership.token import InvitationToken
from nodespan.controllers.secrets.authority import new_authority
from nodespan.runtime.api.grpc import Code, Method, Peer, RPCError
from tests.controllers.api.nodes import AUTHORITY, NOW, PORT, TOKEN, APINode, api_node

CLUSTER, SECRET = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", "Hx4dHBsaGRgXFhUUExIREA8ODQwLCgkIBwYFBAMCAQA="
MESH = f"""\
cluster: {{clusterName: home}}
---
{{apiVersion: v1alpha1, kind: KubeSpanConfig, enabled: true, mtu: 1380}}
---
{{apiVersion: v1alpha1, kind: DiscoveryIdentityConfig, clusterID: {CLUSTER}, clusterSecret: {SECRET}}}
---
{{apiVersion: v1alpha1, kind: DiscoveryServiceConfig, name: default, endpoint: "https://discovery.example.org/"}}
"""


def token(at: APINode, state_dir: Path, *, uses: int = UNLIMITED) -> InvitationToken:
    invitation, secret = invite(uses=uses, expires=time.time() + 3600)
    InvitationFile(state_dir).add(invitation, time.time())
    return InvitationToken(
        endpoints=(f"{at.address}:{PORT + 1}",),
        authority=AUTHORITY.certificate,
        cluster_id=CLUSTER,
        id=invitation.id,
        secret=secret,
    )


async def refused(invitation: InvitationToken, reason: str) -> None:
    with pytest.raises(RedeemError, match=reason) as error:
        await redeem(invitation)
    assert invitation.secret not in str(error.value)


async def test_a_token_is_worth_the_mesh_as_often_as_it_says(tmp_path: Path) -> None:
    async with api_node(extra=MESH, state_dir=tmp_path) as one:
        invitation = token(one, tmp_path, uses=1)
        described = await redeem(invitation)
        assert described.api == f"[::]:{PORT}"
        mesh = described.mesh
        assert (mesh.cluster_name, mesh.cluster_id, mesh.cluster_secret, mesh.mtu) == ("home", CLUSTER, SECRET, 1380)
        assert [service.url for service in mesh.services] == ["https://discovery.example.org/"]
        assert mesh.token == TOKEN
        assert mesh.authority is not None
        assert (mesh.authority.certificate, mesh.authority.key) == (AUTHORITY.certificate, b"")
        await refused(invitation, "is used up: `nodespan token` makes a new one there")


async def test_of_two_machines_at_once_one_gets_the_last_use(tmp_path: Path) -> None:
    async with api_node(extra=MESH, state_dir=tmp_path) as one:
        invitation, got = token(one, tmp_path, uses=1), []

        async def try_it() -> None:
            try:
                got.append((await redeem(invitation)).mesh.cluster_name)
            except RedeemError as error:
                got.append(str(error))

        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(try_it)
        assert sorted(got)[0] == "home"
        assert "used up" in sorted(got)[1]


async def test_those_without_a_token_get_nothing(tmp_path: Path) -> None:
    async with api_node(extra=MESH, state_dir=tmp_path) as one:
        good = token(one, tmp_path)
        await refused(attrs.evolve(good, secret="0" * 32), "not known there, or was revoked")
        await refused(attrs.evolve(good, authority=new_authority(NOW).certificate), "no control plane answers")
        (tmp_path / "invitations.json").write_text("{")
        await refused(good, r"is damaged: remove it, and make new tokens")


async def test_a_node_outside_of_any_mesh_lets_nobody_in(tmp_path: Path) -> None:
    async with api_node(state_dir=tmp_path) as one:
        await refused(token(one, tmp_path), "part of no mesh")
        assert InvitationFile(tmp_path).read()[0].uses == UNLIMITED


async def test_what_blocks_is_named_at_once(tmp_path: Path) -> None:
    async with api_node(extra=MESH, state_dir=tmp_path) as one:
        closed = attrs.evolve(token(one, tmp_path), endpoints=(f"{one.address}:9",))
        await refused(closed, r"no control plane answers at .*:9: .*refused.*; is its agent running")


@pytest.fixture
def log() -> Iterator[list[MutableMapping[str, Any]]]:
    """What is logged."""
    with capture_logs() as lines:
        yield lines


async def ask(method: Method, text: str) -> Code:
    """Call the method as an unknown machine would; the code of its refusal."""
    call = mock.Mock(peer=Peer(address=ip_address("192.0.2.9"), port=4000))
    with pytest.raises(RPCError) as error:
        await method.handler(StringValue(value=text), call)
    return error.value.code


@pytest.mark.parametrize("wrong", ["", "x", "00000000.", f"00000000.{'0' * 32}", f"00000000.{'0' * 60000}"])
async def test_wrong_tokens_cost_their_sender_nothing_of_ours(
    tmp_path: Path, log: list[MutableMapping[str, Any]], wrong: str
) -> None:
    def describe_mesh() -> None:
        pytest.fail("the mesh was described to a machine without a token")

    (method,) = join_methods(tmp_path, describe_mesh, get_logger())
    with mock.patch.object(fcntl, "flock", side_effect=AssertionError("the file was locked")):
        for _ in range(20):
            assert await ask(method, wrong) == Code.PERMISSION_DENIED
    assert [line["event"] for line in log] == ["a token was refused"]


async def test_wrong_tokens_are_looked_up_one_at_a_time(tmp_path: Path) -> None:
    (method,) = join_methods(tmp_path, lambda: None, get_logger())
    running, most, lock = 0, 0, threading.Lock()
    read = InvitationFile.read

    def counted(file: InvitationFile) -> tuple[Invitation, ...]:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        try:
            return read(file)
        finally:
            with lock:
                running -= 1

    with mock.patch.object(InvitationFile, "read", counted):
        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(ask, method, f"00000000.{'0' * 32}")
    assert most == 1
