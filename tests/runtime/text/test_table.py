"""How tables look, in lists and in watches."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodespan.runtime.text.table import Table

LINKS = """\
NODE           NAMESPACE   TYPE         ID       VERSION   ALIAS   TYPE       KIND   HW ADDR             OPER STATE   LINK STATE
192.168.0.10   network     LinkStatus   bond0    2                 ether      bond   00:50:56:8e:8f:e4   up           true
192.168.0.10   network     LinkStatus   enp1s0   3         net0    ether             00:50:56:8e:8f:e4   up           true
192.168.0.10   network     LinkStatus   lo       1                 loopback          00:00:00:00:00:00   unknown      true
"""  # noqa: E501

WATCH = """\
NODE           *   NAMESPACE   TYPE            ID                       VERSION   ADDRESS           LINK
192.168.0.10   +   network     AddressStatus   enp1s0/192.168.0.10/24   1         192.168.0.10/24   enp1s0
192.168.0.10   +   network     AddressStatus   lo/127.0.0.1/8           1         127.0.0.1/8       lo
192.168.0.10   +   network   AddressStatus   enp1s0/192.168.0.15/32   1   192.168.0.15/32   enp1s0
192.168.0.10       network   AddressStatus   enp1s0/192.168.0.10/24   2   192.168.0.10/24   enp1s0
192.168.0.10   -   network   AddressStatus   enp1s0/192.168.0.15/32   1   192.168.0.15/32   enp1s0
"""


def test_a_list_is_aligned_as_a_whole() -> None:
    table = Table(
        ["NODE", "NAMESPACE", "TYPE", "ID", "VERSION", "ALIAS", "TYPE", "KIND", "HW ADDR", "OPER STATE", "LINK STATE"]
    )
    head = ["192.168.0.10", "network", "LinkStatus"]
    table.add([*head, "bond0", "2", "", "ether", "bond", "00:50:56:8e:8f:e4", "up", "true"])
    table.add([*head, "enp1s0", "3", "net0", "ether", "", "00:50:56:8e:8f:e4", "up", "true"])
    table.add([*head, "lo", "1", "", "loopback", "", "00:00:00:00:00:00", "unknown", "true"])
    assert table.flush() == LINKS


def test_a_watch_aligns_the_initial_contents_and_then_each_line_by_itself() -> None:
    def row(event: str, version: str, address: str, link: str) -> list[str]:
        return [
            "192.168.0.10",
            event,
            "network",
            "AddressStatus",
            f"{link}/{address}",
            version,
            address,
            link,
        ]

    table = Table(["NODE", "*", "NAMESPACE", "TYPE", "ID", "VERSION", "ADDRESS", "LINK"])
    table.add(row("+", "1", "192.168.0.10/24", "enp1s0"))
    table.add(row("+", "1", "127.0.0.1/8", "lo"))
    shown = table.flush()
    for later in (
        row("+", "1", "192.168.0.15/32", "enp1s0"),
        row(" ", "2", "192.168.0.10/24", "enp1s0"),
        row("-", "1", "192.168.0.15/32", "enp1s0"),
    ):
        table.add(later)
        shown += table.flush()
    assert shown == WATCH


def test_an_empty_list_shows_the_header() -> None:
    table = Table(["NODE", "ID"])
    assert table.flush() == "NODE   ID\n"
    assert table.flush() == ""


def test_width_is_counted_in_characters() -> None:
    table = Table(["A", "B"])
    table.add(["größe", "x"])
    table.add(["✓", "y"])
    assert table.flush() == "A       B\ngröße   x\n✓       y\n"


def test_width_is_counted_in_columns_of_the_terminal() -> None:
    table = Table(["A", "B", "C"])
    table.add(["日本語", "x", "語"])
    table.add(["ab", "語", "語"])
    table.add(["e\u0301", "y", "語"])
    assert table.flush() == "A        B    C\n日本語   x    語\nab       語   語\ne\u0301        y    語\n"


def test_no_line_ends_in_blanks() -> None:
    table = Table(["A", "B", "C"])
    table.add(["one", "", ""])
    assert table.flush() == "A     B   C\none\n"


@pytest.mark.parametrize(
    ("cell", "shown"),
    [
        ("two\nlines", r"two\nlines"),
        ("a\tb\r", r"a\tb\r"),
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("\x9b2J\x00\x7f", r"\x9b2J\x00\x7f"),
        ("line\u2028separator \u202eright to left", r"line\u2028separator \u202eright to left"),
        ("\ud800", r"\ud800"),
        (r"back\slash", r"back\slash"),
    ],
)
def test_what_a_terminal_would_obey_is_escaped(cell: str, shown: str) -> None:
    table = Table(["A", "B"])
    table.add([cell, "x"])
    assert table.flush() == f"{'A'.ljust(len(shown))}   B\n{shown}   x\n"


@pytest.mark.parametrize("row", [[], ["a"], ["a", "b", "c"]])
def test_a_row_must_have_a_cell_for_each_column(row: list[str]) -> None:
    with pytest.raises(ValueError, match="does not fit a table of 2 columns"):
        Table(["A", "B"]).add(row)


@pytest.mark.parametrize("columns", [[], [["a"]], [["a"], ["b"], ["c"]], [["a"], []], [[], ["b"]]])
def test_columns_must_be_rows_of_the_table(columns: list[list[str]]) -> None:
    table = Table(["A", "B"])
    with pytest.raises(ValueError, match="are not 1 rows of 2 columns"):
        table.add_columns(1, columns)
    assert table.flush() == "A   B\n"


@given(st.lists(st.tuples(st.text(), st.text(), st.text()), max_size=5))
def test_columns_look_like_the_same_rows(rows: list[tuple[str, str, str]]) -> None:
    by_rows, by_columns = Table(["A", "B", "C"]), Table(["A", "B", "C"])
    for row in rows:
        by_rows.add(row)
    by_columns.add_columns(len(rows), [[row[number] for row in rows] for number in range(3)])
    assert by_columns.flush() == by_rows.flush()


def test_a_column_may_be_one_text() -> None:
    table = Table(["A", "B", "C"])
    table.add_columns(2, ["100%", ["x", "y"], "é"])
    table.add_columns(1, ["z", "zz", "é"])
    assert table.flush() == "A      B    C\n100%   x    é\n100%   y    é\nz      zz   é\n"


@given(st.lists(st.tuples(st.text(), st.text(), st.text()), max_size=5))
def test_whatever_the_cells_hold_every_row_is_one_line_that_can_be_printed(rows: list[tuple[str, str, str]]) -> None:
    table = Table(["A", "B", "C"])
    for row in rows:
        table.add(row)
    lines = table.flush().split("\n")
    assert len(lines) == len(rows) + 2
    assert all(line.isprintable() and not line.endswith(" ") for line in lines)


def test_lines_that_one_cell_makes_long_are_made_a_few_at_a_time() -> None:
    """The width of a column may be another machine's to choose."""
    whole, cut = Table(["A", "B", "C"]), Table(["A", "B", "C"])
    for table in (whole, cut):
        table.add_columns(
            600, ["same", [f"{each}語" for each in range(600)], [*("" for _ in range(599)), "x" * 40_000]]
        )
    parts = [*cut.parts()]
    assert max(map(len, parts)) < 200_000
    assert whole.size() >= sum(map(len, parts[1:]))
    assert "".join(parts) == whole.flush()
    rows = [line for part in parts[1:] for line in part.splitlines()]
    assert len(rows) == 600
    assert (rows[7], rows[599]) == ("same   7語", f"same   599語   {'x' * 40_000}")


def test_a_single_line_may_be_longer_than_what_is_made_at_once() -> None:
    table = Table(["A"])
    table.add_columns(2, [["x" * 300_000, "y"]])
    assert [len(part) for part in table.parts()] == [2, 300_001, 2]


@given(st.lists(st.tuples(st.text(), st.sampled_from(["", " ", "a", "語"])), max_size=6), st.integers(1, 40))
def test_parts_are_the_same_table(rows: list[tuple[str, str]], part: int) -> None:
    def table() -> Table:
        made = Table(["A", "B"])
        made.add_columns(len(rows), [[row[number] for row in rows] for number in range(2)])
        return made

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nodespan.runtime.text.table._PART", part)
        cut = "".join(table().parts())
    assert cut == table().flush()
