"""Reading the kernel's messages."""

import errno
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroute2.netlink import NLM_F_ACK

from nodespan.kernel.links import read_link
from nodespan.kernel.outside_text import bytes_of, c_text
from nodespan.kernel.rtnetlink import (
    OwnPorts,
    Request,
    RtnlSocket,
    inside,
    integer,
    ip_address,
    ip_prefix,
    members,
    parse,
    split,
    text,
    zero_terminated,
)

LINK = struct.pack("=BxHiII", 0, 32, 7, 1, 0)


def message(type: int, body: bytes) -> bytes:
    whole = struct.pack("=IHHII", 16 + len(body), type, 0, 0, 0) + body
    return whole.ljust((len(whole) + 3) & ~3, b"\0")


def attribute(number: int, value: bytes) -> bytes:
    whole = struct.pack("=HH", 4 + len(value), number) + value
    return whole.ljust((len(whole) + 3) & ~3, b"\0")


def test_a_datagram_may_hold_many_messages_and_foreign_ones() -> None:
    data = message(16, LINK + attribute(3, b"eth0\0")) + message(100, b"chain") + message(17, LINK)
    assert [(each.type, each.fields[2], text(each.attributes, 3)) for each in parse(data)] == [
        (16, 7, "eth0"),
        (17, 7, ""),
    ]


def test_a_datagram_that_ends_too_early_ends_the_reading() -> None:
    assert list(parse(b"")) == []
    assert list(parse(b"\0" * 64)) == []
    assert list(members(b"\0\0\0\0")) == []


def test_flag_bits_in_the_type_of_an_attribute_are_ignored() -> None:
    nested = attribute(18 | 0x8000, attribute(1, b"veth\0"))
    (found,) = parse(message(16, LINK + nested))
    assert text(inside(found.attributes, 18), 1) == "veth"


def test_numbers_have_any_size() -> None:
    sizes = {
        1: struct.pack("=B", 7),
        2: struct.pack("=H", 700),
        3: struct.pack("=I", 70000),
        4: struct.pack("=Q", 2**40),
    }
    assert [integer(sizes, number) for number in (1, 2, 3, 4, 5)] == [7, 700, 70000, 2**40, 0]


def test_the_size_of_an_address_gives_its_family() -> None:
    assert ip_address(b"") == ""
    assert ip_address(bytes([192, 0, 2, 1])) == "192.0.2.1"
    assert ip_address(bytes(15) + b"\1") == "::1"
    assert ip_prefix(bytes([192, 0, 2, 0]), 24) == "192.0.2.0/24"
    assert ip_prefix(bytes(4), 0) == ""


def test_hardware_addresses_have_any_length() -> None:
    infiniband = bytes(range(20))
    (found,) = parse(message(16, LINK + attribute(1, infiniband) + attribute(2, bytes([192, 0, 2, 1]))))
    status = read_link(found).status
    assert status.hardware_addr == infiniband.hex(":")
    assert status.broadcast_addr == "c0:00:02:01"
    assert status.type == "infiniband"


