"""The DHCPv4 client in virtual time, against scripted servers."""

import itertools
import random
from collections.abc import Sequence
from ipaddress import IPv4Address
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodespan.controllers.network.dhcp.client4 import Client4, Settings
from nodespan.controllers.network.dhcp.lease import Lease, Outgoing
from nodespan.controllers.network.dhcp.lease4 import lease_of
from nodespan.controllers.network.dhcp.malformed import MalformedError
from nodespan.controllers.network.dhcp.message4 import Code, Message4, MessageType, decode, encode
from tests.controllers.network.dhcp import packets
from tests.controllers.network.dhcp.simulation import Simulation
from tests.support.dhcp_server import DECLINE, DISCOVER, EXTEND, REBOOT, RELEASE, SELECT, ScriptedServer, kind_of

START = 1000.0


class NoLeaseTime(ScriptedServer):
    """Lends as BOOTP does."""

    def answer(self, message: Message4) -> Message4 | None:
        answer = super().answer(message)
        if answer is None:
            return None
        options = tuple(option for option in answer.options if option[0] != Code.LEASE_TIME)
        return attrs.evolve(answer, options=options)


ALL = frozenset({DISCOVER, SELECT, REBOOT, EXTEND})
SETTINGS = Settings(hardware_address=bytes.fromhex("020000000007"), client_id=b"\1me", requested=(1, 3))


class Lab(Simulation):
    """Simulation of one client of version 4."""

    client: Client4

    def kinds(self) -> list[tuple[str, str]]:
        """What was sent, and to whom."""
        return [(kind_of(decode(packet.payload)), packet.destination) for _, packet in self.sent]

    def times(self, kind: str) -> list[float]:
        """When such messages were sent, in seconds from the start."""
        return [at - START for at, packet in self.sent if kind_of(decode(packet.payload)) == kind]

    def messages(self, kind: str) -> list[Message4]:
        """Such messages."""
        found = (decode(packet.payload) for _, packet in self.sent)
        return [message for message in found if kind_of(message) == kind]


def lab(*scripts: ScriptedServer, seed: int = 7, **changes: Any) -> Lab:
    """A client and servers on one network; a message to one of them is heard by that one only."""
    client = Client4(SETTINGS, now=START, random=random.Random(seed), **changes)

    def servers(packet: Outgoing) -> Sequence[tuple[float, bytes]]:
        answers = []
        for script in scripts:
            if packet.destination in ("255.255.255.255", str(script.server)):
                answer = script.answer(decode(packet.payload))
                if answer is not None:
                    answers.append((0.001 + script.delay, encode(answer)))
        return answers

    return Lab(client=client, servers=servers, now=START)


def lease(obtained: float = START - 2, seconds: int = 100, address: str = "192.0.2.100") -> Lease:
    """An earlier lease."""
    script = ScriptedServer(seconds=seconds, lends=IPv4Address(address))
    answer = script.answer(decode(packets.REQUEST4))
    assert answer is not None
    return lease_of(answer, obtained)


def state(here: Lab) -> tuple[str, str]:
    held = here.client.lease
    return here.client.state_name, "" if held is None else held.addresses[0].address


BOUND = ("bound", "192.0.2.100/24")
EVERYBODY = "255.255.255.255"
ONE = "192.0.2.1"


# Getting a lease.


def test_the_first_offer_becomes_the_lease() -> None:
    here = lab(ScriptedServer())
    here.until(START + 1)
    assert state(here) == BOUND
    assert here.kinds() == [(DISCOVER, EVERYBODY), (SELECT, EVERYBODY)]
    (request,) = here.messages(SELECT)
    assert request.option(Code.SERVER_ID) == IPv4Address(ONE).packed
    assert request.option(Code.REQUESTED_ADDRESS) == IPv4Address("192.0.2.100").packed
    assert request.option(Code.CLIENT_ID) == b"\1me"
    assert request.option(Code.REQUESTED_OPTIONS) == bytes([1, 3])
    assert not request.is_broadcast
    assert here.client.trouble is None


