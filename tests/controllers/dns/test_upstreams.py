"""Which server is asked, in which order, and for how long, in virtual time."""

import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any, cast

import attrs
import dns.message
import pytest
import trio

from nodespan.controllers.dns.answering import MOST_OF_ONE_CLIENT, Answering
from nodespan.controllers.dns.connections import ExchangeError
from nodespan.controllers.dns.exchanges import Exchanges
from nodespan.controllers.dns.metrics import Counts, Outcome
from nodespan.controllers.dns.names import Names
from nodespan.controllers.dns.queries import Query, RCode, forwarded, read_query
from nodespan.controllers.dns.upstreams import ALTOGETHER, FORGOTTEN, LAST_LOOK, LASTING, Upstream, Upstreams
from nodespan.resources.network import NameServer
from tests.controllers.dns.servers import answer

pytestmark = pytest.mark.virtual_clock
QUERY = dns.message.make_query("www.example.org", "A").to_wire()


@attrs.define
class Fake:
    """A server that answers with a code after a while, or is silent."""

    rcode: int | None = 0
    delay: float = 0.01
    asked: list[float] = attrs.field(factory=list)
    server: NameServer = attrs.field(factory=lambda: NameServer(addr="192.0.2.53"))
    address: str = "192.0.2.53:53"
    # How long names take whose own servers are slow; the aliases of the others do not end.
    slow: dict[str, float] = attrs.field(factory=dict)
    odd: set[str] = attrs.field(factory=set)
    names: list[str] = attrs.field(factory=list)
    probes: int = 0
    # Whether it answers only what is asked to see that it does.
    deaf: bool = False
    # What each question takes until one has opened the connection.
    opening: float = 0.0

    async def ask(self, query: Query, *, over_stream: bool) -> bytes:
        if query.name:
            self.asked.append(trio.current_time())
            self.names.append(query.name)
        else:
            self.probes += 1
        await trio.sleep(self.opening)
        self.opening = 0.0
        await trio.sleep(self.slow.get(query.name, self.delay))
        if self.rcode is None or (self.deaf and query.name):
            raise ExchangeError("there is nobody")
        question = cast(dns.message.QueryMessage, dns.message.from_wire(forwarded(query, 1, 1232)))
        if query.name in self.odd:
            return answer(question, f"{query.name}. 60 IN CNAME {query.name}.").to_wire()
        records = ["www.example.org. 60 IN A 93.184.215.14"] if query.name and not self.rcode else []
        return answer(question, *records, rcode=self.rcode).to_wire()

    @property
    def is_open(self) -> bool:
        return not self.opening

    def open_in(self, nursery: trio.Nursery | None) -> None:
        return

    async def sweep(self) -> None:
        return

    async def aclose(self) -> None:
        return


@attrs.frozen
class Stage:
    upstreams: Upstreams
    answering: Answering
    counts: Counts
    changes: list[tuple[str, bool | None]]

    async def ask(self, data: bytes = QUERY, client: str = "127.0.0.1") -> dns.message.Message:
        found = self.answering.at_once(data, self.answering.machine)
        if isinstance(found, Query):
            found = await self.answering.look_up(found, self.answering.machine, client)
        return dns.message.from_wire(found)


@contextlib.asynccontextmanager
async def asking(servers: Mapping[str, Fake]) -> AsyncIterator[Stage]:
    counts = Counts()
    changes: list[tuple[str, bool | None]] = []
    upstreams = Upstreams(counts, lambda server: changes.append((server.id, server.healthy)))
    await upstreams.replace(Upstream(id, cast(Exchanges, fake)) for id, fake in servers.items())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(upstreams.run)
        await trio.sleep(0.5)
        yield Stage(upstreams, Answering(Names(), upstreams, counts), counts, changes)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("codes", "expected", "asked"),
    [
        ((0, 0), 0, (1, 0)),
        ((3, 0), 3, (1, 0)),
        ((2, 0), 0, (1, 1)),
        ((5, 0), 0, (1, 1)),
        ((2, 5), 5, (1, 1)),
        ((5, 2), 2, (1, 1)),
    ],
)
async def test_the_next_server_is_asked_for_what_one_does_not_know(
    codes: tuple[int, int], expected: int, asked: tuple[int, int]
) -> None:
    fakes = {str(number): Fake(code) for number, code in enumerate(codes)}
    async with asking(fakes) as at:
        assert int((await at.ask()).rcode()) == expected
        assert tuple(len(fake.asked) for fake in fakes.values()) == asked


