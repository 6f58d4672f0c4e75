"""`nodespan events`: chosen by time, kind and number, in a form for people or programs."""

import json
from typing import Any

import pytest
from ruamel.yaml import YAML

from nodespan.runtime.api import protocol
from nodespan.runtime.cli.errors import CommandError
from nodespan.runtime.cli.overview.events import JsonOutput, TextOutput, YamlOutput, events, time_of


def answer(number: int, *, event: str = protocol.CREATED, **spec: str) -> dict[str, Any]:
    whole = {"time": "2026-01-02T03:04:05.123Z", "severity": "info", "kind": "link", "text": "link eth0 is up", **spec}
    metadata = {"id": f"{number:016d}", "namespace": "runtime", "version": "1"}
    return {"event": event, "resource": {"metadata": metadata, "spec": whole}}


ANSWERS = [
    answer(1),
    answer(2, kind="peer", text="peer two is down", severity="warning", time="2026-01-02T04:00:00Z"),
    answer(3, kind="agent", text="the agent stops", time="2026-01-02T05:00:00.5Z"),
]


def shown(capsys: pytest.CaptureFixture[str], **choice: Any) -> str:
    output = TextOutput(**{"since": "", "kinds": [], "last": None, **choice})
    for each in ANSWERS:
        output.show(each["event"], each)
    output.flush()
    return capsys.readouterr().out


def test_a_line_says_when_how_bad_about_what_and_what(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys).splitlines() == [
        "2026-01-02T03:04:05Z  info     link           link eth0 is up",
        "2026-01-02T04:00:00Z  warning  peer           peer two is down",
        "2026-01-02T05:00:00Z  info     agent          the agent stops",
    ]


@pytest.mark.parametrize(
    ("choice", "numbers"),
    [
        ({"since": "2026-01-02T04:00:00Z"}, [2, 3]),
        ({"since": "2026-01-02T05:00:00Z"}, [3]),
        ({"kinds": ["peer", "agent"]}, [2, 3]),
        ({"kinds": ["nothing"]}, []),
        ({"last": 1}, [3]),
        ({"last": 2, "kinds": ["link", "peer"]}, [1, 2]),
        ({"last": 0}, []),
    ],
)
def test_events_are_chosen(choice: dict[str, Any], numbers: list[int], capsys: pytest.CaptureFixture[str]) -> None:
    output = JsonOutput(**{"since": "", "kinds": [], "last": None, **choice})
    for each in ANSWERS:
        output.show(each["event"], each)
    output.flush()
    assert [json.loads(line)["number"] for line in capsys.readouterr().out.splitlines()] == numbers


def test_after_the_last_ones_each_new_one_is_shown_as_it_comes(capsys: pytest.CaptureFixture[str]) -> None:
    output = JsonOutput(since="", kinds=[], last=1)
    for each in ANSWERS[:2]:
        output.show(each["event"], each)
    output.flush()
    output.show(protocol.CREATED, ANSWERS[2])
    assert [json.loads(line)["number"] for line in capsys.readouterr().out.splitlines()] == [2, 3]


def test_what_leaves_the_ring_is_no_news(capsys: pytest.CaptureFixture[str]) -> None:
    output = TextOutput(since="", kinds=[], last=None)
    output.show(protocol.DESTROYED, ANSWERS[0])
    assert capsys.readouterr().out == ""


def test_yaml_is_a_document_for_each(capsys: pytest.CaptureFixture[str]) -> None:
    output = YamlOutput(since="", kinds=[], last=None)
    for each in ANSWERS:
        output.show(each["event"], each)
    found = list(YAML(typ="safe").load_all(capsys.readouterr().out))
    assert [each["text"] for each in found] == [each["resource"]["spec"]["text"] for each in ANSWERS]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("10s", "1970-01-01T02:46:30Z"),
        ("2h", "1970-01-01T00:46:40Z"),
        ("1w", "1970-01-01T00:00:00Z"),
        ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z"),
        ("2026-01-02T03:04:05+02:00", "2026-01-02T01:04:05Z"),
    ],
)
def test_a_time_is_one_or_how_long_ago(text: str, expected: str) -> None:
    assert time_of(text, 10_000.0) == expected


@pytest.mark.parametrize("text", ["yesterday", "10", "-5m", "5 m", "1.5h"])
def test_another_time_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(CommandError, match="10m, 2h, 1d"):
        time_of(text)


@pytest.mark.parametrize("wrong", [{"output": "xml"}, {"last": -1}])
def test_wrong_options_are_refused_before_anything_is_asked(wrong: dict[str, Any]) -> None:
    options: dict[str, Any] = {"output": "text", "since": "", "kinds": [], "last": None, "watch": False, **wrong}
    with pytest.raises(CommandError, match=r"expected|from 0 on"):
        events("/nowhere", **options)