def test_the_name_of_the_host_is_sent_and_a_new_one_soon() -> None:
    here = lab(ScriptedServer(seconds=100, options={Code.HOST_NAME: b"one"}))
    here.until(START + 1)
    assert here.client.lease is not None
    assert here.client.lease.hostname == "one"
    # Who only repeats the name has no other for the host.
    for name, answer in (("one", ""), ("two", "one"), ("", "one")):
        here.client.call_host(here.now, "passing")
        here.client.call_host(here.now, name)
        here.until(here.now + 2)
        assert here.client.lease.hostname == answer
    asked = [*here.messages(DISCOVER), *here.messages(SELECT), *here.messages(EXTEND)]
    assert [each.option(Code.HOST_NAME) for each in asked] == [None, None, b"one", b"two", None]


def test_a_name_that_changes_while_the_previous_one_is_sent_is_sent_next() -> None:
    script = ScriptedServer(seconds=100)
    here = lab(script)
    here.until(START + 1)
    script.options, script.delay = {Code.HOST_NAME: b"one"}, 0.5
    here.client.call_host(here.now, "one")
    here.until(START + 2.2)
    here.client.call_host(here.now, "two")
    here.until(START + 2.8)
    # It is the server's answer to the first name.
    assert here.client.lease is not None
    assert here.client.lease.hostname == ""
    here.until(START + 4)
    assert [each.option(Code.HOST_NAME) for each in here.messages(EXTEND)] == [b"one", b"two"]


def test_without_a_server_the_waits_double_up_to_about_a_minute() -> None:
    here = lab(ScriptedServer(silent_on=ALL))
    here.until(START + 400)
    times = here.times(DISCOVER)
    gaps = [round(later - earlier, 3) for earlier, later in itertools.pairwise(times)]
    for gap, expected in zip(gaps, [4, 8, 16, 32, 64, 64, 64], strict=False):
        assert abs(gap - expected) <= 1
    assert len({message.xid for message in here.messages(DISCOVER)}) == 1
    assert [message.seconds for message in here.messages(DISCOVER)] == [int(time) for time in times]
    assert here.client.trouble is not None
    assert here.client.trouble.since == START
    assert "no DHCP server answers" in here.client.trouble.text


def test_the_trouble_is_over_when_a_server_appears() -> None:
    script = ScriptedServer(silent_on=ALL)
    here = lab(script)
    here.until(START + 30)
    script.silent_on = frozenset()
    here.until(START + 70)
    assert state(here) == BOUND
    assert here.client.trouble is None


@pytest.mark.parametrize("delay", [0.5, 6.0, 11.0])
def test_a_server_that_answers_late_is_waited_for(delay: float) -> None:
    here = lab(ScriptedServer(delay=delay, seconds=600))
    here.until(START + 60)
    assert state(here) == BOUND


def test_a_server_that_offers_and_then_is_silent_is_given_up() -> None:
    here = lab(ScriptedServer(silent_on=frozenset({SELECT})))
    here.until(START + 62)
    assert len(here.times(SELECT)) == 5  # four, and the first of the next round
    assert len(here.times(DISCOVER)) == 2
    assert here.client.trouble is not None
    assert "after it has made an offer" in here.client.trouble.text


def test_another_servers_acknowledgement_is_not_for_us() -> None:
    script = ScriptedServer(silent_on=frozenset({SELECT}))
    here = lab(script)
    here.until(START + 1)
    (request,) = here.messages(SELECT)
    other = ScriptedServer(server=IPv4Address("192.0.2.2"))
    answer = other.answer(attrs.evolve(request, options=()))
    assert answer is not None
    here.client.receive(here.now, encode(attrs.evolve(answer, type=MessageType.ACK)))
    assert state(here)[0] == "requesting"


def test_what_is_for_others_or_malformed_changes_nothing() -> None:
    here = lab(ScriptedServer(silent_on=ALL))
    here.until(START + 1)
    (discover,) = here.messages(DISCOVER)
    offer = ScriptedServer().answer(discover)
    assert offer is not None
    for wrong in (
        attrs.evolve(offer, xid=offer.xid ^ 1),
        attrs.evolve(offer, hardware_address=bytes(6)),
        attrs.evolve(offer, is_reply=False),
        discover,
    ):
        assert here.client.receive(here.now, encode(wrong)) == ()
    for useless in (attrs.evolve(offer, options=()), attrs.evolve(offer, your_address=IPv4Address(0))):
        with pytest.raises(MalformedError):
            here.client.receive(here.now, encode(useless))
    assert state(here) == ("selecting", "")


