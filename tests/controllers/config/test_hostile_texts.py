"""Whatever the text is: loading ends, with a value or with problems that can be shown, and shows no secret."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nodespan.controllers.config import tree
from nodespan.controllers.config.loading import load, load_bytes
from nodespan.controllers.config.problem import render, split_lines
from tests.controllers.config.samples import KEY_A, SAMPLES, SECRET

QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
# Pieces that mean something to YAML or to a configuration.
PIECES = st.sampled_from(
    [
        "- ",
        ": ",
        "{",
        "}",
        "[",
        "]",
        ",",
        "&a ",
        "*a",
        "<<: ",
        "!x ",
        "!!int ",
        ">-\n",
        "'",
        '"',
        "---\n",
        "...\n",
        "%YAML 1.1\n",
        "# ",
        "\\",
        "\r\n",
        "\x85",
        "\ufeff",
        "~",
        "? ",
        "@",
        "`",
        "0x",
        "-1",
        "1e999",
        "\n",
        "  ",
        "\t",
        "machine",
        "network",
        "interfaces",
        "addresses",
        "kind",
        "apiVersion: v1alpha1\n",
        "kind: BondConfig\n",
        "name",
    ]
) | st.just("|\n")
SOUP = st.lists(st.one_of(PIECES, st.text(max_size=5)), max_size=30).map("".join)


def check(text: str) -> None:
    loaded = load(text)
    lines = split_lines(text)
    for problem in loaded.problems:
        assert 0 <= problem.line <= len(lines)
        shown = render(problem, text)
        assert str(problem) in shown
        assert KEY_A not in shown
        assert SECRET not in shown
    repr(loaded)


@QUICK
@given(st.text())
def test_any_text_can_be_loaded(text: str) -> None:
    check(text)


@QUICK
@given(SOUP)
def test_any_soup_of_yaml_can_be_loaded(text: str) -> None:
    check(text)


@QUICK
@given(st.binary(max_size=200))
def test_any_bytes_can_be_loaded(raw: bytes) -> None:
    load_bytes(raw)


@QUICK
@given(
    st.sampled_from(sorted(SAMPLES)), st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 6), PIECES), max_size=4)
)
def test_a_damaged_configuration_can_be_loaded(name: str, damage: list[tuple[int, int, str]]) -> None:
    text = SAMPLES[name]
    for place, removed, piece in damage:
        place %= len(text)
        text = text[:place] + piece + text[place + removed :]
    check(text)


@QUICK
@given(st.sampled_from(sorted(SAMPLES)), st.data())
def test_a_configuration_with_lines_moved_can_be_loaded(name: str, data: st.DataObject) -> None:
    lines = SAMPLES[name].split("\n")
    check("\n".join(data.draw(st.lists(st.sampled_from(lines), max_size=20))))


@pytest.mark.parametrize("depth", [64, 10_000])
@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? "])
def test_deep_nesting_is_an_error_and_not_a_crash(opening: str, depth: int) -> None:
    assert load(opening * depth).problems


@pytest.mark.parametrize(
    "text",
    [
        "a: b\n" * 100_000,
        "".join(f"a{number}: b\n" for number in range(50_000)),
        "- x\n" * 100_000,
        "a: [" + "{a: {b: c}}, " * 20_000 + "]",
        "---\n" * 40_000,
        "- !a b\n" * 40_000,
        "{" + "a," * 40_000 + "}",
    ],
    ids=["one key", "many keys", "items", "flow", "documents", "tags", "flow keys"],
)
def test_a_text_of_too_many_values_is_read_no_further_than_its_limit(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = 0
    take = tree._Reader.take

    def counted(reader: tree._Reader, event: object) -> None:
        nonlocal taken
        taken += 1
        take(reader, event)

    monkeypatch.setattr(tree._Reader, "take", counted)
    monkeypatch.setattr(tree, "MOST_EVENTS", 3_000)  # a tenth, for the sake of quick tests
    loaded = load(text)
    assert [problem.message for problem in loaded.problems] == [
        "the configuration has more than 3,000 keys and values, and is read up to here"
    ]
    assert taken == tree.MOST_EVENTS + 1


def test_large_texts_of_few_values_are_read() -> None:
    block = "".join(f"      line {number}\n" for number in range(50_000))
    loaded = load(
        f"machine:\n  files:\n  - path: /etc/a\n    permissions: 0o644\n    op: create\n    content: |\n{block}"
    )
    assert not loaded.problems


@pytest.mark.parametrize(
    "text",
    [
        'machine: {network: {"\\ud800": 1}}',
        '"\\udfff": 1',
        'machine: {network: {hostname: "a\\ud800"}}',
        'kind: "\\ud800"\napiVersion: v1alpha1',
    ],
)
def test_half_a_surrogate_pair_is_refused_at_its_place(text: str) -> None:
    (problem,) = load(text).problems
    assert problem.message == "half of a surrogate pair, as \\ud800 is, is not a character"
    assert problem.line == 1
    render(problem, text).encode()


def test_control_characters_of_keys_are_shown_escaped() -> None:
    text = 'machine: {network: {"\\e[31m": 1}}\n"\\e[2J": 1\n'
    loaded = load(text)
    shown = [*(render(problem, text) for problem in loaded.problems), *map(str, loaded.ignored)]
    assert "\\x1b[31m" in shown[0]
    assert "\\x1b[2J" in shown[-1]
    assert all("\x1b" not in each for each in shown)
