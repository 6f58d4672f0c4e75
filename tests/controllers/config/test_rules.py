"""Every kind of document has a rule, and only one."""

from collections.abc import Iterator
from typing import get_args

import pytest

from nodespan.controllers.config.finding import Finding
from nodespan.controllers.config.rules.base import RuleSet
from nodespan.controllers.config.rules.documents import DOCUMENT_RULES
from nodespan.resources.config import Document, NodespanConfig


def test_every_kind_of_document_has_a_rule() -> None:
    assert set(DOCUMENT_RULES) == {*get_args(Document), NodespanConfig}


def test_a_second_rule_for_a_kind_is_refused() -> None:
    rules = RuleSet()

    @rules.document(NodespanConfig)
    def check(_document: NodespanConfig) -> Iterator[Finding]:
        yield from ()

    with pytest.raises(AssertionError, match="two rules for NodespanConfig"):
        rules.document(NodespanConfig)(check)