def test_an_address_in_use_is_declined() -> None:
    script = ScriptedServer()
    here = lab(script)
    here.taken = frozenset({"192.0.2.100"})
    here.until(START + 1)
    assert here.kinds()[-1] == (DECLINE, EVERYBODY)
    (decline,) = here.messages(DECLINE)
    assert decline.option(Code.REQUESTED_ADDRESS) == script.lends.packed
    assert decline.option(Code.SERVER_ID) == script.server.packed
    assert here.client.trouble is not None
    assert "192.0.2.100, which the DHCP server 192.0.2.1 leases, is in use" in here.client.trouble.text
    script.lends = IPv4Address("192.0.2.101")
    here.until(START + 12)
    assert here.times(DISCOVER)[1] == pytest.approx(10, abs=0.1)
    assert state(here) == ("bound", "192.0.2.101/24")
    assert here.messages(DISCOVER)[1].option(Code.REQUESTED_ADDRESS) is None


def test_refusals_start_over_at_once_and_then_ever_later() -> None:
    here = lab(ScriptedServer(refuses=frozenset({SELECT})))
    here.until(START + 60)
    gaps = [round(later - earlier) for earlier, later in itertools.pairwise(here.times(DISCOVER))]
    assert gaps == [0, 2, 4, 8, 16]
    assert here.client.trouble is not None
    assert here.client.trouble.text == "the DHCP server 192.0.2.1 refuses, saying 'not here'"


@pytest.mark.parametrize(("text", "shown"), [(b"", ""), (b"\xff", ""), (b"a\nb\0", ", saying 'ab'")])
def test_the_text_of_a_refusal_is_sanitised(text: bytes, shown: str) -> None:
    here = lab(ScriptedServer(refuses=frozenset({SELECT}), refusal=text))
    here.until(START + 1)
    assert here.client.trouble is not None
    assert here.client.trouble.text == f"the DHCP server 192.0.2.1 refuses{shown}"


# Keeping it.


def test_a_lease_is_renewed_at_half_of_its_time() -> None:
    here = lab(ScriptedServer(seconds=100))
    here.until(START + 210)
    assert here.times(EXTEND) == pytest.approx([50, 100, 150, 200], abs=0.1)
    assert {destination for kind, destination in here.kinds() if kind == EXTEND} == {ONE}
    assert {packet.source for _, packet in here.sent[2:]} == {"192.0.2.100"}
    (first, *_) = here.messages(EXTEND)
    assert first.client_address == IPv4Address("192.0.2.100")
    assert first.option(Code.SERVER_ID) is first.option(Code.REQUESTED_ADDRESS) is None


def test_a_renewal_may_bring_other_options() -> None:
    script = ScriptedServer(seconds=100)
    here = lab(script)
    here.until(START + 1)
    script.options = {Code.MTU: bytes([5, 0])}
    here.until(START + 60)
    assert here.client.lease is not None
    assert here.client.lease.mtu == 1280


def test_a_renewal_without_an_answer_is_repeated_and_then_broadcast_until_the_lease_ends() -> None:
    script = ScriptedServer(seconds=10000)
    here = lab(script)
    here.until(START + 1)
    script.silent_on = ALL
    here.until(START + 9999)
    assert state(here) == ("rebinding", "192.0.2.100/24")
    asked = [
        (round(at), destination) for at, (_, destination) in zip(here.times(EXTEND), here.kinds()[2:], strict=True)
    ]
    to_one = [at for at, destination in asked if destination == ONE]
    to_all = [at for at, destination in asked if destination == EVERYBODY]
    assert to_one[:4] == [5000, 6875, 7813, 8281]
    assert max(to_one) < 8750 == min(to_all)
    for asked_of in (to_one, to_all):
        assert min(later - earlier for earlier, later in itertools.pairwise(asked_of)) >= 59
    assert here.client.trouble is not None
    assert here.client.trouble.since == pytest.approx(START + 5000, abs=1)
    here.until(START + 10001)
    assert state(here) == ("selecting", "")
    assert here.messages(DISCOVER)[-1].option(Code.REQUESTED_ADDRESS) == IPv4Address("192.0.2.100").packed


def test_a_late_answer_to_a_renewal_counts() -> None:
    script = ScriptedServer(seconds=600)
    here = lab(script)
    here.until(START + 1)
    script.delay = 200
    here.until(START + 501)
    assert state(here) == BOUND


