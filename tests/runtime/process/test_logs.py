"""Logs are lines for people or for machines, and no traceback tells more than where."""

import io
import json
from typing import Any

import pytest
import structlog

from nodespan.runtime.process import logs


def logger(form: str) -> tuple[Any, io.StringIO]:
    written = io.StringIO()
    return structlog.wrap_logger(structlog.PrintLogger(written), processors=logs.processors(form)), written


def test_a_machine_gets_one_object_a_line() -> None:
    log, written = logger("json")
    log.warning("it happened", where="here", many=2)
    (line,) = written.getvalue().splitlines()
    entry = json.loads(line)
    assert entry.pop("timestamp").endswith("Z")
    assert entry == {"event": "it happened", "level": "warning", "where": "here", "many": 2}


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_line_and_its_end_are_one_write(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise those of several processes on one stream would get into each other; and it costs a system call."""
    writes: list[str] = []

    class Stream(io.StringIO):
        def write(self, text: str) -> int:
            writes.append(text)
            return len(text)

    monkeypatch.setattr("sys.stderr", Stream())
    before = structlog.get_config()
    logs.configure(form, "info")
    try:
        log = structlog.get_logger()
        for event in ("first", "second"):
            log.info(event, where="here")
        log.bind(who="one").info("third")
    finally:
        structlog.configure(**before)
    assert [text.count("\n") for text in writes] == [1, 1, 1]
    assert all(text.endswith("\n") for text in writes)


def test_a_person_gets_a_readable_line() -> None:
    log, written = logger("text")
    log.info("it happened", where="here")
    assert "it happened" in written.getvalue()
    assert "where=here" in written.getvalue()


@pytest.mark.parametrize("form", ["text", "json"])
def test_what_others_say_cannot_act_on_a_terminal_or_feign_a_line(form: str) -> None:
    log, written = logger(form)
    try:
        raise ValueError("\x1b]0;title\x07")
    except ValueError:
        log.exception("first\nline\x9b2J", name="web\x1b[2J\nit happened", names=["\x1b[31m"], other="\u202e")
    text = written.getvalue()
    assert all(char.isprintable() or char == "\n" for char in text)
    assert "\nit happened" not in text.replace("first\nline", "")
    # A text with blanks is written as its representation.
    assert "web\\x1b[2J\\nit happened" in text.replace("\\\\", "\\").replace("\\u001b", "\\x1b")


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_traceback_shows_no_values(form: str) -> None:
    log, written = logger(form)
    secret = "".join(("hu", "sh"))
    try:
        raise ValueError(len(secret))
    except ValueError:
        log.exception("it failed")
    assert "ValueError: 4" in written.getvalue()
    assert "hush" not in written.getvalue()


@pytest.mark.parametrize(("level", "shown"), [("debug", 2), ("info", 1), ("error", 0)])
def test_the_level_chooses(capsys: pytest.CaptureFixture[str], level: str, shown: int) -> None:
    before = structlog.get_config()
    try:
        logs.configure("json", level)
        log = structlog.get_logger()
        log.debug("low")
        log.info("middle")
    finally:
        structlog.configure(**before)
    assert len(capsys.readouterr().err.splitlines()) == shown
