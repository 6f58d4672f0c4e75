"""Secrets of a configuration become stars, whatever notation they are written in, and nothing moves."""

import json

import pytest

from nodespan.controllers.config.finding import Severity
from nodespan.controllers.config.masked_text import mask_text, secret_texts
from nodespan.controllers.config.problem import Problem, render

TOKEN = "abcdef.0123456789"
NOTATIONS = {
    "JSON without blanks": f'{{"token":"{TOKEN}","x":1}}',
    "JSON of several lines": f'{{\n  "token":\n    "{TOKEN}",\n  "x": 1\n}}',
    "a key with escapes": f'{{"to\\x6ben":"{TOKEN}","x":1}}',
    "a value with escapes": f'token: "{TOKEN[:-1]}\\x39"\nx: 1',
    "an alias": f"a: &p {TOKEN}\ntoken: *p\nx: 1",
    "an alias of a key": f"a: &p token\nb: {{*p : {TOKEN}, x: 1}}",
    "an alias of a list": f"a: &p [y, {TOKEN}]\ntoken: *p\nx: 1",
    "a list": f"token: [y, {TOKEN}]\nx: 1",
    "a list in a table": f'{{"token":["y","{TOKEN}"],"x":1}}',
    "a table": f'{{"token":{{"y":"{TOKEN}"}},"x":1}}',
    "a mark of the order of bytes": f"\ufefftoken: {TOKEN}\nx: 1",
    "lines of Windows": f"token:\r\n  {TOKEN}\r\nx: 1",
    "a key and its value on lines of their own": f"? token\n: {TOKEN}\nx: 1",
    "a list of tables": f"- token: {TOKEN}\n  x: 1\n- {{x: 1}}",
}


@pytest.mark.parametrize("text", NOTATIONS.values(), ids=NOTATIONS)
def test_what_the_reader_understands_as_a_secret_is_masked(text: str) -> None:
    masked = mask_text(text)
    assert TOKEN[:6] not in masked
    assert "1" in masked
    assert [len(line) for line in masked.splitlines()] == [len(line) for line in text.splitlines()]
    assert TOKEN in secret_texts(text)


@pytest.mark.parametrize(
    "text",
    [
        f'{{"token":"{TOKEN}"',
        f'{{"token":["y","{TOKEN}"',
        f'{{"to\\x6ben":"{TOKEN}"',
        f"x: [\ntoken:{TOKEN}",
        f"""x: [\ntoken:'{TOKEN}'""",
        f'x: [\n- "curl -d {{\\"token\\":\\"{TOKEN}\\"}}"',
    ],
)
def test_of_a_text_that_cannot_be_parsed_the_lines_are_masked(text: str) -> None:
    assert TOKEN[:6] not in mask_text(text)
    assert secret_texts(text) == []
    last = len(text.splitlines())
    problem = Problem(severity=Severity.ERROR, message="m", file="f", line=last, column=1)
    assert TOKEN[:6] not in render(problem, text)


def test_passwords_in_urls_are_masked_with_escapes_too() -> None:
    assert "hush" not in mask_text('a: "https:\\/\\/me:hush@example.org/"')


def test_what_is_no_secret_stays() -> None:
    document = {"machine": {"type": "worker", "install": {"image": "a:b"}}, "publicKey": "QUJD" * 11}
    for text in (json.dumps(document), json.dumps(document, separators=(",", ":")), json.dumps(document, indent=2)):
        assert mask_text(text) == text


def test_aliases_of_aliases_are_followed_in_no_more_time_than_their_text_is_long() -> None:
    lines = ["a0: &a0 [hush, hush]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 60)]
    text = "\n".join([*lines, "token: *a59"])
    masked = mask_text(text)
    assert len(masked) == len(text)
    assert "hush" not in masked
    assert secret_texts(text) == ["hush", "hush"]
    assert "hush" in mask_text("\n".join(lines))