def test_another_server_takes_over_by_rebinding() -> None:
    one, two = ScriptedServer(seconds=100), ScriptedServer(server=IPv4Address("192.0.2.2"), seconds=100)
    two.silent_on = frozenset({DISCOVER})
    here = lab(one, two)
    here.until(START + 1)
    one.silent_on = ALL
    here.until(START + 88)
    assert state(here) == BOUND
    assert here.client.lease is not None
    assert here.client.lease.server == "192.0.2.2"
    assert here.client.trouble is None


@pytest.mark.parametrize("time", [60, 90])
def test_a_refused_renewal_drops_the_lease_at_once(time: int) -> None:
    script = ScriptedServer(seconds=100)
    here = lab(script)
    here.until(START + 1)
    script.silent_on = frozenset({EXTEND})
    here.until(START + time - 20)
    script.silent_on, script.refuses, script.lends = frozenset(), frozenset({EXTEND}), IPv4Address("192.0.2.101")
    here.until(START + time)
    assert state(here) == ("bound", "192.0.2.101/24")


def test_a_renewal_with_another_address_is_checked_like_a_new_lease() -> None:
    script = ScriptedServer(seconds=100)
    here = lab(script)
    here.until(START + 1)
    script.lends = IPv4Address("192.0.2.101")
    here.taken = frozenset({"192.0.2.101"})
    here.until(START + 51)
    assert here.kinds()[-1] == (DECLINE, EVERYBODY)
    assert state(here) == ("init", "")


@pytest.mark.parametrize("seconds", [1, 3, 5, 6, 8, 10])
def test_short_leases_are_renewed_at_least_five_seconds_apart(seconds: int) -> None:
    here = lab(ScriptedServer(seconds=seconds))
    here.until(START + 100)
    times = here.times(EXTEND)
    assert all(later - earlier >= 4.9 for earlier, later in itertools.pairwise(times))
    assert len(times) >= 9
    assert state(here) == BOUND
    assert len(here.times(DISCOVER)) == 1


def test_an_offer_without_a_lease_time_becomes_a_lease_that_names_it() -> None:
    here = lab(NoLeaseTime())
    here.until(START + 1)
    assert state(here) == BOUND
    assert here.client.lease is not None
    assert here.client.lease.ignored
    assert here.client.trouble is None


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({Code.LEASE_TIME: bytes(4)}, "option LEASE_TIME: a lease of 0 s"),
        ({Code.LEASE_TIME: bytes(3)}, "option LEASE_TIME: 3 bytes are not a number"),
        ({Code.SERVER_ID: bytes(3)}, "option SERVER_ID: 3 bytes are not an IPv4 address"),
    ],
)
def test_an_answer_that_cannot_be_used_is_not_called_silence(options: dict[int, bytes], reason: str) -> None:
    here = lab(ScriptedServer(options=options))
    for _ in range(40):
        try:
            here.until(START + 40)
        except MalformedError:
            continue
    assert here.client.trouble is not None
    assert here.client.trouble.text == f"a DHCP server answers, but its answer cannot be used: {reason}"


def test_a_lease_without_an_end_is_not_renewed() -> None:
    here = lab(ScriptedServer(seconds=0xFFFFFFFF))
    here.until(START + 10**9)
    assert state(here) == BOUND
    assert len(here.sent) == 2


# Starting with a lease of before.


def test_a_remembered_lease_is_requested_first() -> None:
    here = lab(ScriptedServer(), remembered=lease())
    assert state(here) == ("rebooting", "")
    here.until(START + 1)
    assert here.kinds() == [(REBOOT, EVERYBODY)]
    (request,) = here.messages(REBOOT)
    assert request.option(Code.REQUESTED_ADDRESS) == IPv4Address("192.0.2.100").packed
    assert request.option(Code.SERVER_ID) is None
    assert request.client_address == IPv4Address(0)
    assert state(here) == BOUND


def test_an_address_that_the_link_still_has_stays_in_use_meanwhile() -> None:
    here = lab(ScriptedServer(delay=2), remembered=lease(), is_held=True)
    here.taken = frozenset({"192.0.2.100"})  # by this node itself: it must not be checked
    here.until(START + 1)
    assert state(here) == ("rebooting", "192.0.2.100/24")
    here.until(START + 3)
    assert state(here) == BOUND
    assert DECLINE not in [kind for kind, _ in here.kinds()]


