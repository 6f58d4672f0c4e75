"""How appliers speak to the kernel."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from nodespan.controllers.network.apply.kernel_access import KeptConnection


class Kernel:
    """Notes which connections are open."""

    netns = "/run/netns/n1"

    def __init__(self) -> None:
        self.opened = 0
        self.is_open: set[int] = set()

    def mirror(self, *_: object) -> Any:
        raise AssertionError("not asked for here")

    @contextmanager
    def open(self) -> Iterator[Any]:
        number = self.opened = self.opened + 1
        self.is_open.add(number)
        try:
            yield number
        finally:
            self.is_open.remove(number)


def numbered(connection: Any) -> int:
    """The number that stands for a connection here."""
    return int(connection)


def test_jobs_use_one_connection_until_it_is_closed() -> None:
    kernel = Kernel()
    kept = KeptConnection(kernel)
    assert kept.netns == kernel.netns
    assert kernel.opened == 0
    for _ in range(3):
        with kept.open() as connection:
            assert numbered(connection) == 1
    assert kernel.is_open == {1}
    kept.close()
    kept.close()
    assert not kernel.is_open
    with kept.open() as connection:
        assert numbered(connection) == 2
    kept.close()
    assert not kernel.is_open


def test_after_an_error_the_next_job_gets_a_new_connection() -> None:
    kernel = Kernel()
    kept = KeptConnection(kernel)
    with pytest.raises(OSError, match="refused"), kept.open():
        raise OSError("refused")
    assert not kernel.is_open
    with kept.open() as connection:
        assert numbered(connection) == 2
        assert kernel.is_open == {2}
    kept.close()
