"""Who may read and write what over the State service."""

import ipaddress
from pathlib import Path
from typing import Any

import pytest
import trio

from nodespan.runtime.api.cosi.roles import ADMIN, OPERATOR, READER, local_roles, role_rule
from nodespan.runtime.api.grpc import Call, Code, Method, Peer, RPCError, Status
from nodespan.runtime.resource import ResourceType
from nodespan.runtime.state import MemoryState
from nodespan.runtime.state.filtered import FilteredState
from nodespan.runtime.state.meta import register_types
from tests.runtime.api.cosi.client import Cosi, Thing, ThingSpec, serving
from tests.runtime.api.cosi.test_service import THING, thing
from tests.support.deadlines import PATIENCE

Secret = ResourceType("Secrets.test.nodespan.dev", ThingSpec, namespace="test", sensitive=True)
SECRET: dict[str, Any] = {"namespace": "test", "type": Secret.name}
WATCH: dict[str, Any] = {"options": {"bootstrap_contents": True}}


class _Nowhere:
    async def send(self, data: bytes) -> None:
        raise AssertionError

    def offer(self, data: bytes) -> bool:
        raise AssertionError

    def end(self, status: Status) -> None:
        raise AssertionError


async def _nothing(_request: Any, _call: Call) -> None:
    raise AssertionError


def call(peer: Peer) -> Call:
    """A call of this peer."""
    method = Method("/cosi.resource.State/Get", Any, _nothing, is_stream=False)  # type: ignore[arg-type]
    return Call(method, peer, (), float("inf"), _Nowhere())


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


def test_whoever_may_connect_to_a_unix_socket_is_an_administrator_and_nobody_else() -> None:
    assert local_roles(call(Peer())) == {ADMIN}
    with pytest.raises(RPCError) as refused:
        local_roles(call(Peer(address=ipaddress.ip_address("192.0.2.1"), port=1)))
    assert refused.value.code is Code.UNAUTHENTICATED


async def test_a_refusal_to_find_roles_ends_the_call(tmp_path: Path) -> None:
    def visible(_call: Call) -> MemoryState:
        raise RPCError(Code.UNAUTHENTICATED, "no certificate was shown")

    async with serving(tmp_path / "s", visible=visible) as served:
        with trio.fail_after(PATIENCE):
            found = await served.use(lambda cosi: cosi.code("Get", **THING, id="a"))
    assert found == ("UNAUTHENTICATED", "no certificate was shown")