def test_without_an_answer_the_earlier_address_stays_until_it_expires() -> None:
    here = lab(ScriptedServer(silent_on=ALL), remembered=lease(seconds=100), is_held=True)
    here.until(START + 20)
    assert state(here) == BOUND
    assert len(here.times(REBOOT)) == 2
    here.until(START + 49)
    assert here.kinds()[-1] == (EXTEND, ONE)
    here.until(START + 99)
    assert state(here) == ("selecting", "")


def test_without_an_answer_a_link_without_the_address_looks_for_any_server() -> None:
    here = lab(ScriptedServer(silent_on=ALL), remembered=lease())
    here.until(START + 20)
    assert state(here) == ("selecting", "")
    assert here.messages(DISCOVER)[0].option(Code.REQUESTED_ADDRESS) == IPv4Address("192.0.2.100").packed


@pytest.mark.parametrize("is_held", [True, False])
def test_on_another_network_the_earlier_lease_is_refused_and_dropped_at_once(is_held: bool) -> None:
    script = ScriptedServer(refuses=frozenset({REBOOT}), lends=IPv4Address("192.0.2.101"))
    here = lab(script, remembered=lease(), is_held=is_held)
    here.until(START + 0.5)
    assert state(here) == ("bound", "192.0.2.101/24")
    assert here.messages(DISCOVER)[0].option(Code.REQUESTED_ADDRESS) is None


def test_a_lease_that_has_run_out_is_only_a_preference() -> None:
    here = lab(ScriptedServer(), remembered=lease(obtained=START - 200), is_held=True)
    assert state(here) == ("init", "")
    here.until(START + 1)
    assert here.kinds()[0] == (DISCOVER, EVERYBODY)
    assert here.messages(DISCOVER)[0].option(Code.REQUESTED_ADDRESS) == IPv4Address("192.0.2.100").packed


# The end of it.


def test_a_lease_is_released_to_its_server() -> None:
    script = ScriptedServer()
    here = lab(script)
    here.until(START + 1)
    (packet,) = here.client.release(here.now)
    message = decode(packet.payload)
    assert (packet.destination, packet.source) == (ONE, "192.0.2.100")
    assert (kind_of(message), message.client_address) == (RELEASE, IPv4Address("192.0.2.100"))
    assert message.option(Code.SERVER_ID) == IPv4Address(ONE).packed
    assert here.client.lease is None
    here.until(START + 100)
    assert len(here.sent) == 2


def test_without_a_lease_there_is_nothing_to_give_back() -> None:
    here = lab(ScriptedServer(silent_on=ALL))
    here.until(START + 1)
    assert here.client.release(here.now) == ()


def test_a_hardware_address_that_does_not_fit_is_left_out_and_answers_are_broadcast() -> None:
    infiniband = Settings(hardware_type=32, hardware_address=bytes(20), client_id=b"\xff")
    client = Client4(infiniband, now=START, random=random.Random(7))
    (packet,) = client.advance(START)
    message = decode(packet.payload)
    assert (message.hardware_type, message.hardware_address, message.is_broadcast) == (32, b"", True)


@given(st.data())
@settings(max_examples=60)
@pytest.mark.slow
def test_whatever_servers_do_the_client_neither_fails_nor_floods_nor_holds_on_too_long(data: st.DataObject) -> None:
    subsets = st.frozensets(st.sampled_from(sorted(ALL)))
    scripts = [ScriptedServer(), ScriptedServer(server=IPv4Address("192.0.2.2"), lends=IPv4Address("192.0.2.102"))]
    here = lab(*scripts, seed=data.draw(st.integers(0, 99)))
    for step in range(1, 9):
        for script in scripts:
            script.silent_on, script.refuses = data.draw(subsets), data.draw(subsets)
            script.delay = data.draw(st.sampled_from([0.0, 0.5, 7.0]))
            script.seconds = data.draw(st.sampled_from([1, 10, 60, 600]))
        here.until(START + step * 40)
        held = here.client.lease
        assert held is None or here.now < held.expires_at
        assert here.client.wake_at > here.now
    # Two servers that answer everything wrong in turn, with leases of a second, still leave it at a few a second.
    assert len(here.sent) < 320 * 4
