"""The client's configuration of the original: read, merged, written."""

import base64
import os
import stat
from pathlib import Path

import pytest

from nodespan.controllers.remote.talosconfig import (
    Context,
    TalosConfig,
    TalosConfigError,
    config_path,
    config_text,
    parse_config,
    read_config,
    write_config,
)

CA = base64.b64encode(b"authority").decode()
TEXT = f"""\
context: one
contexts:
    one:
        endpoints: [10.0.0.1, 10.0.0.2]
        nodes: [10.0.0.1]
        ca: {CA}
        crt: {CA}
        key: {CA}
        cluster: lab
        auth:
            siderov1: {{identity: user@example.org}}
    two:
        target: 10.1.0.1
"""


def test_a_file_of_the_original_is_read() -> None:
    config = parse_config(TEXT)
    assert config.chosen().endpoints == ("10.0.0.1", "10.0.0.2")
    assert (config.chosen().certificate, config.chosen().key) == (b"authority", b"authority")
    assert config.chosen("two").endpoints == ("10.1.0.1",)
    assert parse_config(config_text(config)) == config


def test_incoming_contexts_of_a_taken_name_are_renamed() -> None:
    one = TalosConfig(context="a", contexts={"a": Context(cluster="1"), "a-1": Context(cluster="2")})
    merged, names = one.merged(TalosConfig(context="a", contexts={"a": Context(cluster="3"), "b": Context()}))
    assert names == {"a": "a-2", "b": "b"}
    assert (merged.context, merged.chosen().cluster) == ("a-2", "3")
    assert one.merged(TalosConfig())[0] == one


def test_a_file_is_written_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "new" / "config"
    assert read_config(path) == TalosConfig()
    write_config(path, parse_config(TEXT))
    assert read_config(path) == parse_config(TEXT)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    ("given", "environment", "expected"),
    [
        ("x", {"TALOSCONFIG": "y"}, "x"),
        ("", {"TALOSCONFIG": "y", "TALOS_HOME": "/z"}, "y"),
        ("", {"TALOS_HOME": "/z"}, "/z/config"),
        ("", {"TALOS_HOME": "relative"}, "/home/a/.talos/config"),
        ("", {}, "/home/a/.talos/config"),
    ],
)
def test_the_file_is_found_where_the_original_looks(given: str, environment: dict[str, str], expected: str) -> None:
    assert config_path(given, environment, Path("/home/a")) == Path(expected)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[", "not valid YAML"),
        ("text", "this is no configuration of a client"),
        ("contexts: [a]", "this is no configuration of a client"),
        ("contexts: {a: text}", "the context a must have keys"),
        ("contexts: {a: {endpoints: text}}", "endpoints of a must be a list"),
        ("contexts: {a: {ca: '***'}}", "ca of the context a is not base64"),
        (f"contexts: {{a: {{crt: {CA}}}}}", "only one of crt and key"),
    ],
)
def test_what_cannot_be_used_says_why(text: str, words: str) -> None:
    with pytest.raises(TalosConfigError) as caught:
        parse_config(text)
    assert words in str(caught.value)


def test_an_unknown_context_is_named_with_those_known() -> None:
    with pytest.raises(TalosConfigError, match="no context 'three'; known here: one, two"):
        parse_config(TEXT).chosen("three")
    with pytest.raises(TalosConfigError, match="no context is in use"):
        TalosConfig().chosen()


def test_a_command_takes_it_from_a_pipe() -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading):
        with os.fdopen(writing, "w") as file:
            file.write("context: one\ncontexts: {one: {endpoints: [192.0.2.1]}}\n")
        assert read_config(Path(f"/dev/fd/{reading}")).context == "one"