async def test_a_server_that_is_silent_is_asked_last_until_it_answers_again() -> None:
    first, second = Fake(delay=100.0), Fake()
    async with asking({"0": first, "1": second}) as at:
        await trio.sleep(5)
        assert at.changes == [("1", True), ("0", False)]
        started = trio.current_time()
        assert int((await at.ask()).rcode()) == RCode.NOERROR
        assert trio.current_time() - started < 0.1
        assert not first.asked
        first.delay = 0.01
        await trio.sleep(60)
        assert at.changes[2:] == [("0", True)]
        at.answering.servers_changed()
        assert int((await at.ask()).rcode()) == RCode.NOERROR
        assert len(first.asked) == 1


async def test_when_nobody_answers_the_client_gets_an_end_in_time() -> None:
    silent, absent = Fake(delay=100.0), Fake(None)
    async with asking({"0": silent, "1": absent}) as at:
        started = trio.current_time()
        assert int((await at.ask()).rcode()) == RCode.SERVFAIL
        assert trio.current_time() - started <= ALTOGETHER + 0.1
        # Silence may be a lost datagram: everybody is asked twice.
        assert (len(silent.asked), len(absent.asked)) == (2, 2)
        # For some seconds that is known; then they are asked again.
        assert int((await at.ask()).rcode()) == RCode.SERVFAIL
        assert len(absent.asked) == 2
        await trio.sleep(6)
        await at.ask()
        assert len(absent.asked) == 4
    async with asking({}) as at:
        assert int((await at.ask()).rcode()) == RCode.SERVFAIL


async def test_everybody_who_asks_the_same_at_a_time_gets_one_answer() -> None:
    fake = Fake(delay=0.2)
    async with asking({"0": fake}) as at:
        found: list[Any] = []

        async def ask() -> None:
            found.append(await at.ask())

        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(ask)
        assert len(found) == 20
        assert len(fake.asked) == 1
        assert {message.rcode() for message in found} == {RCode.NOERROR}
        assert at.counts.queries[Outcome.FORWARDED] == 20
        assert at.counts.in_flight == 0


async def test_what_is_asked_of_others_at_a_time_is_bounded_for_each_client() -> None:
    fake = Fake(delay=1.0)
    async with asking({"0": fake}) as at, trio.open_nursery() as nursery:
        for number in range(MOST_OF_ONE_CLIENT):
            data = dns.message.make_query(f"{number}.example.org", "A").to_wire()
            nursery.start_soon(at.ask, data)
        await trio.sleep(0.5)
        assert at.counts.in_flight == MOST_OF_ONE_CLIENT
        refused = await at.ask()
        assert int(refused.rcode()) == RCode.SERVFAIL
        nursery.start_soon(at.ask, QUERY, "127.0.0.2")
        await trio.sleep(0.1)
        assert at.counts.in_flight == MOST_OF_ONE_CLIENT + 1
        await trio.sleep(3)
        assert at.counts.in_flight == 0


async def test_the_mesh_gets_members_only_and_nobody_is_asked_for_it() -> None:
    fake = Fake()
    async with asking({"0": fake}) as at:
        found = at.answering.at_once(QUERY, at.answering.mesh)
        assert isinstance(found, bytes)
        assert int(dns.message.from_wire(found).rcode()) == RCode.REFUSED
        assert not fake.asked


async def test_an_answer_that_was_prepared_is_as_one_that_was_not() -> None:
    async with asking({}) as at:
        query = dns.message.make_query("localhost", "A", use_edns=0).to_wire()
        first = at.answering.at_once(query, at.answering.machine)
        second = at.answering.at_once(b"\xab\xcd" + query[2:], at.answering.machine)
        assert isinstance(first, bytes)
        assert second == b"\xab\xcd" + first[2:]
        assert read_query(query).name in dns.message.from_wire(first).question[0].to_text()
        # What others ask in more words is not kept without end.
        for number in range(3000):
            other = dns.message.make_query(f"{number}.localhost", "A").to_wire()
            at.answering.at_once(other, at.answering.machine)
        assert len(at.answering.machine.prepared) <= 1024


