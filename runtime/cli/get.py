"""`nodespan get`: resources as a table, YAML, JSON or JSONPath results, once or as they change.

A watch outlives the agent: when the agent comes back, what changed in between is shown as changes.
"""

import os
import sys
import time
from collections.abc import Iterator
from typing import Any

from runtime.api import protocol
from runtime.cli.client import AgentGoneError, Connection, OverrunError
from runtime.cli.errors import CommandError
from runtime.cli.table import Table
from runtime.jsonpath import JSONPathError, Template, compile

_RECONNECT_INTERVAL = 0.3
_MARKS = {protocol.CREATED: "+", protocol.UPDATED: " ", protocol.DESTROYED: "-"}
Answer = dict[str, Any]


class _Output:
    """Turns answers into text on stdout. `form` is what the agent is asked to send."""

    form = "data"

    def begin(self, definition: Answer) -> None:
        """The type is known; called once, before any resource."""

    def show(self, event: str, answer: Answer) -> None:
        """One resource, or one change of it."""
        raise NotImplementedError

    def flush(self) -> None:
        """What was shown so far must be seen now."""
        sys.stdout.flush()


class TableOutput(_Output):
    """One line per resource, with the print columns of its type."""

    def __init__(self, node: str, *, watch: bool) -> None:
        self._node = node
        self._watch = watch
        self._table: Table | None = None
        self._type = ""
        self._cells: list[Template] = []

    def begin(self, definition: Answer) -> None:
        columns = definition["printColumns"]
        self._type = definition["displayType"]
        self._cells = [compile(column["jsonPath"]) for column in columns]
        names = [column["name"].upper() for column in columns]
        mark = ["*"] if self._watch else []
        self._table = Table(["NODE", *mark, "NAMESPACE", "TYPE", "ID", "VERSION", *names])

    def show(self, event: str, answer: Answer) -> None:
        assert self._table is not None  # begin() comes first
        metadata, spec = answer["resource"]["metadata"], answer["resource"]["spec"]
        mark = [_MARKS[event]] if self._watch else []
        cells = [cell.render(spec, allow_missing=True) for cell in self._cells]
        fixed = [metadata["namespace"], self._type, metadata["id"], metadata["version"]]
        self._table.add([self._node, *mark, *fixed, *cells])

    def flush(self) -> None:
        if self._table is not None:
            sys.stdout.write(self._table.flush())
        super().flush()


class YamlOutput(_Output):
    """Documents as the agent wrote them."""

    form = "yaml"

    def __init__(self, node: str, *, watch: bool) -> None:
        self._node = node
        self._watch = watch
        self._first = True

    def show(self, event: str, answer: Answer) -> None:
        head = f"node: {self._node}\n" + (f"event: {event}\n" if self._watch else "")
        sys.stdout.write(("" if self._first else "---\n") + head + answer["yaml"])
        self._first = False


class JsonOutput(_Output):
    """One object per resource."""

    def __init__(self, node: str, *, watch: bool) -> None:
        self._node = node
        self._watch = watch

    def show(self, event: str, answer: Answer) -> None:
        sys.stdout.write(_to_json(self._object(event, answer)) + "\n")

    def _object(self, event: str, answer: Answer) -> Answer:
        resource = answer["resource"]
        found = {"metadata": _untyped(resource["metadata"]), "node": self._node, "spec": resource["spec"]}
        return {"event": event, **found} if self._watch else found


class JsonPathOutput(JsonOutput):
    """What a JSONPath finds in each object, a result a line."""

    def __init__(self, node: str, expression: str, *, watch: bool) -> None:
        super().__init__(node, watch=watch)
        self._template = compile(expression)

    def show(self, event: str, answer: Answer) -> None:
        for found in self._template.find(self._object(event, answer), allow_missing=False):
            if isinstance(found, dict | list):
                text = _to_json(found)
            elif isinstance(found, bool):
                text = "true" if found else "false"
            else:
                text = "" if found is None else str(found)
            sys.stdout.write(text + "\n")