NAMES = [
    b"eth0",
    b"caf\xc3\xa9",
    b"\xff",
    b"\xfe",
    b"\\xff",
    b"\\x5cxff",
    b"a\x1b[2J",
    b"a\\b",
    b"\xef\xbf\xbd",
    b"\\xFF",
    b"\xc3",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_is_not_text_is_shown_escaped_and_found_again(name: bytes) -> None:
    shown = c_text(name + b"\0rest")
    assert shown.isprintable()
    assert shown.encode()
    assert bytes_of(shown) == name
    assert zero_terminated(3, shown)[4:].rstrip(b"\0") == name


def test_names_that_differ_are_shown_differently() -> None:
    assert len({c_text(name) for name in NAMES}) == len(NAMES)
    assert [c_text(name) for name in NAMES[:3]] == ["eth0", "caf\u00e9", "\\xff"]


@given(st.binary(max_size=20).map(lambda data: data.replace(b"\0", b"")))
def test_every_name_survives(name: bytes) -> None:
    assert bytes_of(c_text(name)) == name


class Kernel:
    """The other end of a connection: answers requests as rtnetlink does, refusing those for these indexes."""

    def __init__(self, *refused: int) -> None:
        self.datagrams: list[list[int]] = []
        self._refused = refused
        self._answers: list[bytes] = []

    def send(self, datagram: bytes) -> None:
        asked = []
        for _, flags, start, _ in split(datagram):
            number = struct.unpack_from("=I", datagram, start - 8)[0]
            index = struct.unpack_from("=BxHiII", datagram, start)[2]
            asked.append(index)
            code = -errno.EEXIST if index in self._refused else 0
            if code or flags & NLM_F_ACK:
                answer = struct.pack("=i", code) + datagram[start - 16 : start]
                self._answers.append(struct.pack("=IHHII", 16 + len(answer), 2, 0, number, 0) + answer)
        self.datagrams.append(asked)

    def recv(self, _size: int) -> bytes:
        return self._answers.pop(0)

    @property
    def is_read(self) -> bool:
        return not self._answers


def changes(count: int, size: int = 0) -> list[Request]:
    return [Request(17, 0, (0, 0, index, 0, 0), (bytes(size),)) for index in range(count)]


@pytest.mark.parametrize("refused", [(), (0,), (3,), (4,), (0, 2, 4), (0, 1, 2, 3, 4)])
def test_requests_of_one_round_are_one_datagram_and_refusals_name_their_request(refused: tuple[int, ...]) -> None:
    kernel = Kernel(*refused)
    found = RtnlSocket(kernel).request_all(changes(5))  # type: ignore[arg-type]
    assert kernel.datagrams == [[0, 1, 2, 3, 4]]
    assert found.keys() == set(refused)
    assert all(isinstance(error, FileExistsError) for error in found.values())
    assert kernel.is_read


@pytest.mark.parametrize(
    ("count", "size", "datagrams"), [(0, 0, 0), (1, 0, 1), (300, 0, 3), (40, 1000, 2), (2, 40_000, 2)]
)
def test_many_requests_are_several_datagrams(count: int, size: int, datagrams: int) -> None:
    kernel = Kernel(1, count - 1)
    found = RtnlSocket(kernel).request_all(changes(count, size))  # type: ignore[arg-type]
    assert len(kernel.datagrams) == datagrams
    assert [index for datagram in kernel.datagrams for index in datagram] == list(range(count))
    assert found.keys() == {1, count - 1} & set(range(count))
    assert kernel.is_read


def test_a_single_refusal_is_raised() -> None:
    with pytest.raises(FileExistsError):
        RtnlSocket(Kernel(7)).change(17, 0, (0, 0, 7, 0, 0))  # type: ignore[arg-type]


class Answers:
    """The other end of a connection: datagrams of answers, whatever is asked."""

    def __init__(self, *answers: bytes) -> None:
        self._answers = list(answers)

    def send(self, _datagram: bytes) -> None:
        """Nothing depends on it."""

    def recv(self, _size: int) -> bytes:
        return self._answers.pop(0)


def answer(number: int, type: int, body: bytes) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), type, 0, number, 0) + body


def test_what_is_left_of_an_earlier_answer_is_no_answer_to_the_next_question() -> None:
    done = struct.pack("=i", 0)
    link = LINK + attribute(3, b"eth0\0")
    kernel = RtnlSocket(
        Answers(answer(1, 16, link), answer(1, 16, link), answer(1, 3, done), answer(2, 16, LINK), answer(2, 3, done))  # type: ignore[arg-type]
    )
    first = kernel.dump(18)
    assert text(next(first).attributes, 3) == "eth0"
    first.close()  # type: ignore[attr-defined]
    assert [text(each.attributes, 3) for each in kernel.dump(18)] == [""]
    kernel = RtnlSocket(Answers(answer(0, 16, LINK), answer(1, 16, link)))  # type: ignore[arg-type]
    found = kernel.link(7)
    assert found is not None
    assert text(found.attributes, 3) == "eth0"


def test_the_ports_of_open_connections_and_of_the_last_ones_are_known() -> None:
    ports = OwnPorts(remembered=2)
    # A port that is free is given to the next connection; another namespace has it too.
    for port in (1, 2, 2, 3):
        ports.opened(port)
    for port in (2, 3, 4):
        ports.opened(port)
        ports.closed(port)
    assert [port in ports for port in range(6)] == [False, True, True, True, True, False]
    for port in (1, 2, 2, 3):
        ports.closed(port)
    assert [port in ports for port in range(6)] == [False, False, True, True, False, False]
