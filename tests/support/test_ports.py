"""Ports for programs that tests start: the kernel gives them to nobody, and no two test runs use the same."""

import os
import socket
from pathlib import Path

import pytest

from tests.support import ports


def test_the_blocks_are_beside_what_the_kernel_gives() -> None:
    given = range(32768, 61000)
    found = ports.blocks(f"{given.start}\t{given.stop - 1}\n")
    assert {block[0] for block in found} >= {10_000, 61_000, 65_400}
    assert not [port for block in found for port in block if port in given or port > 65_535]
    assert ports.blocks("1024 65535") == []
    assert not {port for block in found for port in block} & set(ports.OF_RELAYS)


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_a_port_that_is_taken_either_way_is_not_free(kind: socket.SocketKind) -> None:
    port = ports.free_port()
    assert ports._is_free("127.0.0.1", port)
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.bind(("127.0.0.1", port))
        if kind is socket.SOCK_STREAM:
            taken.listen()
        assert not ports._is_free("127.0.0.1", port)


def test_a_block_belongs_to_one_process() -> None:
    start = 1_000_000 + 2 * os.getpid()  # no port, and of no other run
    choice = [range(start, start + 1), range(start + 1, start + 2)]
    assert {ports.claimed(choice), ports.claimed(choice)} == set(choice)
    with pytest.raises(AssertionError, match="all blocks of ports are claimed"):
        ports.claimed(choice)


def test_a_port_is_free_and_another_one_each_time() -> None:
    first, second, third = (*ports.free_ports(2), ports.free_port())
    assert len({first, second, third}) == 3
    with socket.create_server(("127.0.0.1", first)):
        assert first not in {ports.free_port() for _ in range(ports.SIZE)}


def test_without_a_free_port_it_says_so() -> None:
    with pytest.raises(AssertionError, match=f"of the ports of this run, {ports.SIZE + 1} are not free at 127"):
        ports.free_ports(ports.SIZE + 1)


def test_where_the_kernel_gives_all_ports_it_is_asked_for_some(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(ports, "GIVEN", tmp_path / "range")
    monkeypatch.setattr(ports, "_cycles", {})
    ports.GIVEN.write_text("1024\t65535\n")
    found = (*ports.free_ports(2), ports.free_port())
    assert len(set(found)) == 3
