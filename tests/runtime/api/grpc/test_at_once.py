"""Calls that are answered as they are read, without a task of their own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import h2.events
import pytest
import trio
from google.protobuf.wrappers_pb2 import BytesValue

from nodespan.runtime.api.grpc import AtOnce, Call, Code, Limits, RPCError, Service, frame, methods, unary
from tests.runtime.api.grpc.greeter import PATH, Greeter, RawClient, raw, serving


@attrs.define(slots=False)
class QuickGreeter(Greeter):
    """Its methods answer at once, if a call is admitted so; `turned` counts those that were not."""

    admits: bool = True
    turned: int = 0
    wake: trio.Event = attrs.field(factory=trio.Event)

    def service(self, limits: Limits) -> Service:
        return attrs.evolve(
            super().service(limits),
            methods=methods(
                unary(f"{PATH}/Echo", BytesValue, AtOnce(self.echo)),
                unary(f"{PATH}/Short", BytesValue, AtOnce(self.echo, lambda request: len(request.value) < 10)),
                unary(f"{PATH}/Fail", BytesValue, AtOnce(self.fail)),
                unary(f"{PATH}/Wait", BytesValue, AtOnce(self.waits)),
                unary(f"{PATH}/Park", BytesValue, AtOnce(self.parks)),
                unary(f"{PATH}/Large", BytesValue, AtOnce(self.a_large_one)),
            ),
            admit=self.admit,
            admit_at_once=lambda _call: self.admits,
        )

    async def admit(self, _call: Call) -> None:
        self.turned += 1
        await trio.lowlevel.checkpoint()

    async def waits(self, request: BytesValue, call: Call) -> BytesValue:
        self.calls.append(call)
        await trio.lowlevel.checkpoint()
        return request

    async def parks(self, request: BytesValue, call: Call) -> BytesValue:
        self.calls.append(call)
        await self.wake.wait()
        return request

    async def a_large_one(self, _request: BytesValue, call: Call) -> bytes:
        self.calls.append(call)
        return frame(BytesValue(value=self.large).SerializeToString())


class _Tasks(trio.abc.Instrument):
    """Counts the tasks that calls are given."""

    def __init__(self) -> None:
        self.started = 0

    def task_spawned(self, task: trio.lowlevel.Task) -> None:
        self.started += task.name.endswith("Stream.run")


@asynccontextmanager
async def _calling(*, admits: bool = True) -> AsyncIterator[tuple[QuickGreeter, RawClient, _Tasks]]:
    tasks = _Tasks()
    trio.lowlevel.add_instrument(tasks)
    try:
        async with serving(greeter=QuickGreeter(admits=admits)) as greeter, raw(greeter) as client:
            assert isinstance(greeter, QuickGreeter)
            yield greeter, client, tasks
    finally:
        trio.lowlevel.remove_instrument(tasks)


def _request(value: bytes) -> bytes:
    return frame(BytesValue(value=value).SerializeToString())


async def _answer(client: RawClient, name: str, value: bytes = b"abc") -> tuple[bytes, dict[str, str]]:
    """The body of an answer, and the fields after it."""
    id = client.request(f"{PATH}/{name}", _request(value))
    await client.flush()
    body = b""
    fields: dict[Any, Any] = {}
    while True:
        event = await client.until(h2.events.Event)
        match event:
            case h2.events.DataReceived():
                body += event.data
                client.machine.acknowledge_received_data(event.flow_controlled_length, id)
                await client.flush()
            case h2.events.ResponseReceived() | h2.events.TrailersReceived():
                fields |= dict(event.headers)
            case h2.events.StreamEnded():
                return body, fields


async def test_a_call_has_no_task() -> None:
    async with _calling() as (greeter, client, tasks):
        for value in (b"a", b"b", b"c"):
            body, fields = await _answer(client, "Echo", value)
            assert (body, fields["grpc-status"]) == (_request(value), "0")
        assert tasks.started == 0
        assert [status.code for _, status in greeter.finished] == [Code.OK] * 3
        assert [call.sent for call in greeter.calls] == [1] * 3


async def test_a_handler_that_applies_to_some_requests_has_a_task_for_the_others() -> None:
    async with _calling() as (greeter, client, tasks):
        for value in (b"short", b"longer than ten"):
            body, _ = await _answer(client, "Short", value)
            assert body == _request(value)
        assert tasks.started == 1
        # It was admitted before its request was looked at, and is admitted once.
        assert (len(greeter.calls), len(greeter.finished), greeter.turned) == (2, 2, 0)


async def test_a_call_that_has_to_wait_for_its_turn_has_a_task() -> None:
    async with _calling(admits=False) as (greeter, client, tasks):
        body, fields = await _answer(client, "Echo")
        assert (body, fields["grpc-status"]) == (_request(b"abc"), "0")
        assert (tasks.started, greeter.turned, len(greeter.calls), len(greeter.finished)) == (1, 1, 1, 1)


async def test_an_answer_that_does_not_fit_is_sent_by_a_task_and_made_once() -> None:
    async with _calling() as (greeter, client, tasks):
        body, fields = await _answer(client, "Large")
        assert (body, fields["grpc-status"]) == (_request(greeter.large), "0")
        assert (tasks.started, len(greeter.calls), len(greeter.finished)) == (1, 1, 1)
        assert greeter.calls[0].sent == 1
        assert greeter.sources.held == 0


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        pytest.param("Fail", bytes([Code.NOT_FOUND]), Code.NOT_FOUND, id="refused"),
        pytest.param("Fail", b"", Code.INTERNAL, id="a mistake"),
        pytest.param("Wait", b"", Code.INTERNAL, id="it waits"),
    ],
)
async def test_errors_are_those_of_other_calls_and_the_connection_goes_on(name: str, value: bytes, code: Code) -> None:
    async with _calling() as (greeter, client, tasks):
        body, fields = await _answer(client, name, value)
        assert (body, fields["grpc-status"]) == (b"", str(int(code)))
        assert "secret" not in fields.get("grpc-message", "")
        assert [status.code for _, status in greeter.finished] == [code]
        body, _ = await _answer(client, "Echo")
        assert body == _request(b"abc")
        assert tasks.started == 0


async def test_a_handler_that_waits_for_others_is_not_woken_by_them() -> None:
    async with _calling() as (greeter, client, _):
        _, fields = await _answer(client, "Park")
        assert fields["grpc-status"] == str(int(Code.INTERNAL))
        greeter.wake.set()
        for _ in range(3):
            body, _ = await _answer(client, "Echo")
            assert body == _request(b"abc")


async def test_a_request_that_is_none_of_the_method_is_refused() -> None:
    async with _calling() as (greeter, client, _):
        client.request(f"{PATH}/Echo", frame(b"\xff"))
        await client.flush()
        trailers = await client.until(h2.events.ResponseReceived)
        assert dict[Any, Any](trailers.headers)["grpc-status"] == str(int(Code.INTERNAL))
        assert (greeter.calls, len(greeter.finished)) == ([], 1)


async def test_of_many_calls_at_once_the_others_have_tasks_and_each_is_answered_once() -> None:
    async with _calling() as (greeter, client, tasks):
        await client.flush()
        await client.until(h2.events.SettingsAcknowledged)
        ids = {client.request(f"{PATH}/Echo", _request(b"%d" % number)) for number in range(40)}
        await client.flush()
        ended = {(await client.until(h2.events.StreamEnded)).stream_id for _ in ids}
        assert ended == ids
        assert (len(greeter.calls), len(greeter.finished)) == (40, 40)
        # Of one read, 16; what is sent at once may arrive in several.
        assert 0 < tasks.started <= 24


async def test_a_handler_that_answers_at_once_can_be_called_as_others_are() -> None:
    greeter = Greeter()
    method = unary(f"{PATH}/Echo", BytesValue, AtOnce(greeter.echo))
    assert method.at_once is not None
    call: Call = None  # type: ignore[assignment]
    assert await method.handler(BytesValue(value=b"a"), call) == BytesValue(value=b"a")
    # One that is replaced, as by what checks roles, is none any more.
    assert attrs.evolve(method, handler=greeter.echo).at_once is None


def test_what_a_handler_raises_is_raised() -> None:
    async def handler(_request: BytesValue, _call: Call) -> BytesValue:
        raise RPCError(Code.ABORTED, "no")

    call: Call = None  # type: ignore[assignment]
    with pytest.raises(RPCError, match="no"):
        AtOnce(handler).answer(BytesValue(), call)
