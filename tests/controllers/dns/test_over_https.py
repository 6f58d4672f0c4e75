"""HTTP/2 as it carries questions, without a network: the server is h2's own."""

import contextlib
from collections.abc import Iterator
from typing import Any

import attrs
import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodespan.controllers.dns.connections import MOST_QUESTIONS, ExchangeError, UntakenError
from nodespan.controllers.dns.over_https import HTTPSFraming


@attrs.define
class Both:
    """Both ends; what one has to say the other gets at once."""

    client: HTTPSFraming = attrs.field(factory=lambda: HTTPSFraming("dns.example"))
    server: h2.connection.H2Connection = attrs.field(
        factory=lambda: h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding=None))
    )
    events: list[h2.events.Event] = attrs.field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.server.initiate_connection()

    def pump(self) -> dict[int, bytes | ExchangeError]:
        """Carry everything over; returns what the client was answered."""
        found: dict[int, bytes | ExchangeError] = {}
        moved = True
        while moved:
            moved = False
            if data := self.client.to_send():
                self.events += self.server.receive_data(data)
                moved = True
            if data := self.server.data_to_send():
                found |= dict(self.client.take(data))
                moved = True
        return found

    def answer(self, number: int, data: bytes, status: str = "200") -> None:
        self.server.send_headers(number, [(":status", status)])
        self.server.send_data(number, data, end_stream=True)

    def of(self, kind: type[h2.events.Event]) -> Iterator[Any]:
        return (event for event in self.events if isinstance(event, kind))


def test_questions_are_posts_of_their_own_and_answers_come_in_any_order() -> None:
    both = Both()
    first, second = both.client.begin(b"one"), both.client.begin(b"two")
    assert both.pump() == {}
    headers = dict(next(both.of(h2.events.RequestReceived)).headers)
    assert (headers[b":method"], headers[b":path"], headers[b":authority"]) == (b"POST", b"/dns-query", b"dns.example")
    assert [event.data for event in both.of(h2.events.DataReceived)] == [b"one", b"two"]
    both.answer(second, b"2")
    assert both.pump() == {second: b"2"}
    both.server.send_headers(first, [(":status", "200")])
    both.server.send_data(first, b"1")
    assert both.pump() == {}
    both.server.send_data(first, b"1", end_stream=True)
    assert both.pump() == {first: b"11"}
    assert both.client.room == MOST_QUESTIONS


def test_a_question_that_fails_leaves_the_others_alone() -> None:
    both = Both()
    numbers = [both.client.begin(b"?") for _ in range(5)]
    refused, reset, failed, large, good = numbers
    both.pump()
    both.server.reset_stream(refused, h2.errors.ErrorCodes.REFUSED_STREAM)
    both.server.reset_stream(reset, h2.errors.ErrorCodes.INTERNAL_ERROR)
    both.answer(failed, b"sorry", "503")
    found = both.pump()
    assert isinstance(found[refused], UntakenError)
    assert {type(found[reset]), type(found[failed])} == {ExchangeError}
    assert str(found[failed]) == "the server answers with status 503"
    both.server.send_headers(large, [(":status", "200")])
    for _ in range(5):
        with contextlib.suppress(h2.exceptions.StreamClosedError):
            both.server.send_data(large, bytes(16_000))
            found |= both.pump()
    assert str(found[large]) == "the server answers more than a message of DNS has"
    both.answer(good, b"!")
    assert both.pump() == {good: b"!"}


def test_a_question_that_is_given_up_is_reset_and_what_still_comes_for_it_is_dropped() -> None:
    both = Both()
    first, second = both.client.begin(b"one"), both.client.begin(b"two")
    both.pump()
    both.answer(first, b"1")
    both.client.give_up(first)
    assert both.pump() == {}
    assert [event.stream_id for event in both.of(h2.events.StreamReset)] in ([first], [])
    both.answer(second, b"2")
    assert both.pump() == {second: b"2"}


@pytest.mark.parametrize("end", ["status", "given up", "too long"])
def test_what_comes_for_questions_that_have_ended_does_not_use_up_the_window_of_the_connection(end: str) -> None:
    both = Both()
    for _ in range(40):
        number = both.client.begin(b"?")
        both.pump()
        page = bytes(2_000) if end != "too long" else bytes(16_000)
        both.server.send_headers(number, [(":status", "429" if end == "status" else "200")])
        if end == "given up":
            both.client.give_up(number)
        for _ in range(1 if end != "too long" else 5):
            with contextlib.suppress(h2.exceptions.StreamClosedError):
                both.server.send_data(number, page)
                if end == "too long":
                    both.pump()
        with contextlib.suppress(h2.exceptions.StreamClosedError):
            both.server.end_stream(number)
        both.pump()
    number = both.client.begin(b"?")
    both.pump()
    assert both.server.local_flow_control_window(number) > 1 << 14
    both.answer(number, b"!")
    assert both.pump() == {number: b"!"}


def test_a_server_says_how_many_questions_it_takes() -> None:
    both = Both()
    assert both.client.room == MOST_QUESTIONS
    both.server.update_settings({h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: 2})
    both.pump()
    both.client.begin(b"one")
    assert both.client.room == 1
    both.client.begin(b"two")
    assert both.client.room == 0
    with pytest.raises(ExchangeError, match="takes no more questions"):
        both.client.begin(b"three")


def test_a_server_that_ends_the_connection_or_breaks_the_rules_ends_all_questions() -> None:
    both = Both()
    number = both.client.begin(b"one")
    both.pump()
    both.answer(number, b"1")
    both.server.close_connection()
    # What was answered before is not lost.
    taken = both.client.take(both.server.data_to_send())
    assert next(iter(taken)) == (number, b"1")
    with pytest.raises(ExchangeError, match="ended the connection"):
        next(iter(taken))
    with pytest.raises(ExchangeError, match="breaks the rules"):
        # Settings of a stream.
        list(Both().client.take(b"\0\0\0\4\0\0\0\0\1"))


def test_what_is_no_frame_is_not_kept_without_end() -> None:
    client = Both().client
    # The size of a frame that no server may send.
    start = b"HTTP/1.1 400 Bad Request\r\n\r\n"
    assert list(client.take(start + bytes((1 << 20) - len(start)))) == []
    with pytest.raises(ExchangeError, match="breaks the rules"):
        list(client.take(b"!"))


def test_what_may_come_of_answers_that_do_not_end_has_a_bound() -> None:
    both = Both()
    numbers = [both.client.begin(b"?") for _ in range(40)]
    both.pump()

    def begin_all() -> None:
        for number in numbers:
            both.server.send_headers(number, [(":status", "200")])
            for _ in range(3):
                both.server.send_data(number, bytes(15_000))
                both.pump()

    with pytest.raises(ExchangeError, match="begins more answers than it ends"):
        begin_all()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(max_size=60), max_size=6))
def test_whatever_a_server_sends_is_an_answer_or_an_error(parts: list[bytes]) -> None:
    both = Both()
    both.client.begin(b"?")
    both.pump()
    with contextlib.suppress(ExchangeError):
        for part in parts:
            list(both.client.take(part))
