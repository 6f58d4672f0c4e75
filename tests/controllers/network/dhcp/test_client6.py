"""The DHCPv6 client in virtual time, against scripted servers."""

import itertools
import random
from collections.abc import Sequence
from ipaddress import IPv6Address
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodespan.controllers.network.dhcp.client6 import Client6, Settings
from nodespan.controllers.network.dhcp.lease import Lease, Outgoing
from nodespan.controllers.network.dhcp.lease6 import lease_of
from nodespan.controllers.network.dhcp.message6 import (
    Association,
    Code,
    LeasedAddress6,
    Message6,
    MessageType,
    Status,
    decode,
    encode,
    encode_association,
    parse_association,
)
from tests.controllers.network.dhcp.simulation import Simulation

START = 1000.0
DUID, IAID = bytes.fromhex("00030001020000000007"), 7
SETTINGS = Settings(duid=DUID, iaid=IAID, requested=(23, 24))
SOLICIT, REQUEST, CONFIRM = MessageType.SOLICIT, MessageType.REQUEST, MessageType.CONFIRM
RENEW, REBIND, RELEASE = MessageType.RENEW, MessageType.REBIND, MessageType.RELEASE
ALL = frozenset(MessageType)


@attrs.define(kw_only=True)
class Server:
    """Lends one address, and does as the fields say."""

    duid: bytes = b"\0\3one"
    lends: str = "2001:db8::7"
    seconds: int = 100
    preference: int | None = None
    delay: float = 0.0
    silent_on: frozenset[MessageType] = frozenset()
    statuses: dict[MessageType, int] = attrs.field(factory=dict)
    extra: dict[Code, bytes] = attrs.field(factory=dict)
    without_association: frozenset[MessageType] = frozenset()

    def answer(self, message: Message6) -> Message6 | None:
        if message.type in self.silent_on or message.type == RELEASE:
            return None
        if message.option(Code.SERVER_ID) not in (None, self.duid):
            return None
        status = self.statuses.get(message.type, 0)
        lent = LeasedAddress6(address=IPv6Address(self.lends), preferred=self.seconds, valid=self.seconds)
        association = Association(
            iaid=parse_association(message.option(Code.IA_NA) or b"").iaid, addresses=() if status else (lent,)
        )
        status_option = b"\0\x0d\0\2" + status.to_bytes(2)
        body = encode_association(association) + (status_option if status else b"")
        options = {Code.CLIENT_ID: message.option(Code.CLIENT_ID) or b"", Code.SERVER_ID: self.duid, **self.extra}
        if message.type == CONFIRM:
            options[Code.STATUS] = status.to_bytes(2)
        elif message.type not in self.without_association:
            options[Code.IA_NA] = body
        if self.preference is not None:
            options[Code.PREFERENCE] = bytes([self.preference])
        return Message6(
            type=MessageType.ADVERTISE if message.type == SOLICIT else MessageType.REPLY,
            xid=message.xid,
            options=tuple((int(code), data) for code, data in options.items()),
        )


class Lab(Simulation):
    """Simulation of one client of version 6."""

    client: Client6

    def types(self) -> list[MessageType]:
        """What was sent."""
        return [decode(packet.payload).type for _, packet in self.sent]

    def times(self, type: MessageType) -> list[float]:
        """When such messages were sent, in seconds from the start."""
        return [at - START for at, packet in self.sent if decode(packet.payload).type == type]

    def last(self) -> Message6:
        """The last message that was sent."""
        return decode(self.sent[-1][1].payload)


def lab(*servers: Server, seed: int = 7, **changes: Any) -> Lab:
    client = Client6(SETTINGS, now=START, random=random.Random(seed), **changes)

    def answers(packet: Outgoing) -> Sequence[tuple[float, bytes]]:
        assert packet.destination == "ff02::1:2"
        found = ((server, server.answer(decode(packet.payload))) for server in servers)
        return [(0.001 + server.delay, encode(answer)) for server, answer in found if answer is not None]

    return Lab(client=client, servers=answers, now=START)


def lease(obtained: float = START - 2, seconds: int = 100) -> Lease:
    message = Server(seconds=seconds).answer(
        Message6(type=REQUEST, xid=1, options=((Code.IA_NA, encode_association(Association(iaid=IAID))),))
    )
    assert message is not None
    return lease_of(message, IAID, obtained)


