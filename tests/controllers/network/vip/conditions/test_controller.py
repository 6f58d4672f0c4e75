"""Conditions against real sockets, a real page, and resources of the state."""

import contextlib
import datetime
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from nodespan.controllers.common.wall_offset import WallOffset
from nodespan.controllers.network.vip.conditions.controller import VIPConditionController
from nodespan.resources.config import (
    MACHINE_CONFIG_ID,
    MachineConfig,
    MachineConfigSpec,
    NodespanConfig,
    TCPProbeConfig,
)
from nodespan.resources.config.nodespan import VipSettings
from nodespan.resources.config.vip_condition import VipCondition
from nodespan.resources.network import LinkStatus, LinkStatusSpec, OperationalState, ProbeStatus, ProbeStatusSpec
from nodespan.resources.network.vip_condition import VIPCondition
from nodespan.runtime.codec.plain import parse_time
from nodespan.runtime.controller import Controller, ControllerContext, exclusive
from nodespan.runtime.process.boot_time import boot_time
from nodespan.runtime.testing.kit import Node, running
from tests.support.certificates import Authority
from tests.support.deadlines import PATIENCE

SOON = datetime.timedelta(milliseconds=20)


class LinkOwner(Controller):
    """Makes the type known, as the controller of links does."""

    name = "test.LinkOwner"
    outputs = (exclusive(LinkStatus),)

    async def run(self, ctx: ControllerContext) -> None:
        async for _ in ctx:
            pass


async def configure(node: Node, *conditions: VipCondition) -> None:
    spec = MachineConfigSpec(nodespan=NodespanConfig(vip=VipSettings(conditions=conditions)))
    await node.state.modify(MachineConfig.new(MACHINE_CONFIG_ID, spec), lambda known: known.with_spec(spec))


@contextlib.asynccontextmanager
async def listening(answer: bytes = b"") -> AsyncIterator[int]:
    """A server that sends this to whoever connects and has said something, or only takes connections."""

    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            if answer:
                await stream.receive_some()
                await stream.send_all(answer)

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


async def expect(node: Node, name: str, *, ok: bool, reason: str = "") -> None:
    with trio.fail_after(PATIENCE):
        while True:
            found = node.state.find(VIPCondition, name)
            if found is not None and found.spec.ok is ok and reason in found.spec.reason:
                return
            await trio.sleep(0.01)


async def test_a_port_must_take_connections() -> None:
    async with running(VIPConditionController()) as node:
        async with listening() as port:
            condition = VipCondition(tcp=f"127.0.0.1:{port}", interval=SOON)
            await configure(node, condition)
            await expect(node, f"tcp/127.0.0.1:{port}", ok=True)
        await expect(node, f"tcp/127.0.0.1:{port}", ok=False, reason="no connection: ")
        await configure(node)
        await node.gone(VIPCondition, condition.name)


@pytest.mark.parametrize(
    ("status", "ok", "reason"),
    [("200 OK", True, ""), ("204 No Content", True, ""), ("503 Busy", False, "503"), ("302 Found", False, "302")],
)
async def test_a_page_must_answer_with_success(status: str, ok: bool, reason: str) -> None:
    answer = f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()
    async with running(VIPConditionController()) as node, listening(answer) as port:
        condition = VipCondition(http=f"http://127.0.0.1:{port}/ready", interval=SOON)
        await configure(node, condition)
        await expect(node, condition.name, ok=ok, reason=reason)


async def test_what_answers_too_late_does_not_hold() -> None:
    async with running(VIPConditionController()) as node, listening() as port:
        timeout = datetime.timedelta(milliseconds=50)
        silent = VipCondition(http=f"http://127.0.0.1:{port}/", interval=SOON, timeout=timeout)
        # It closes the connection without an answer, or is not asked at all.
        await configure(node, silent)
        await expect(node, silent.name, ok=False, reason="no answer")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"SSH-2.0-OpenSSH\r\n", "no answer: "),
        (b"HTTP/1.1 100 Continue\r\n\r\n", "no answer: the server closed the connection without an answer"),
    ],
)
async def test_what_is_no_page_does_not_hold(answer: bytes, reason: str) -> None:
    async with running(VIPConditionController()) as node, listening(answer) as port:
        condition = VipCondition(http=f"http://127.0.0.1:{port}/", interval=SOON)
        await configure(node, condition)
        await expect(node, condition.name, ok=False, reason=reason)


@pytest.mark.parametrize("is_trusted", [True, False])
async def test_a_page_over_tls_needs_a_certificate_of_the_authority(tmp_path: Path, is_trusted: bool) -> None:
    authority = Authority("pages")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue(tmp_path, "127.0.0.1"))
    asked: list[bytes] = []
    (tmp_path / "ca.crt").write_bytes((authority if is_trusted else Authority("another")).pem)

    async def serve(stream: trio.SocketStream) -> None:
        secure = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
        with contextlib.suppress(trio.BrokenResourceError):
            asked.append(bytes(await secure.receive_some()))
            await secure.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")

    async with running(VIPConditionController()) as node, trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        url = f"https://127.0.0.1:{listener.socket.getsockname()[1]}/ready?full"
        condition = VipCondition(
            http=url, ca=str(tmp_path / "ca.crt"), interval=SOON, timeout=datetime.timedelta(seconds=10)
        )
        await configure(node, condition)
        reason = "" if is_trusted else "its certificate is refused: "
        await expect(node, condition.name, ok=is_trusted, reason=reason)
        nursery.cancel_scope.cancel()
    assert any(each.startswith(b"GET /ready?full HTTP/1.1\r\n") for each in asked) is is_trusted


