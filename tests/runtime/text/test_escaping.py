"""Texts from outside within markup."""

import html
from xml.sax import saxutils

import pytest

from nodespan.runtime.text.escaping import in_markup

TEXTS = ["", "plain", "a & b", "<script>'x'</script>", '"quoted"', "&amp; again", "ü\n\x1b"]


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_within_markup_is_escaped_as_the_libraries_of_python_do(text: str) -> None:
    assert in_markup(text) == html.escape(text)
    assert in_markup(text, quotes=False) == html.escape(text, quote=False) == saxutils.escape(text)