def state(here: Lab) -> tuple[str, str]:
    held = here.client.lease
    return here.client.state_name, "" if held is None else held.addresses[0].address


BOUND = ("bound", "2001:db8::7/128")


def test_the_server_that_advertises_becomes_the_leases_server() -> None:
    here = lab(Server())
    here.until(START + 3)
    assert state(here) == BOUND
    assert here.types() == [SOLICIT, REQUEST]
    assert 0 <= here.times(SOLICIT)[0] <= 1
    request = here.last()
    assert request.option(Code.SERVER_ID) == b"\0\3one"
    assert request.option(Code.CLIENT_ID) == DUID
    assert request.option(Code.REQUESTED_OPTIONS) == bytes([0, 23, 0, 24, 0, 82])
    assert here.client.trouble is None


def test_of_the_servers_that_answer_in_time_the_most_preferred_is_requested() -> None:
    servers = (Server(preference=3), Server(duid=b"\0\3two", preference=7, delay=0.5), Server(duid=b"\0\3three"))
    here = lab(*servers)
    here.until(START + 3)
    assert here.last().option(Code.SERVER_ID) == b"\0\3two"


def test_the_highest_preference_is_not_waited_after() -> None:
    here = lab(Server(preference=255))
    here.until(START + 1.1)
    assert here.times(REQUEST)[0] - here.times(SOLICIT)[0] == pytest.approx(0.001)


def test_without_a_server_the_waits_double_up_to_an_hour() -> None:
    here = lab(Server(silent_on=ALL))
    here.until(START + 20000)
    gaps = [later - earlier for earlier, later in itertools.pairwise(here.times(SOLICIT))]
    assert 1 <= gaps[0] <= 1.1
    assert all(1.9 <= later / earlier <= 2.1 for earlier, later in itertools.pairwise(gaps[:10]))
    assert 3240 <= gaps[-1] <= 3960
    assert here.client.trouble is not None
    assert "no DHCPv6 server answers" in here.client.trouble.text


def test_a_server_may_set_how_long_the_waits_get() -> None:
    server = Server(statuses={SOLICIT: Status.NO_ADDRESSES_AVAILABLE}, extra={Code.SOL_MAX_RT: (60).to_bytes(4)})
    here = lab(server)
    here.until(START + 2000)
    gaps = [later - earlier for earlier, later in itertools.pairwise(here.times(SOLICIT))]
    assert max(gaps) <= 66
    assert here.client.trouble is not None
    assert "has no address to lease" in here.client.trouble.text


@pytest.mark.parametrize("delay", [1.5, 5.0])
def test_a_late_advertisement_is_taken_at_once(delay: float) -> None:
    here = lab(Server(delay=delay, seconds=600))
    here.until(START + 60)
    assert state(here) == BOUND


def test_a_server_that_advertises_and_then_is_silent_is_given_up() -> None:
    here = lab(Server(silent_on=frozenset({REQUEST})))
    here.until(START + 400)
    assert len(here.times(REQUEST)) >= 10
    assert len(here.times(SOLICIT)) >= 2


def test_refusals_come_ever_slower() -> None:
    here = lab(Server(statuses={REQUEST: Status.NO_ADDRESSES_AVAILABLE}))
    here.until(START + 60)
    gaps = [later - earlier for earlier, later in itertools.pairwise(here.times(SOLICIT))]
    assert gaps[-1] > 16 > gaps[0]
    assert here.client.trouble is not None
    assert "refuses, with status 2" in here.client.trouble.text


def test_what_is_for_others_changes_nothing() -> None:
    here = lab(Server(silent_on=ALL))
    here.until(START + 1)
    advertise = Server(preference=255).answer(here.last())
    assert advertise is not None
    without_server = tuple(option for option in advertise.options if option[0] != Code.SERVER_ID)
    for wrong in (
        attrs.evolve(advertise, xid=advertise.xid ^ 1),
        attrs.evolve(advertise, options=((Code.CLIENT_ID, b"other"), *advertise.options[1:])),
        attrs.evolve(advertise, options=without_server),
        attrs.evolve(advertise, type=MessageType.REPLY),
    ):
        assert here.client.receive(here.now, encode(wrong)) == ()
    assert state(here) == ("soliciting", "")