def _to_json(value: object) -> str:
    import json

    text = json.dumps(value, indent=4, sort_keys=True, ensure_ascii=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _untyped(metadata: Answer) -> Answer:
    """Metadata as a reader of the YAML form sees it: what looks like a number is one, what is empty is null."""
    return {
        key: _untyped(value)
        if isinstance(value, dict)
        else [_scalar(item) for item in value]
        if isinstance(value, list)
        else _scalar(value)
        for key, value in metadata.items()
    }


def _scalar(text: str) -> object:
    if text in ("", "~", "null", "Null", "NULL"):
        return None
    if text in ("true", "True", "TRUE", "false", "False", "FALSE"):
        return text.lower() == "true"
    if text.lstrip("+-").isdigit() and text.isascii():
        return int(text)
    return text


def make_output(form: str, node: str, *, watch: bool) -> _Output:
    """The output that `-o` names. Raises CommandError for another word or a bad JSONPath."""
    kind, _, expression = form.partition("=")
    if form == "table":
        return TableOutput(node, watch=watch)
    if form == "yaml":
        return YamlOutput(node, watch=watch)
    if form == "json":
        return JsonOutput(node, watch=watch)
    if kind == "jsonpath" and expression:
        try:
            return JsonPathOutput(node, expression, watch=watch)
        except JSONPathError as error:
            raise CommandError(str(error)) from error
    raise CommandError(f"unknown output {form!r}: expected table, yaml, json or jsonpath=EXPRESSION")


def get(
    socket_path: str,
    type: str,
    id: str | None,
    *,
    output: str,
    namespace: str,
    selectors: list[str],
    watch: bool,
) -> int:
    """Show resources; with `watch` go on until interrupted. Raises CommandError."""
    shown = make_output(output, os.uname().nodename, watch=watch)
    request = {
        "call": "get",
        "type": type,
        "namespace": namespace,
        "id": id,
        "selectors": selectors,
        "watch": watch,
        "form": shown.form,
    }
    try:
        if watch:
            _watch(socket_path, request, shown)
        else:
            _once(socket_path, request, shown)
    except JSONPathError as error:
        raise CommandError(str(error)) from error
    return 0


def _once(socket_path: str, request: Answer, shown: _Output) -> None:
    with Connection(socket_path, request) as answers:
        for answer in answers:
            if "definition" in answer:
                shown.begin(answer["definition"])
            else:
                shown.show(answer["event"], answer)
    shown.flush()


def _watch(socket_path: str, request: Answer, shown: _Output) -> None:
    """Follow the agent, through its restarts, until interrupted."""
    follower = Follower(shown, of_one=request["id"] is not None)
    agent_seen = agent_away = False
    while True:
        try:
            with Connection(socket_path, request) as answers:
                if agent_away:
                    _say("the agent is back")
                agent_seen, agent_away = True, False
                follower.follow(answers)
        except OverrunError:
            continue
        except AgentGoneError:
            if not agent_seen:
                raise
        if not agent_away:
            _say("the agent went away, waiting for it to come back")
            agent_away = True
        time.sleep(_RECONNECT_INTERVAL)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


class Follower:
    """Shows a watch, and across its interruptions only what really changed.

    It remembers what it has shown. When a new stream begins, the present resources that are shown already and did not
    change are passed over, and those that are no longer present are shown as destroyed.
    """

    def __init__(self, shown: _Output, *, of_one: bool) -> None:
        self._shown = shown
        self._of_one = of_one
        self._known: dict[str, Answer] = {}
        self._begun = False

    def follow(self, answers: "Connection | Iterator[Answer]") -> None:
        """Show one stream of answers to its end."""
        present: set[str] | None = set()
        for answer in answers:
            if "definition" in answer:
                if not self._begun:
                    self._shown.begin(answer["definition"])
                    self._begun = True
                continue
            event = answer["event"]
            if event == protocol.BOOTSTRAPPED:
                self._forget_all_but(present or set())
                present = None
                self._shown.flush()
                continue
            id = _metadata(answer)["id"]
            if present is not None:
                present.add(id)
                known = self._known.get(id)
                if known is not None:
                    if _content(known) == _content(answer):
                        self._known[id] = answer
                        continue
                    event = protocol.UPDATED if event == protocol.CREATED else event
            self._show(event, answer)
            if present is None or self._of_one:
                present = None
                self._shown.flush()

    def _show(self, event: str, answer: Answer) -> None:
        self._shown.show(event, answer)
        id = _metadata(answer)["id"]
        if event == protocol.DESTROYED:
            self._known.pop(id, None)
        else:
            self._known[id] = answer

    def _forget_all_but(self, present: set[str]) -> None:
        for id in sorted(self._known.keys() - present):
            self._shown.show(protocol.DESTROYED, self._known.pop(id))


def _metadata(answer: Answer) -> Answer:
    found: Answer = answer["metadata"] if "metadata" in answer else answer["resource"]["metadata"]
    return found


def _content(answer: Answer) -> object:
    """What makes two answers the same to a user: versions and times begin anew with each agent."""
    of_agent = ("version", "created", "updated")
    metadata = {key: value for key, value in _metadata(answer).items() if key not in of_agent}
    if "yaml" in answer:
        return metadata, answer["yaml"].partition("\nspec:")[2]
    return metadata, answer["resource"]["spec"]
