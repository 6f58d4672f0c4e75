"""Who may read and write what over the State service, and where roles come from."""

import datetime
import ipaddress
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from nodespan.runtime.api.cosi.roles import ADMIN, OPERATOR, READER, certificate_roles, local_roles, role_rule
from nodespan.runtime.api.grpc import Call, Code, Method, Peer, RPCError
from nodespan.runtime.resource import ResourceType
from nodespan.runtime.state import MemoryState
from nodespan.runtime.state.filtered import FilteredState
from nodespan.runtime.state.meta import register_types
from tests.runtime.api.cosi.client import Cosi, Thing, ThingSpec, serving
from tests.runtime.api.cosi.test_service import THING, thing

Secret = ResourceType("Secrets.test.nodespan.dev", ThingSpec, namespace="test", sensitive=True)
SECRET: dict[str, Any] = {"namespace": "test", "type": Secret.name}
WATCH: dict[str, Any] = {"options": {"bootstrap_contents": True}}
ROLES = certificate_roles("x-role")


class _Nowhere:
    async def send(self, data: bytes) -> None:
        raise AssertionError

    def offer(self, data: bytes) -> bool:
        raise AssertionError


async def _nothing(_request: Any, _call: Call) -> None:
    raise AssertionError


def call(peer: Peer, *metadata: tuple[str, str]) -> Call:
    """A call of this peer."""
    method = Method("/cosi.resource.State/Get", Any, _nothing, is_stream=False)  # type: ignore[arg-type]
    return Call(method, peer, metadata, float("inf"), _Nowhere())


def certificate(*organizations: str) -> bytes:
    """One whose subject has these organizations."""
    key = ec.generate_private_key(ec.SECP256R1())
    names = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, each) for each in organizations]
    name = x509.Name([*names, x509.NameAttribute(NameOID.COMMON_NAME, "somebody")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.DER)


def remote(*organizations: str) -> Peer:
    """A peer with a certificate."""

    return Peer(address=ipaddress.ip_address("192.0.2.1"), port=1, certificate=certificate(*organizations))


async def _filled() -> MemoryState:
    state = MemoryState()
    await register_types(state, [Thing, Secret])
    await state.create(Thing.new("a", ThingSpec()))
    await state.create(Secret.new("s", ThingSpec("hidden")))
    return state


@pytest.mark.parametrize(
    ("roles", "reads", "reads_secrets", "writes"),
    [
        ({ADMIN}, True, True, True),
        ({OPERATOR}, True, False, False),
        ({READER}, True, False, False),
        ({READER, ADMIN}, True, True, True),
        ({"os:etcd:backup"}, False, False, False),
        (set(), False, False, False),
    ],
)
async def test_what_a_role_may(
    tmp_path: Path, roles: set[str], *, reads: bool, reads_secrets: bool, writes: bool
) -> None:
    state = await _filled()
    shown = FilteredState(state, role_rule(state, frozenset(roles)))

    def work(cosi: Cosi) -> None:
        def may(method: str, **fields: Any) -> bool:
            code, text = cosi.code(method, **fields)
            assert code in ("OK", "PERMISSION_DENIED")
            assert "hidden" not in text
            return code == "OK"

        assert may("Get", **THING, id="a") is reads
        assert may("List", **THING) is reads
        assert may("Get", **SECRET, id="s") is reads_secrets
        assert may("List", **SECRET) is reads_secrets
        for kind, allowed in ((THING, reads), (SECRET, reads_secrets)):
            if allowed:
                cosi.watch(**kind, **WATCH).end()
            else:
                assert not may("Watch", **kind, **WATCH)
                assert not may("Watch", **kind, id="s")
        assert may("Create", resource=thing("new")) is writes
        assert may("Update", new_resource=thing("a", "1")) is writes
        assert may("Teardown", **THING, id="a") is writes
        assert may("Destroy", **THING, id="a") is writes

    async with serving(tmp_path / "s", state, visible=lambda _call: shown) as served:
        await served.use(work)


async def test_unknown_types_and_namespaces_are_denied_not_empty(tmp_path: Path) -> None:
    state = await _filled()
    shown = FilteredState(state, role_rule(state, frozenset({ADMIN})))

    def work(cosi: Cosi) -> None:
        for fields in ({**THING, "type": "Others.test.nodespan.dev"}, {**THING, "namespace": "elsewhere"}):
            for method in ("List", "Watch"):
                assert cosi.code(method, **fields)[0] == "PERMISSION_DENIED"
            assert cosi.code("Get", **fields, id="a")[0] == "PERMISSION_DENIED"
        # Another spelling of a registered name is another type.
        assert cosi.code("List", namespace="test", type=Secret.name.lower())[0] == "PERMISSION_DENIED"

    async with serving(tmp_path / "s", state, visible=lambda _call: shown) as served:
        await served.use(work)


def test_roles_are_the_organizations_of_a_certificate() -> None:
    assert ROLES(call(remote(ADMIN, "people"))) == {ADMIN, "people"}
    assert ROLES(call(remote(READER), ("x-role", ADMIN))) == {READER}
    assert ROLES(call(remote())) == set()


def test_one_that_acts_for_others_has_the_roles_that_it_names() -> None:
    peer = remote("os:impersonator", ADMIN)
    assert ROLES(call(peer, ("x-role", READER), ("x-role", OPERATOR))) == {READER, OPERATOR}
    assert ROLES(call(peer)) == set()


def test_without_a_certificate_nobody_has_roles_but_on_a_unix_socket() -> None:
    assert local_roles(call(Peer())) == {ADMIN}
    stranger = attrs.evolve(remote(), certificate=None)
    for find in (ROLES, local_roles):
        with pytest.raises(RPCError) as refused:
            find(call(stranger))
        assert refused.value.code is Code.UNAUTHENTICATED


async def test_a_refusal_to_find_roles_ends_the_call(tmp_path: Path) -> None:
    def visible(_call: Call) -> MemoryState:
        raise RPCError(Code.UNAUTHENTICATED, "no certificate was shown")

    async with serving(tmp_path / "s", visible=visible) as served:
        with trio.fail_after(30):
            found = await served.use(lambda cosi: cosi.code("Get", **THING, id="a"))
    assert found == ("UNAUTHENTICATED", "no certificate was shown")