# Keeping it.


def test_a_lease_is_renewed_at_half_of_its_time() -> None:
    here = lab(Server())
    here.until(START + 210)
    assert state(here) == BOUND
    assert len(here.times(RENEW)) == 4
    assert here.last().option(Code.SERVER_ID) == b"\0\3one"


def test_without_an_answer_any_server_may_renew_until_the_lease_ends() -> None:
    server = Server(seconds=1000)
    here = lab(server)
    here.until(START + 3)
    server.silent_on = ALL
    here.until(START + 990)
    assert state(here) == ("rebinding", "2001:db8::7/128")
    assert here.times(RENEW)[0] == pytest.approx(501, abs=2)
    assert here.times(REBIND)[0] == pytest.approx(801, abs=2)
    assert here.last().option(Code.SERVER_ID) is None
    here.until(START + 1010)
    assert state(here) == ("soliciting", "")


def test_another_server_takes_over_by_rebinding() -> None:
    one, two = Server(), Server(duid=b"\0\3two", silent_on=frozenset({SOLICIT}))
    here = lab(one, two)
    here.until(START + 3)
    one.silent_on = ALL
    here.until(START + 85)
    assert state(here) == BOUND
    assert here.client.lease is not None
    assert here.client.lease.server == "00:03:74:77:6f"


def test_a_lease_that_the_server_forgot_is_requested_while_it_stays_in_use() -> None:
    server = Server(statuses={RENEW: Status.NO_BINDING})
    here = lab(server)
    here.until(START + 3)
    server.silent_on = frozenset({REQUEST})
    here.until(START + 54)
    assert state(here) == ("requesting", "2001:db8::7/128")
    server.silent_on = frozenset()
    here.until(START + 60)
    assert state(here) == BOUND
    assert here.types()[-1] == REQUEST


def test_an_address_that_is_taken_back_is_dropped_at_once() -> None:
    server = Server()
    here = lab(server)
    here.until(START + 3)
    server.seconds = 0
    server.silent_on = frozenset({SOLICIT})
    here.until(START + 51.9)
    assert state(here) == ("soliciting", "")
    assert here.client.trouble is not None
    assert "takes its address back" in here.client.trouble.text


@pytest.mark.parametrize(
    "changes",
    [{"statuses": {RENEW: Status.UNSPECIFIED_FAILURE}}, {"without_association": frozenset({RENEW})}],
)
def test_a_useless_reply_counts_as_none(changes: dict[str, Any]) -> None:
    here = lab(Server(**changes))
    here.until(START + 90)
    assert state(here) == BOUND
    assert len(here.times(RENEW)) > 1


# Starting with a lease of before, and ending.


@pytest.mark.parametrize("is_held", [True, False])
def test_a_remembered_lease_is_confirmed_first(is_held: bool) -> None:
    here = lab(Server(delay=0.5), remembered=lease(), is_held=is_held)
    here.until(START + 0.1)
    assert state(here) == ("confirming", "2001:db8::7/128" if is_held else "")
    here.until(START + 1)
    assert here.types() == [CONFIRM]
    assert state(here) == BOUND


def test_a_lease_of_another_network_is_dropped_at_once() -> None:
    here = lab(Server(statuses={CONFIRM: Status.NOT_ON_LINK}, lends="2001:db8::8"), remembered=lease(), is_held=True)
    here.until(START + 2)
    assert state(here) == ("bound", "2001:db8::8/128")


@pytest.mark.parametrize("is_held", [True, False])
def test_where_no_server_objects_the_lease_is_used(is_held: bool) -> None:
    here = lab(Server(silent_on=ALL), remembered=lease(), is_held=is_held)
    here.until(START + 11)
    assert state(here) == BOUND
    assert here.client.trouble is not None
    assert here.times(CONFIRM)[-1] < 10


def test_a_lease_that_has_run_out_is_only_a_hint() -> None:
    here = lab(Server(silent_on=ALL), remembered=lease(obtained=START - 200), is_held=True)
    here.until(START + 1)
    assert here.types() == [SOLICIT]
    hint = parse_association(here.last().option(Code.IA_NA) or b"").addresses
    assert [str(lent.address) for lent in hint] == ["2001:db8::7"]