def query(name: str) -> bytes:
    return dns.message.make_query(name, "A").to_wire()


async def test_a_name_that_takes_long_or_whose_answer_is_odd_does_not_have_a_good_server_asked_last() -> None:
    first, second = Fake(slow={"slow.example": 100.0}, odd={"odd.example"}), Fake(odd={"odd.example"})
    async with asking({"0": first, "1": second}) as at:
        assert int((await at.ask(query("slow.example"))).rcode()) == RCode.NOERROR
        assert int((await at.ask(query("odd.example"))).rcode()) == RCode.SERVFAIL
        assert (first.names, second.names) == (["slow.example", "odd.example"], ["slow.example", "odd.example"])
        assert int((await at.ask()).rcode()) == RCode.NOERROR
        assert first.names[-1] == "www.example.org"
        assert len(second.names) == 2
        assert sorted(at.changes) == [("0", True), ("1", True)]
        assert (at.counts.failed["0"], at.counts.failed["1"]) == (2, 1)


async def test_a_server_that_falls_silent_is_noticed_by_the_first_question_that_it_does_not_answer() -> None:
    first, second = Fake(), Fake()
    async with asking({"0": first, "1": second}) as at:
        first.delay = 100.0
        assert int((await at.ask()).rcode()) == RCode.NOERROR
        await trio.sleep(1.1)
        assert at.changes[2:] == [("0", False)]
        assert first.names == ["www.example.org"]
        assert int((await at.ask(query("other.example"))).rcode()) == RCode.NOERROR
        assert first.names == ["www.example.org"]


async def test_a_server_that_takes_long_to_connect_to_is_found_without_a_question_of_a_client() -> None:
    slow = Fake(opening=1.5)
    async with asking({"0": slow, "1": Fake()}) as at:
        await trio.sleep(1)
        assert at.changes == [("1", True), ("0", False)]
        assert at.upstreams.servers[0].reason == "its connection is not open yet"
        await trio.sleep(3)
        assert at.changes[2:] == [("0", True)]
        assert not slow.asked


async def test_each_reason_of_a_server_that_cannot_be_asked_is_logged_once_until_it_can(
    capsys: pytest.CaptureFixture[str],
) -> None:
    fake = Fake(rcode=None)
    async with asking({"0": fake}) as at:
        for _ in range(2):
            for delay in (0.01, 100.0) * 5:
                fake.delay = delay
                await trio.sleep(60)
            fake.delay, fake.rcode = 0.01, 0
            await trio.sleep(LASTING + LAST_LOOK + 1)
            assert "can be asked again" in capsys.readouterr().out
            await trio.sleep(FORGOTTEN)
            fake.rcode = None
            await at.ask()
            assert capsys.readouterr().out.count("there is nobody") == 1
            fake.delay = 100.0
            await trio.sleep(60)
            assert capsys.readouterr().out.count("no answer within 1 s") == 1


async def test_a_server_that_answers_what_we_ask_and_not_its_clients_is_logged_as_what_lasts(
    capsys: pytest.CaptureFixture[str],
) -> None:
    fake = Fake()
    async with asking({"0": fake}) as at:
        fake.deaf = True
        for _ in range(200):
            await at.ask()
            await trio.sleep(1)
        assert len(at.changes) > 100
        said = capsys.readouterr().out
        assert (said.count("cannot be asked"), said.count("can be asked again")) == (1, 0)
        await trio.sleep(LASTING)
        assert capsys.readouterr().out.count("can be asked again") == 1
        # For a moment, in which nothing else is new.
        await at.ask()
        await trio.sleep(LASTING)
        assert capsys.readouterr().out == ""
        # For long.
        fake.rcode = None
        await at.ask()
        await trio.sleep(LASTING + LAST_LOOK)
        assert capsys.readouterr().out.count("cannot be asked") == 1


async def test_questions_that_take_long_do_not_ask_for_the_health_of_a_server_all_the_time() -> None:
    fake = Fake(slow={f"s{number}.example": 100.0 for number in range(100)})
    async with asking({"0": fake}) as at:
        before = fake.probes
        async with trio.open_nursery() as nursery:
            for number in range(100):
                nursery.start_soon(at.ask, query(f"s{number}.example"))
                await trio.sleep(0.01)
        assert 0 < fake.probes - before <= 14
        assert at.changes == [("0", True)]


