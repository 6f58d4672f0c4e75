"""The arguments of the command line: options before and after the verb, help, and what is mistyped."""

from pathlib import Path

import pytest

from nodespan.runtime import paths
from nodespan.runtime.cli.arguments import parse
from nodespan.runtime.cli.command import run
from nodespan.runtime.cli.errors import CommandError
from nodespan.runtime.cli.options import socket_of
from nodespan.runtime.cli.version import own_version
from nodespan.runtime.text.suggestions import did_you_mean


@pytest.fixture
def nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("a.sock", "a.sock.lock", "lab-b.sock.lock"):
        (tmp_path / name).touch()
    monkeypatch.setattr(paths, "_NODES", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    "arguments",
    [
        "--node a get links",
        "get --node a links",
        "get links --node=a",
        "why links lo --node a",
        "--node=a graph --live",
        "version --node a",
        "--node a apply --confirm",
        "apply --confirm --node a",
    ],
)
def test_a_node_is_named_before_or_after_the_verb(nodes: Path, arguments: str) -> None:
    assert socket_of(parse(arguments.split())) == f"{nodes}/a.sock"


def test_a_socket_wins_over_a_node(nodes: Path) -> None:
    assert socket_of(parse(["--node", "a", "get", "links", "--socket", "/s"])) == "/s"


@pytest.mark.parametrize(
    ("node", "text"),
    [("lab-c", "no node 'lab-c', did you mean 'lab-b'? (nodes here: a, lab-b)"), ("x", "no node 'x' (nodes here: a, ")],
)
def test_an_unknown_node_is_reported_with_the_known_ones(nodes: Path, node: str, text: str) -> None:
    with pytest.raises(CommandError) as caught:
        socket_of(parse(["get", "links", "--node", node]))
    assert str(caught.value).startswith(text)


def test_a_node_that_was_stopped_is_known(nodes: Path) -> None:
    assert socket_of(parse(["get", "links", "--node", "lab-b"])) == f"{nodes}/lab-b.sock"


def test_without_nodes_the_error_says_how_to_get_some(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "_NODES", "/nosuch")
    with pytest.raises(CommandError, match="there are none on this machine"):
        socket_of(parse(["get", "links", "--node", "a"]))


@pytest.mark.parametrize("arguments", ["--node a agent", "--node a validate x", "--node a cluster show"])
def test_a_verb_that_asks_no_agent_refuses_a_node(capsys: pytest.CaptureFixture[str], arguments: str) -> None:
    assert run(arguments.split()) == 2
    assert "--node names the agent to ask" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("verb", "near"), [("gte", "get"), ("valdate", "validate"), ("aply", "apply"), ("LEAFE", "leave")]
)
def test_an_unknown_verb_is_reported_with_the_nearest(capsys: pytest.CaptureFixture[str], verb: str, near: str) -> None:
    assert run([verb]) == 2
    error = capsys.readouterr().err
    assert f"unknown command {verb!r}{near and f', did you mean {near!r}?'}" in error
    assert "commands: agent, get" in error


def test_the_version_is_an_option_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"nodespan v{own_version()}\n"


@pytest.mark.parametrize(
    ("arguments", "usage"),
    [
        (["help"], "usage: nodespan ["),
        (["help", "get"], "usage: nodespan get "),
        (["help", "g"], "usage: nodespan get "),
        (["help", "apply"], "usage: nodespan apply "),
        (["help", "cluster", "create"], "usage: nodespan cluster create "),
    ],
)
def test_help_of_a_verb_is_its_help_option(
    capsys: pytest.CaptureFixture[str], arguments: list[str], usage: str
) -> None:
    assert run(arguments) == 0
    assert capsys.readouterr().out.startswith(usage)


def test_the_nearest_name_is_suggested_in_its_own_case() -> None:
    assert did_you_mean("linkstatus", ["AddressStatus", "LinkStatus"]) == ", did you mean 'LinkStatus'?"
    assert did_you_mean("zzz", ["AddressStatus", "LinkStatus"]) == ""
    assert did_you_mean("zzz", []) == ""
