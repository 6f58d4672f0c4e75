"""The events of the faster reader are those of ruamel.yaml, and so are its errors."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from nodespan.runtime.codec import documents
from nodespan.runtime.codec.documents import DocumentError, read_documents
from nodespan.runtime.codec.yaml_reader import TooManyEventsError, yaml_reader
from tests.controllers.config.samples import SAMPLES
from tests.controllers.config.test_hostile_texts import QUICK, SOUP

Outcome = list[tuple[object, ...]]


def outcome(events: object) -> Outcome:
    """All of each event with its place, and the error at the end if there is one."""
    seen: Outcome = []
    try:
        for event in events:  # type: ignore[attr-defined]
            marks = [(mark.index, mark.line, mark.column) for mark in (event.start_mark, event.end_mark)]
            fields = ("anchor", "tag", "value", "style", "flow_style", "implicit", "explicit", "version")
            seen.append((type(event), *marks, *(repr(getattr(event, name, None)) for name in fields)))
    except (YAMLError, ValueError, OverflowError) as error:
        seen.append((type(error), str(error)))
    return seen


def same(text: str) -> None:
    assert outcome(yaml_reader().parse(text)) == outcome(YAML(typ="safe", pure=True).parse(text))


@pytest.mark.parametrize(
    "text",
    [
        *SAMPLES.values(),
        "",
        "a: b\r\nc:\r  d\n",
        "\ufeffa: 1\n",
        "a: \ufeffb\n",
        "%YAML 1.1\n---\na: yes\x85b: 1\n",
        "%YAML 1.2\n---\n[a, {b: c, ? d : e}]\n...\n---\n? - x\n: - y\n",
        "a: |\n  one\n\n  two\nb: >-\n  three\n  four\n# end",
        "k: \"quoted \\x41 \\\n  over lines\"\nl: 'it''s'\n",
        "&a x: *a\n",
        "x" * 1025 + ": y\n",
        "[" + "x" * 1025 + ": y]\n",
        "a: b: c\n",
        "a\nb: c\n",
        "- a\n b\n",
        "{a: [b, c}\n",
        "\ta: b\n",
    ],
)
def test_known_texts(text: str) -> None:
    same(text)


@QUICK
@given(SOUP)
def test_any_soup_of_yaml(text: str) -> None:
    same(text)


@QUICK
@given(st.text())
def test_any_text(text: str) -> None:
    same(text)


def test_a_reader_ends_at_its_limit_with_the_place() -> None:
    events = yaml_reader(5).parse("a: 1\nb: 2\n")
    # The stream, the document and the table begin.
    assert len([next(events) for _ in range(5)]) == 5
    with pytest.raises(TooManyEventsError) as reached:
        next(events)
    assert (reached.value.line, reached.value.column) == (1, 0)


@pytest.mark.parametrize("text", ["- x\n" * 9_000, "a: b\n---\n" * 3_000, "{a: {b: {c: d}}}\n---\n" * 3_000])
def test_documents_of_users_are_read_no_further_than_their_limit(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "_MOST_EVENTS", 1_000)
    with pytest.raises(DocumentError, match="may have 1,000 keys and values") as refused:
        list(read_documents(text))
    assert 100 < refused.value.line < 1_000
