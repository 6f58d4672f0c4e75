"""The status of a node as one plain value, from all sections. Any section may fail: the others are shown."""

import datetime
import socket
from collections.abc import Iterable, Iterator
from typing import Any

import attrs

from nodespan.runtime.controller import Logger
from nodespan.runtime.errors import AccessError
from nodespan.runtime.overview.section import Fact, Finding, Glance, Section, SectionView, Table
from nodespan.runtime.overview.severity import Severity
from nodespan.runtime.state.base import State


def make_report(
    sections: Iterable[Section], state: State, now: datetime.datetime, *, version: str, log: Logger
) -> dict[str, Any]:
    """The report of `nodespan.runtime.api.protocol`. An error among the findings makes the node unhealthy."""
    glance = Glance(state, now, version)
    shown = [_plain(section, _view(section, glance, log)) for section in sections]
    severities = [finding["severity"] for section in shown for finding in section["findings"]]
    return {
        "node": socket.gethostname(),
        "version": version,
        "time": now.astimezone(datetime.UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "healthy": Severity.ERROR.value not in severities,
        "warnings": severities.count(Severity.WARNING.value),
        "sections": shown,
    }


def _view(section: Section, glance: Glance, log: Logger) -> SectionView:
    try:
        return section.view(glance)
    except AccessError as error:
        return SectionView(facts=(Fact("not shown", str(error)),))
    except Exception:
        log.exception("a section of the status failed", section=section.name)
        text = f"the section {section.name} of the status failed"
        return SectionView(findings=(Finding(Severity.ERROR, text, "see the log of the agent: nodespan logs"),))


def _plain(section: Section, view: SectionView) -> dict[str, Any]:
    return {
        "name": section.name,
        "title": section.title,
        "facts": [[fact.label, fact.text] for fact in view.facts],
        "table": None if view.table is None else _plain_table(view.table),
        "findings": [attrs.asdict(finding, value_serializer=_serialize) for finding in view.findings],
        "data": dict(view.data),
    }


def _plain_table(table: Table) -> dict[str, Any]:
    rows = [{"cells": list(row.cells), "severity": row.severity.value} for row in table.rows]
    return {"columns": list(table.columns), "rows": rows, "more": table.more}


def _serialize(_instance: Any, _field: Any, value: Any) -> Any:
    return value.value if isinstance(value, Severity) else value


def ago(moment: datetime.datetime, now: datetime.datetime) -> str:
    """How long ago a time was: `12 s`, `5 min`, `3 h`, `4 d`."""
    seconds = max(0, int((now - moment).total_seconds()))
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"


def size(count: int) -> str:
    """A number of bytes: `512 B`, `1.5 KiB`, `12 GiB`."""
    number = float(count)
    for unit in _units():
        if number < 1000 or unit == "PiB":
            return f"{number:.0f} {unit}" if number >= 10 or unit == "B" else f"{number:.1f} {unit}"
        number /= 1024
    raise AssertionError("there is a last unit")


def _units() -> Iterator[str]:
    yield "B"
    for prefix in "KMGTP":
        yield f"{prefix}iB"
