"""The options of `nodespan agent` as they are written in service files, read without argparse.

The agent stays for months, and with it what it has loaded: argparse with what it imports and leaves behind is half a
megabyte, and 15 ms of a start. What is not plainly written is left to argparse, which knows abbreviations, prints help
and explains mistakes.
"""

import os
from collections.abc import Sequence
from types import SimpleNamespace

from nodespan.runtime.paths import default_state_dir

_REPEATED = ("--config", "--controllers")
_WITH_VALUE = (
    *_REPEATED,
    "--log-format",
    "--log-level",
    "--metrics",
    "--root",
    "--socket",
    "--state-dir",
    "--state-socket",
)
_FLAG = "--cleanup"
_CHOICES = {"--log-format": ("auto", "text", "json"), "--log-level": ("debug", "info", "warning", "error")}


class AgentArguments(SimpleNamespace):
    """What `nodespan agent` was given, and the defaults of the rest; as argparse would have it."""

    config: list[str]
    controllers: list[str]
    cleanup: bool
    log_format: str
    log_level: str
    metrics: str | None
    root: str
    socket: str | None
    state_dir: str
    state_socket: str


def agent_arguments(given: Sequence[str]) -> AgentArguments | None:
    """What a command line is to run an agent with; None for any other, and for one that argparse should look at."""
    if given[:1] != ["agent"]:
        return None
    found = AgentArguments(
        config=[],
        controllers=[],
        cleanup=False,
        log_format="auto",
        log_level="info",
        metrics=None,
        root=os.environ.get("NODESPAN_ROOT", ""),
        socket=None,
        state_dir=default_state_dir(),
        state_socket=os.environ.get("NODESPAN_STATE_SOCKET", ""),
    )
    words = iter(given[1:])
    for word in words:
        if word == _FLAG:
            found.cleanup = True
            continue
        option, equals, value = word.partition("=")
        if not equals:
            value = next(words, "")
        is_plain = bool(value) and (bool(equals) or not value.startswith("-"))
        if option not in _WITH_VALUE or not is_plain or value not in _CHOICES.get(option, (value,)):
            return None
        name = option.removeprefix("--").replace("-", "_")
        if option in _REPEATED:
            getattr(found, name).append(value)
        else:
            setattr(found, name, value)
    return found
