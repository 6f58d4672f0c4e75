"""`nodespan status`: how the node is, on one screen. The agent makes it; this only lays it out."""

import sys
from collections.abc import Iterable, Iterator
from typing import Any

from nodespan.runtime.cli.client import ask
from nodespan.runtime.cli.errors import CommandError
from nodespan.runtime.cli.get import follow
from nodespan.runtime.cli.overview.form import to_json
from nodespan.runtime.cli.screen import Paint, for_terminal, shows_colours, terminal_columns
from nodespan.runtime.codec.yamltext import dump
from nodespan.runtime.text.escaping import escaped
from nodespan.runtime.text.width import fitted, padded, width_of

UNHEALTHY = 3
_COLOURS = {"error": "red", "warning": "yellow"}
_MARKS = {"error": "✗", "warning": "!", "info": "·"}
_RANK = {"error": 0, "warning": 1}
_MOST_ROWS = 12
_MOST_FINDINGS = 20
_GAP = "  "
_HOME_AND_CLEAR = "\x1b[H\x1b[2J\x1b[3J"


def status(socket_path: str, *, output: str, watch: bool, strict: bool, all: bool) -> int:
    """Show the status; returns whether the node is healthy. Raises CommandError."""
    shown = ReportOutput(output, watch=watch, all=all)
    request = {"call": "status", "watch": watch}
    if watch:

        def take(answers: Iterable[dict[str, Any]]) -> None:
            for answer in answers:
                shown.write([shown.text(answer["status"])])

        follow(socket_path, request, take)
        return 0
    (answer,) = ask(socket_path, request)
    report = answer["status"]
    shown.write([shown.text(report)])
    return exit_status([report], strict=strict)


def exit_status(reports: Iterable[dict[str, Any]], *, strict: bool) -> int:
    """0 if all these nodes are healthy; with `strict` only if there are no warnings either."""
    return 0 if all(each["healthy"] and not (strict and each["warnings"]) for each in reports) else UNHEALTHY


class ReportOutput:
    """Writes reports in the form that `-o` names. Raises CommandError for another one."""

    def __init__(self, output: str, *, watch: bool, all: bool) -> None:
        if output not in ("text", "table", "json", "yaml"):
            raise CommandError(f"unknown output {output!r}: expected text, json or yaml")
        self._output = output
        self._watch = watch
        self._screen = Screen(
            columns=terminal_columns(), paint=Paint(enabled=shows_colours()), most_rows=None if all else _MOST_ROWS
        )

    @property
    def is_screen(self) -> bool:
        """Whether it is for people: with a watch each report replaces the one before."""
        return self._output not in ("json", "yaml")

    def text(self, report: dict[str, Any], *, node: str = "") -> str:
        """The text of a report; under the name of the node, if there is one, as one of several."""
        if not self.is_screen:
            data = data_of(report) | ({"node": node} if node else {})
            if self._output == "json":
                return to_json(data)
            return ("---\n" if self._watch or node else "") + dump(data)
        return "".join(f"{line}\n" for line in self._screen.lines(report, node=node))

    def write(self, texts: Iterable[str]) -> None:
        """Write texts, on a terminal that is watched in place of all before."""
        if self.is_screen:
            clear = _HOME_AND_CLEAR if self._watch and self._screen.columns is not None else ""
            sys.stdout.write(clear + "\n".join(texts))
        else:
            sys.stdout.write(for_terminal("".join(texts)))
        sys.stdout.flush()


def data_of(report: dict[str, Any]) -> dict[str, Any]:
    """The report for programs: the data of the sections by name, and all findings."""
    return {
        "node": report["node"],
        "version": report["version"],
        "time": report["time"],
        "healthy": report["healthy"],
        "findings": [{"section": name, **finding} for name, finding in _findings(report)],
        "sections": {section["name"]: section["data"] for section in report["sections"] if section["data"]},
    }


def _findings(report: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for section in report["sections"]:
        for finding in section["findings"]:
            yield section["name"], finding


class Screen:
    """Lays a report out. `columns` None: for something else than a terminal, so that nothing is cut."""

    def __init__(self, *, columns: int | None, paint: Paint, most_rows: int | None) -> None:
        self.columns = columns
        self._paint = paint
        self._most_rows = most_rows

    def lines(self, report: dict[str, Any], *, node: str = "") -> Iterator[str]:
        """The lines of the screen: sections with anything to show, then what needs attention.

        Of one node among several the name comes first.
        """
        if node:
            yield self._paint("bold", self._fit(f"== {escaped(node)}"))
        for section in report["sections"]:
            if section["facts"] or section["table"]:
                yield self._paint("bold", self._fit(escaped(section["title"])))
                yield from self._facts(section["facts"])
                if section["table"]:
                    yield from self._table(section["table"])
                yield ""
        findings = sorted(
            (finding for _, finding in _findings(report)), key=lambda finding: _RANK.get(finding["severity"], 2)
        )
        shown = findings if self._most_rows is None else findings[:_MOST_FINDINGS]
        for finding in shown:
            yield from self._finding(finding)
        if len(shown) < len(findings):
            yield f"... and {len(findings) - len(shown)} more: nodespan status --all"
        if not report["healthy"]:
            yield self._paint("red", "not healthy")
        elif report["warnings"]:
            count = report["warnings"]
            yield self._paint("yellow", f"healthy, with {count} {'warning' if count == 1 else 'warnings'}")
        else:
            yield self._paint("green", "healthy")

    def _fit(self, text: str) -> str:
        return fitted(text, self.columns)

    def _facts(self, facts: list[list[str]]) -> Iterator[str]:
        shown = [(escaped(label), escaped(text)) for label, text in facts]
        width = max((width_of(label) for label, _ in shown), default=0)
        for label, text in shown:
            yield self._fit(f"{_GAP}{padded(label, width)}{_GAP}{text}")

    def _table(self, table: dict[str, Any]) -> Iterator[str]:
        rows = table["rows"]
        left_out = 0
        if self._most_rows is not None and len(rows) > self._most_rows:
            # Those that need attention come first, or they would be the ones that are not seen.
            rows = sorted(rows, key=lambda row: _RANK.get(row["severity"], 2))
            left_out = len(rows) - self._most_rows
            rows = rows[: self._most_rows]
        cells = [[escaped(column) for column in table["columns"]], *([*map(escaped, row["cells"])] for row in rows)]
        widths = [max(map(width_of, column)) for column in zip(*cells, strict=True)]
        severities = ["", *(row["severity"] for row in rows)]
        for line, severity in zip(cells, severities, strict=True):
            text = _GAP + _GAP.join(padded(cell, width) for cell, width in zip(line, widths, strict=True)).rstrip(" ")
            yield self._paint(_COLOURS[severity], self._fit(text)) if severity in _COLOURS else self._fit(text)
        if left_out:
            more = f": {escaped(table['more'])}" if table["more"] else ""
            yield self._fit(f"{_GAP}... and {left_out} more{more}")

    def _finding(self, finding: dict[str, Any]) -> Iterator[str]:
        severity = finding["severity"]
        mark, text = _MARKS.get(severity, "·"), escaped(finding["text"])
        # Never cut: what is wrong, and what to do, is what this command is asked for.
        yield f"{self._paint(_COLOURS[severity], mark) if severity in _COLOURS else mark} {text}"
        if finding["remedy"]:
            yield f"  → {escaped(finding['remedy'])}"
