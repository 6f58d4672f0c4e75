"""Lines, and what is drawn over."""

import io
import os

import pytest

from nodespan.cluster.terminal import Terminal


class Screen(io.StringIO):
    """A terminal of some size."""

    def __init__(self, columns: int, rows: int) -> None:
        super().__init__()
        self.size = os.terminal_size((columns, rows))

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return -1


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Screen:
    made = Screen(40, 10)
    monkeypatch.setattr(os, "get_terminal_size", lambda _: made.size)
    return made


def test_a_file_gets_lines_only() -> None:
    file = io.StringIO()
    terminal = Terminal(file)
    terminal.line("one")
    assert not terminal.live(["two"])
    assert file.getvalue() == "one\n"


def test_live_lines_are_redrawn(screen: Screen) -> None:
    terminal = Terminal(screen)
    assert terminal.live(["one", "two"])
    assert terminal.live(["three"])
    assert terminal.live(["three"])  # the same again is not worth a flicker
    assert screen.getvalue() == "one\ntwo\n\x1b[2A\x1b[Jthree\n"


def test_log_lines_are_printed_above_the_live_part(screen: Screen) -> None:
    terminal = Terminal(screen)
    terminal.live(["live"])
    terminal.line("said")
    assert screen.getvalue() == "live\n\x1b[1A\x1b[Jsaid\nlive\n"


def test_settled_lines_stay(screen: Screen) -> None:
    terminal = Terminal(screen)
    terminal.live(["last"])
    terminal.settle()
    terminal.line("said")
    assert screen.getvalue() == "last\nsaid\n"


@pytest.mark.parametrize("lines", [["x" * 41], ["x"] * 10])
def test_lines_that_do_not_fit_are_not_drawn(screen: Screen, lines: list[str]) -> None:
    assert not Terminal(screen).live(lines)
    assert screen.getvalue() == ""
