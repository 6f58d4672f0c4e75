"""The screen of `nodespan status`: laid out for the terminal that there is, and the same facts for programs."""

import json
from typing import Any

import pytest
from ruamel.yaml import YAML

from nodespan.runtime.cli.errors import CommandError
from nodespan.runtime.cli.overview import status
from nodespan.runtime.cli.overview.status import Screen, data_of
from nodespan.runtime.cli.screen import Paint
from nodespan.runtime.text.width import width_of


def finding(severity: str, text: str, remedy: str = "") -> dict[str, str]:
    return {"severity": severity, "text": text, "remedy": remedy}


def row(*cells: str, severity: str = "info") -> dict[str, Any]:
    return {"cells": list(cells), "severity": severity}


def report(*sections: dict[str, Any], healthy: bool = True, warnings: int = 0) -> dict[str, Any]:
    whole: dict[str, Any] = {"facts": [], "table": None, "findings": [], "data": {}}
    return {
        "node": "one",
        "version": "1.2.3",
        "time": "2026-01-02T03:04:05Z",
        "healthy": healthy,
        "warnings": warnings,
        "sections": [{**whole, "name": each["title"].lower(), **each} for each in sections],
    }


TABLE = {
    "columns": ["PEER", "STATE"],
    "rows": [row("two", "up"), row("日本", "down", severity="warning")],
    "more": "nodespan get peers",
}
REPORT = report(
    {"title": "Node", "facts": [["name", "one"], ["addresses", "192.0.2.1/24"]], "data": {"name": "one"}},
    {"title": "Mesh", "table": TABLE, "findings": [finding("warning", "日本 is down", "look there")]},
    {"title": "Nothing"},
    {"title": "Problems", "findings": [finding("error", "it is broken", "mend it")]},
    healthy=False,
    warnings=1,
)


def lines(
    report: dict[str, Any], *, columns: int | None = None, colours: bool = False, rows: int | None = 12
) -> list[str]:
    return list(Screen(columns=columns, paint=Paint(enabled=colours), most_rows=rows).lines(report))


def test_the_screen_has_facts_tables_and_what_to_do_the_worst_first() -> None:
    assert lines(REPORT) == [
        "Node",
        "  name       one",
        "  addresses  192.0.2.1/24",
        "",
        "Mesh",
        "  PEER  STATE",
        "  two   up",
        "  日本  down",
        "",
        "✗ it is broken",
        "  → mend it",
        "! 日本 is down",
        "  → look there",
        "not healthy",
    ]


def test_colours_only_where_they_are_shown() -> None:
    coloured = lines(REPORT, colours=True)
    assert coloured[-1] == "\x1b[31mnot healthy\x1b[0m"
    assert coloured[7] == "\x1b[33m  日本  down\x1b[0m"
    assert "\x1b" not in "".join(lines(REPORT))


@pytest.mark.parametrize(
    ("healthy", "warnings", "word"),
    [
        (True, 0, "healthy"),
        (True, 1, "healthy, with 1 warning"),
        (True, 2, "healthy, with 2 warnings"),
        (False, 1, "not healthy"),
    ],
)
def test_the_last_line_is_the_verdict(healthy: bool, warnings: int, word: str) -> None:
    assert lines(report(healthy=healthy, warnings=warnings))[-1] == word


@pytest.mark.parametrize("columns", [1, 5, 10, 20, 40])
def test_nothing_but_findings_is_wider_than_a_narrow_terminal(columns: int) -> None:
    shown = lines(REPORT, columns=columns)
    assert all(width_of(line) <= columns for line in shown[: shown.index("✗ it is broken")])


def test_of_a_long_table_those_that_need_attention_are_shown_and_the_rest_is_counted() -> None:
    table = {
        **TABLE,
        "rows": [*(row(f"p{number}", "up") for number in range(1000)), row("bad", "down", severity="warning")],
    }
    shown = lines(report({"title": "Mesh", "table": table}), rows=3)
    assert shown[2:6] == ["  bad   down", "  p0    up", "  p1    up", "  ... and 998 more: nodespan get peers"]
    assert len(lines(report({"title": "Mesh", "table": table}), rows=None)) == 1005


def test_of_many_findings_the_worst_are_shown_and_the_rest_is_counted() -> None:
    many = [*(finding("warning", f"w{number}") for number in range(50)), finding("error", "e")]
    shown = lines(report({"title": "Problems", "findings": many}, healthy=False, warnings=50))
    assert (shown[0], len(shown)) == ("✗ e", 22)
    assert shown[-2] == "... and 31 more: nodespan status --all"


def test_texts_of_others_are_shown_escaped_wherever_they_stand() -> None:
    bad = "a\x1b[2J\n\u202eb"
    table = {"columns": [bad], "rows": [row(bad)], "more": bad}
    hostile = report({"title": bad, "facts": [[bad, bad]], "table": table, "findings": [finding("error", bad, bad)]})
    assert all(line.isprintable() for line in lines(hostile, rows=0))
    assert all(line.isprintable() for line in lines(hostile))


@pytest.mark.parametrize("form", ["json", "yaml"])
def test_programs_get_the_data_of_the_sections_and_all_findings(
    form: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(status, "ask", lambda *_: [{"status": REPORT}])
    assert status.status("", output=form, watch=False, strict=False, all=False) == 3
    text = capsys.readouterr().out
    read = json.loads(text) if form == "json" else YAML(typ="safe").load(text)
    assert read == data_of(REPORT)
    assert read["sections"] == {"node": {"name": "one"}}
    assert [(each["section"], each["severity"]) for each in read["findings"]] == [
        ("mesh", "warning"),
        ("problems", "error"),
    ]


@pytest.mark.parametrize(
    ("healthy", "warnings", "strict", "expected"),
    [(True, 0, True, 0), (True, 1, False, 0), (True, 1, True, 3), (False, 0, False, 3)],
)
def test_the_exit_status_says_whether_it_is_healthy(
    healthy: bool, warnings: int, strict: bool, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status, "ask", lambda *_: [{"status": report(healthy=healthy, warnings=warnings)}])
    assert status.status("", output="text", watch=False, strict=strict, all=False) == expected


def test_an_unknown_form_is_refused_before_anything_is_asked() -> None:
    with pytest.raises(CommandError, match="expected text, json or yaml"):
        status.status("/nowhere", output="xml", watch=False, strict=False, all=False)
