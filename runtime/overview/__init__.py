"""How a node is, as packages tell it: sections of `status`, checks of `doctor`, parts of `support`.

The runtime knows no application, so each of the three is a list that packages contribute to by an entry point, and a
command that shows whatever is there. Sections are made in the agent, from its state, so the command that shows them
imports next to nothing; checks run in the command itself, with an agent or without.
"""

from nodespan.runtime.overview.check import (
    CHECKS_GROUP,
    Check,
    Outcome,
    Surroundings,
    Verdict,
    failed,
    ok,
    skipped,
    warning,
)
from nodespan.runtime.overview.section import STATUS_GROUP, Fact, Finding, Glance, Row, Section, SectionView, Table
from nodespan.runtime.overview.severity import Severity

__all__ = [
    "CHECKS_GROUP",
    "STATUS_GROUP",
    "Check",
    "Fact",
    "Finding",
    "Glance",
    "Outcome",
    "Row",
    "Section",
    "SectionView",
    "Severity",
    "Surroundings",
    "Table",
    "Verdict",
    "failed",
    "ok",
    "skipped",
    "warning",
]