def test_a_lease_is_released() -> None:
    here = lab(Server())
    here.until(START + 3)
    (packet,) = here.client.release(here.now)
    message = decode(packet.payload)
    assert (message.type, message.option(Code.SERVER_ID)) == (RELEASE, b"\0\3one")
    assert here.client.lease is None
    here.until(START + 1000)
    assert len(here.sent) == 2
    assert here.client.release(here.now) == ()


@given(st.data())
@settings(max_examples=60)
def test_whatever_servers_do_the_client_neither_fails_nor_floods_nor_holds_on_too_long(data: st.DataObject) -> None:
    subsets = st.frozensets(st.sampled_from([SOLICIT, REQUEST, CONFIRM, RENEW, REBIND]))
    statuses = st.dictionaries(st.sampled_from([SOLICIT, REQUEST, CONFIRM, RENEW, REBIND]), st.integers(0, 5))
    servers = [Server(), Server(duid=b"\0\3two", lends="2001:db8::8")]
    here = lab(*servers, seed=data.draw(st.integers(0, 99)))
    for step in range(1, 9):
        for server in servers:
            server.silent_on, server.statuses = data.draw(subsets), data.draw(statuses)
            server.delay = data.draw(st.sampled_from([0.0, 0.5, 7.0]))
            server.seconds = data.draw(st.sampled_from([0, 1, 10, 60, 600]))
        here.until(START + step * 40)
        held = here.client.lease
        assert held is None or here.now < held.expires_at
        assert here.client.wake_at > here.now
    assert len(here.sent) < 320 * 4


@pytest.mark.parametrize("seconds", [1, 5, 7])
def test_a_lease_too_short_to_be_renewed_counts_as_one_of_eight_seconds(seconds: int) -> None:
    here = lab(Server(seconds=seconds))
    here.until(START + 60)
    assert state(here) == BOUND
    assert len(here.times(SOLICIT)) == 1
    times = here.times(RENEW)
    assert len(times) >= 8
    assert all(later - earlier >= 4.9 for earlier, later in itertools.pairwise(times))
    assert here.client.lease is not None
    assert here.client.lease.ignored == (
        f"option 3 (IA_NA): {seconds} s are too short to renew the lease: 8 s are assumed",
    )


NAMES = b"\3one\7example\0\5a b c\0\3two\7example\0"
ADDRESS = IPv6Address("2001:db8::53").packed


@pytest.mark.parametrize(
    ("code", "data", "field", "expected"),
    [
        (Code.SEARCH_DOMAINS, NAMES, "search_domains", ("one.example", "two.example")),
        (Code.NAME_SERVERS, IPv6Address("ff02::1").packed + ADDRESS + b"\0", "name_servers", ("2001:db8::53",)),
        (Code.SIMPLE_TIME_SERVERS, ADDRESS + b"\0", "time_servers", ("2001:db8::53",)),
        (Code.TIME_SERVERS, b"\0\1\0\1\0\0\1\0\x10" + ADDRESS, "time_servers", ("2001:db8::53",)),
    ],
)
def test_an_invalid_item_is_named_and_the_others_apply(
    code: Code, data: bytes, field: str, expected: tuple[str, ...]
) -> None:
    here = lab(Server(extra={code: data}))
    here.until(START + 3)
    found = here.client.lease
    assert found is not None
    assert getattr(found, field) == expected
    assert found.ignored
    assert all(text.startswith(f"option {code.value} ({code.name}): ") for text in found.ignored)


def test_an_answer_that_cannot_be_used_is_not_called_silence() -> None:
    here = lab(Server(duid=b"", silent_on=frozenset({REQUEST})))
    here.until(START + 20)
    assert here.client.trouble is not None
    assert here.client.trouble.text == (
        "a DHCPv6 server answers, but its answer cannot be used: it does not have the server's identifier"
    )


def test_a_server_without_addresses_is_not_called_silent() -> None:
    here = lab(Server(statuses={SOLICIT: Status.NO_ADDRESSES_AVAILABLE}, silent_on=ALL - {SOLICIT}))
    here.until(START + 3)
    server = here.client.trouble
    assert server is not None
    here.until(START + 60)
    assert here.client.trouble is not None
    assert here.client.trouble.text == server.text == "the DHCPv6 server 00:03:6f:6e:65 has no address to lease"
