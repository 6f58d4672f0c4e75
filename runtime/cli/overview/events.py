"""`nodespan events`: what happened lately, oldest first. Events are resources, and this is a `get` of them."""

import sys
from typing import Any

from nodespan.runtime.api import protocol
from nodespan.runtime.cli.errors import CommandError
from nodespan.runtime.cli.get import Output, show_resources
from nodespan.runtime.cli.overview.form import to_json_line
from nodespan.runtime.cli.overview.requests import EVENTS, get_request
from nodespan.runtime.cli.screen import Paint, for_terminal, shows_colours, terminal_columns
from nodespan.runtime.codec.yamltext import dump
from nodespan.runtime.text.escaping import escaped
from nodespan.runtime.text.width import fitted, padded, width_of

_COLOURS = {"error": "red", "warning": "yellow"}
_KIND_WIDTH = 13
_SEVERITY_WIDTH = 7
# What the text is given of a narrow terminal.
_LEAST_TEXT = 20
# The length of a time without its fraction.
_SECONDS = len("2026-01-02T03:04:05")


class EventOutput(Output):
    """Shows those of a kind and from a time on; what leaves the ring is no news."""

    def __init__(self, *, since: str, kinds: list[str], last: int | None, node_width: int = 0) -> None:
        # Of events that have the name of a node, the width of these names.
        self.node_width = node_width
        self._since = since
        self._kinds = frozenset(kinds)
        # The last ones of what is there already, until that is complete; None: each is shown as it comes.
        self._last = last
        self._waiting: list[dict[str, Any]] = []

    def chosen(self, event: str, answer: dict[str, Any]) -> dict[str, Any] | None:
        """The event in an answer, with its node if the answer names one; None if it is not to be shown."""
        spec = answer["resource"]["spec"]
        if event != protocol.CREATED or spec["time"][:_SECONDS] < self._since[:_SECONDS]:
            return None
        if self._kinds and spec["kind"] not in self._kinds:
            return None
        node = {"node": answer["node"]} if "node" in answer else {}
        return {**node, "number": int(answer["resource"]["metadata"]["id"]), **spec}

    def show(self, event: str, answer: dict[str, Any]) -> None:
        found = self.chosen(event, answer)
        if found is None:
            return
        if self._last is None:
            self.write(found)
        else:
            self._waiting.append(found)

    def flush(self) -> None:
        if self._last is not None:
            for found in self._waiting[-self._last :] if self._last else ():
                self.write(found)
            self._waiting.clear()
            self._last = None
        super().flush()

    def write(self, event: dict[str, Any]) -> None:
        """Write one event."""
        sys.stdout.write(self.text(event))

    def text(self, event: dict[str, Any]) -> str:
        """One event as it is written."""
        raise NotImplementedError


class TextOutput(EventOutput):
    """A line each: when, how bad, about what, and what it was."""

    def __init__(self, **choice: Any) -> None:
        super().__init__(**choice)
        self._paint = Paint(enabled=shows_colours())
        self._columns = terminal_columns()

    def text(self, event: dict[str, Any]) -> str:
        severity = padded(escaped(event["severity"]), _SEVERITY_WIDTH)
        node = f"{padded(escaped(event['node']), self.node_width)}  " if self.node_width else ""
        head = f"{node}{escaped(event['time'][:_SECONDS])}Z  "
        kind = padded(fitted(escaped(event["kind"]), _KIND_WIDTH), _KIND_WIDTH)
        room = None
        if self._columns is not None:
            room = max(_LEAST_TEXT, self._columns - width_of(head) - _SEVERITY_WIDTH - _KIND_WIDTH - 4)
        text = fitted(escaped(event["text"]), room)
        colour = _COLOURS.get(event["severity"])
        shown = severity if colour is None else self._paint(colour, severity)
        return f"{head}{shown}  {kind}  {text}\n"


class JsonOutput(EventOutput):
    """An object a line."""

    def text(self, event: dict[str, Any]) -> str:
        return for_terminal(to_json_line(event))


class YamlOutput(EventOutput):
    """A document each."""

    def text(self, event: dict[str, Any]) -> str:
        return for_terminal(f"---\n{dump(event)}")


_OUTPUTS: dict[str, type[EventOutput]] = {
    "text": TextOutput,
    "table": TextOutput,
    "json": JsonOutput,
    "yaml": YamlOutput,
}


def events(socket_path: str, *, output: str, since: str, kinds: list[str], last: int | None, watch: bool) -> int:
    """Show events; with `watch` until interrupted. Raises CommandError."""
    shown = make_output(output, since=since, kinds=kinds, last=last)
    request = get_request(EVENTS)
    show_resources(socket_path, request, shown, watch=watch)
    return 0


def make_output(output: str, *, since: str, kinds: list[str], last: int | None, node_width: int = 0) -> EventOutput:
    """The output that the options of the verb describe. Raises CommandError."""
    make = _OUTPUTS.get(output)
    if make is None:
        raise CommandError(f"unknown output {output!r}: expected text, json or yaml")
    if last is not None and last < 0:
        raise CommandError(f"--last {last}: give a number from 0 on")
    return make(since=time_of(since), kinds=kinds, last=last, node_width=node_width)


def time_of(text: str, now: float | None = None) -> str:
    """A time as events write it, from such a time or from how long ago it was; "" for none. Raises CommandError."""
    if not text:
        return ""
    import datetime
    import re
    import time

    if found := re.fullmatch(r"(\d+)(s|m|h|d|w)", text):
        seconds = int(found[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}[found[2]]
        now = time.time() if now is None else now
        moment = datetime.datetime.fromtimestamp(max(0.0, now - seconds), datetime.UTC)
    else:
        try:
            moment = datetime.datetime.fromisoformat(text)
        except ValueError as error:
            raise CommandError(f"--since {text!r}: write it like 10m, 2h, 1d, or 2026-01-02T03:04:05Z") from error
        moment = moment.astimezone(datetime.UTC)  # without a zone it is this machine's
    return moment.isoformat().replace("+00:00", "Z")