async def test_a_missing_ca_file_is_named() -> None:
    async with running(VIPConditionController()) as node:
        condition = VipCondition(http="https://127.0.0.1:1/", ca="/nowhere/ca.crt", interval=SOON)
        await configure(node, condition)
        await expect(node, condition.name, ok=False, reason="/nowhere/ca.crt")


async def test_a_ca_file_that_was_cut_off_is_named(tmp_path: Path) -> None:
    file = tmp_path / "ca.crt"
    file.write_bytes(Authority("a").pem + Authority("b").pem[:20])
    async with running(VIPConditionController()) as node:
        condition = VipCondition(http="https://127.0.0.1:1/", ca=str(file), interval=SOON)
        await configure(node, condition)
        await expect(node, condition.name, ok=False, reason="is cut off")


@pytest.mark.process
async def test_a_unit_must_be_active() -> None:
    async with running(VIPConditionController()) as node:
        condition = VipCondition(unit="nodespan-no-such.service", interval=SOON, timeout=datetime.timedelta(seconds=10))
        await configure(node, condition)
        await expect(node, condition.name, ok=False)


async def test_a_probe_must_succeed() -> None:
    document = TCPProbeConfig(name="gw", endpoint="10.0.0.1:22")
    condition = VipCondition(probe="gw", interval=SOON, failures=1)
    settings = NodespanConfig(vip=VipSettings(conditions=(condition,)))
    async with running(VIPConditionController()) as node:
        await node.put(MachineConfig, MACHINE_CONFIG_ID, MachineConfigSpec(nodespan=settings))
        await expect(node, "probe/gw", ok=False, reason="there is no probe of this name")
        spec = MachineConfigSpec(nodespan=settings, documents=(document,))
        await node.put(MachineConfig, MACHINE_CONFIG_ID, spec)
        await expect(node, "probe/gw", ok=False, reason="no result yet")
        await node.put(ProbeStatus, "tcp:10.0.0.1:22", ProbeStatusSpec(success=True))
        await expect(node, "probe/gw", ok=True)
        await node.put(ProbeStatus, "tcp:10.0.0.1:22", ProbeStatusSpec(last_error="dial tcp 10.0.0.1:22: no"))
        await expect(node, "probe/gw", ok=False, reason="dial tcp 10.0.0.1:22: no")


async def test_a_resource_must_be_as_expected() -> None:
    async with running(VIPConditionController(), LinkOwner()) as node:
        condition = VipCondition(
            resource="links/eth1",
            json_path=".spec.operationalState",
            equals="up",
            failures=1,
            interval=datetime.timedelta(hours=1),
        )
        await configure(node, condition)
        await expect(node, "resource/links/eth1", ok=False, reason="no such resource")
        up = LinkStatusSpec(operational_state=OperationalState.UP)
        await node.create(LinkStatus.new("eth1", up))
        await expect(node, "resource/links/eth1", ok=True)
        down = LinkStatusSpec(operational_state=OperationalState.DOWN)
        await node.state.modify(LinkStatus.new("eth1", down), lambda known: known.with_spec(down))
        await expect(node, "resource/links/eth1", ok=False, reason="is 'down', not 'up'")


async def test_an_unknown_type_is_named() -> None:
    async with running(VIPConditionController()) as node:
        await configure(node, VipCondition(resource="lynks/eth1", interval=SOON))
        await expect(node, "resource/lynks/eth1", ok=False, reason="no such type is registered: 'lynks'")


async def test_a_change_of_one_condition_leaves_the_others_running() -> None:
    async with running(VIPConditionController()) as node, listening() as port:
        kept = VipCondition(tcp=f"127.0.0.1:{port}", interval=SOON)
        await configure(node, kept, VipCondition(tcp="127.0.0.1:1", interval=SOON))
        await expect(node, kept.name, ok=True)
        await expect(node, "tcp/127.0.0.1:1", ok=False)
        since = node.state.get(VIPCondition, kept.name).spec.since
        await configure(node, kept)
        await node.gone(VIPCondition, "tcp/127.0.0.1:1")
        assert node.state.get(VIPCondition, kept.name).spec.since == since


@pytest.mark.parametrize("step", [3600.0, -3600.0])
async def test_a_step_of_the_wall_clock_corrects_since_when_a_condition_fails(step: float) -> None:
    ahead = 1_000_000.0
    clock = WallOffset(boot_time, lambda: boot_time() + ahead)
    async with running(VIPConditionController(clock=clock)) as node, listening() as port:
        condition = VipCondition(tcp=f"127.0.0.1:{port}", interval=SOON)
        await configure(node, condition)
        await expect(node, condition.name, ok=True)
        before = node.state.get(VIPCondition, condition.name).spec
        ahead += step
        after = (await node.eventually(VIPCondition, condition.name, lambda found: found.spec != before)).spec
        assert parse_time(after.since) - parse_time(before.since) == step * 10**9
        assert after.ok