async def test_what_is_still_asked_of_servers_of_before_is_not_kept_and_nobody_else_gets_it() -> None:
    fake = Fake(delay=1.0)
    async with asking({"0": fake}) as at:
        await trio.sleep(1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(at.ask)
            await trio.sleep(0.5)
            at.answering.servers_changed()
            nursery.start_soon(at.ask)
            await trio.sleep(0.7)
            # The first has its answer; who asks now waits for that of the second.
            nursery.start_soon(at.ask)
            await trio.sleep(0.1)
            assert at.counts.in_flight == 2
        assert len(fake.asked) == 2
        await at.ask()
        assert len(fake.asked) == 2


async def test_who_shares_a_question_whose_asker_hangs_up_gets_its_answer_no_later() -> None:
    fake = Fake(delay=1.0)
    async with asking({"0": fake}) as at:
        await trio.sleep(1.5)
        began = trio.current_time()
        found: list[int] = []

        async def ask() -> None:
            found.append(int((await at.ask()).rcode()))

        async with trio.open_nursery() as nursery:
            with trio.move_on_after(0.5):
                async with trio.open_nursery() as client:
                    client.start_soon(ask)
                    await trio.sleep(0.1)
                    for _ in range(10):
                        nursery.start_soon(ask)
                    await trio.sleep_forever()
        assert found == 10 * [RCode.NOERROR]
        # Once, for all.
        assert len(fake.asked) == 1
        assert trio.current_time() - began == pytest.approx(1.0)
        assert at.counts.in_flight == 0


async def test_clients_that_hang_up_again_and_again_keep_nobody_waiting() -> None:
    fake = Fake(delay=1.0)
    async with asking({"0": fake}) as at:
        await trio.sleep(1.5)
        took: list[float] = []

        async def impatient() -> None:
            for _ in range(20):
                with trio.move_on_after(0.3):
                    await at.ask(QUERY, "127.0.0.2")

        async def patient() -> None:
            began = trio.current_time()
            await trio.sleep(0.1)
            await at.ask()
            took.append(trio.current_time() - began)

        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(impatient)
            nursery.start_soon(patient)
        assert len(took) == 1
        assert took[0] <= 1.1
        assert at.counts.in_flight == 0


async def test_a_question_that_nobody_waits_for_any_more_is_not_asked_on_and_the_next_asks_anew() -> None:
    fake = Fake(delay=1.0)
    async with asking({"0": fake}) as at:
        await trio.sleep(1.5)
        async with trio.open_nursery() as nursery:
            for _ in range(2):
                with trio.move_on_after(0.5):
                    await at.ask()
                assert at.counts.in_flight == 0
            nursery.start_soon(at.ask)
            await trio.sleep(0.1)
            assert len(fake.asked) == 3
        # Only the last one was answered.
        await at.ask()
        assert len(fake.asked) == 3


async def test_questions_that_are_being_asked_when_the_servers_are_left_alone_are_asked_by_each_client() -> None:
    fake = Fake(delay=1.0)
    found: list[int] = []
    async with trio.open_nursery() as clients:

        async def ask(at: Any) -> None:
            found.append(int((await at.ask()).rcode()))

        async with asking({"0": fake}) as at:
            await trio.sleep(1.5)
            for _ in range(3):
                clients.start_soon(ask, at)
            await trio.sleep(0.5)
        await trio.sleep(5)
        assert at.counts.in_flight == 0
    assert len(found) == 3


async def test_that_nobody_can_be_asked_is_told_by_each_question() -> None:
    told: list[bool] = []
    counts = Counts()
    upstreams = Upstreams(counts, lambda _server: None, lambda: told.append(True))
    answering = Answering(Names(), upstreams, counts)
    for name in ("a.example", "b.example"):
        found = answering.at_once(query(name), answering.machine)
        assert isinstance(found, Query)
        assert int(dns.message.from_wire(await answering.look_up(found, answering.machine, "c")).rcode()) == 2
    assert told == [True, True]
