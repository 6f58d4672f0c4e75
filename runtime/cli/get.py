"""`nodespan get`: resources as a table, YAML, JSON or JSONPath results, once or as they change.

A watch survives restarts of the agent: the differences in between are shown as changes.
"""

import re
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

from nodespan.runtime.api import protocol
from nodespan.runtime.cli.client import AgentGoneError, Connection, OverrunError, ask
from nodespan.runtime.cli.errors import CommandError
from nodespan.runtime.cli.screen import for_terminal
from nodespan.runtime.cli.untyped import untyped
from nodespan.runtime.text.escaping import escaped
from nodespan.runtime.text.jsonpath import JSONPathError, Template, compile
from nodespan.runtime.text.table import Table

_RECONNECT_INTERVAL = 0.3
# Outputs whose parts follow each other without anything between.
_LINES = ("name", "json")
_MARKS = {protocol.CREATED: "+", protocol.UPDATED: " ", protocol.DESTROYED: "-"}
# The originals' JSON is safe to paste into HTML.
_HTML_SAFE = {ord(char): f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"}
Answer = dict[str, Any]


class Output:
    """Writes answers to stdout as text. `form` is the form to request from the agent."""

    form = "data"

    def begin(self, definition: Answer) -> None:
        """The type is known; called before any resource, and once for each node. The first one counts."""

    def show(self, event: str, answer: Answer) -> None:
        """One resource, or one change of it."""
        raise NotImplementedError

    def flush(self) -> None:
        """Flush: the user must see everything shown so far."""
        sys.stdout.flush()


class TableOutput(Output):
    """One line per resource, with the print columns of its type; a wide one has the rest of the metadata too."""

    def __init__(self, node: str, *, watch: bool, is_wide: bool = False) -> None:
        self._node = node
        self._is_wide = is_wide
        self._watch = watch
        self._table: Table | None = None
        self._type = ""
        self._cells: list[Template] = []

    def begin(self, definition: Answer) -> None:
        # Of several nodes each says it; they have one table.
        if self._table is not None:
            return
        columns = definition["printColumns"]
        self._type = definition["displayType"]
        self._cells = [compile(column["jsonPath"]) for column in columns]
        names = [column["name"].upper() for column in columns]
        mark = ["*"] if self._watch else []
        self._table = Table(
            ["NODE", *mark, "NAMESPACE", "TYPE", "ID", "VERSION", *names, *(protocol.WIDE if self._is_wide else ())]
        )

    def show(self, event: str, answer: Answer) -> None:
        assert self._table is not None  # begin() comes first
        metadata, spec = answer["resource"]["metadata"], answer["resource"]["spec"]
        mark = [_MARKS[event]] if self._watch else []
        cells = [cell.render(spec, allow_missing=True) for cell in self._cells]
        fixed = [metadata["namespace"], self._type, metadata["id"], metadata["version"]]
        more = self._more(metadata) if self._is_wide else []
        self._table.add([answer.get("node", self._node), *mark, *fixed, *cells, *more])

    @staticmethod
    def _more(metadata: Answer) -> list[str]:
        """What the metadata has to say beyond what every table shows."""
        labels = ",".join(f"{name}={value}" for name, value in metadata.get("labels", {}).items())
        return [metadata["owner"], metadata["phase"], metadata["updated"], labels]

    def flush(self) -> None:
        if self._table is not None:
            sys.stdout.write(self._table.flush())
        super().flush()


class YamlOutput(Output):
    """Documents as the agent wrote them."""

    form = "yaml"

    def __init__(self, node: str, *, watch: bool) -> None:
        self._node = node
        self._watch = watch
        self._first = True

    def show(self, event: str, answer: Answer) -> None:
        head = f"node: {answer.get('node', self._node)}\n" + (f"event: {event}\n" if self._watch else "")
        sys.stdout.write(for_terminal(("" if self._first else "---\n") + head + answer["yaml"]))
        self._first = False


class JsonOutput(Output):
    """One object per resource."""

    def __init__(self, node: str, *, watch: bool) -> None:
        self._node = node
        self._watch = watch

    def show(self, event: str, answer: Answer) -> None:
        sys.stdout.write(for_terminal(_to_json(self._object(event, answer)) + "\n"))

    def _object(self, event: str, answer: Answer) -> Answer:
        resource = answer["resource"]
        found = {
            "metadata": untyped(resource["metadata"]),
            "node": answer.get("node", self._node),
            "spec": resource["spec"],
        }
        return {"event": event, **found} if self._watch else found


class JsonPathOutput(JsonOutput):
    """What a JSONPath finds in each object, a result a line."""

    def __init__(self, node: str, expression: str, *, watch: bool) -> None:
        super().__init__(node, watch=watch)
        self._template = compile(expression)

    def show(self, event: str, answer: Answer) -> None:
        if event == protocol.DESTROYED and answer["resource"]["metadata"]["version"] == "undefined":
            return  # a tombstone has no spec to search
        for found in self._template.find(self._object(event, answer), allow_missing=False):
            text = _to_json(found) if isinstance(found, dict | list) else _to_text(found)
            sys.stdout.write(for_terminal(f"{text}\n"))


def _to_text(scalar: object) -> str:
    if isinstance(scalar, bool):
        return "true" if scalar else "false"
    return "<nil>" if scalar is None else str(scalar).removesuffix(".0") if isinstance(scalar, float) else str(scalar)


def _to_json(value: object) -> str:
    from nodespan.runtime.text.indented_json import to_indented_json

    return to_indented_json(value).translate(_HTML_SAFE)


class NameOutput(Output):
    """`type/id`, a line each, which `get`, `describe` and `delete` take."""

    def __init__(self) -> None:
        self._type = ""

    def begin(self, definition: Answer) -> None:
        self._type = definition["displayType"].lower()

    def show(self, event: str, answer: Answer) -> None:
        if event != protocol.DESTROYED:
            sys.stdout.write(f"{self._type}/{escaped(answer['resource']['metadata']['id'])}\n")


class ColumnsOutput(JsonOutput):
    """A table of columns that the user chose: `NAME:EXPRESSION,NAME:EXPRESSION`."""

    def __init__(self, node: str, columns: str, *, watch: bool) -> None:
        super().__init__(node, watch=watch)
        # A comma within an expression is not followed by a name and a colon.
        chosen = [column.partition(":") for column in re.split(r",(?=[^,:()\[\]{}]+:)", columns)]
        if not all(name and expression for name, _, expression in chosen):
            raise CommandError(
                f"custom-columns={columns!r}: write it like custom-columns=ID:.metadata.id,MTU:.spec.mtu"
            )
        self._cells = [compile(expression) for _, _, expression in chosen]
        self._table = Table([name for name, _, _ in chosen])

    def show(self, event: str, answer: Answer) -> None:
        if event != protocol.DESTROYED:
            found = self._object(event, answer)
            self._table.add([cell.render(found, allow_missing=True) or "<none>" for cell in self._cells])

    def flush(self) -> None:
        sys.stdout.write(self._table.flush())
        super().flush()


# Forms of kubectl that are not here, and what to write instead.
_INSTEAD = {
    "custom-columns-file": "custom-columns=NAME:EXPRESSION,...",
    "go-template": "jsonpath='{.spec.field}'",
    "go-template-file": "jsonpath='{.spec.field}'",
    "jsonpath-as-json": "jsonpath=EXPRESSION, or json and jq",
    "jsonpath-file": 'jsonpath="$(cat FILE)"',
    "template": "jsonpath='{.spec.field}'",
    "templatefile": "jsonpath='{.spec.field}'",
    "ndjson": "json, which is one object after the other",
    "csv": "custom-columns=NAME:EXPRESSION,...",
}
_TEMPLATE_FIELD = re.compile(r"\{\{\s*(\.[\w.]+)\s*\}\}")


def _instead(kind: str, expression: str) -> str:
    found = _TEMPLATE_FIELD.fullmatch(expression)
    return f"jsonpath='{{{found[1]}}}'" if found else _INSTEAD[kind]


def make_output(form: str, node: str, *, watch: bool) -> Output:
    """The output that `-o` names. Raises CommandError for another word or a bad JSONPath."""
    kind, _, expression = form.partition("=")
    if form == "table":
        return TableOutput(node, watch=watch)
    if form == "wide":
        return TableOutput(node, watch=watch, is_wide=True)
    if form == "name":
        return NameOutput()
    if form == "yaml":
        return YamlOutput(node, watch=watch)
    if form == "json":
        return JsonOutput(node, watch=watch)
    if kind == "jsonpath" and expression:
        try:
            return JsonPathOutput(node, expression, watch=watch)
        except JSONPathError as error:
            raise CommandError(str(error)) from error
    if kind == "custom-columns" and expression:
        try:
            return ColumnsOutput(node, expression, watch=watch)
        except JSONPathError as error:
            raise CommandError(str(error)) from error
    if kind in _INSTEAD:
        raise CommandError(f"there is no output {kind!r} here: use -o {_instead(kind, expression)}")
    raise CommandError(
        f"unknown output {form!r}: expected table, wide, name, yaml, json, jsonpath=EXPRESSION "
        "or custom-columns=NAME:EXPRESSION,..."
    )


def get(
    socket_path: str,
    type: str,
    id: str | None,
    *,
    output: str,
    namespace: str,
    selectors: list[str],
    watch: bool,
    node: str,
    all_namespaces: bool = False,
) -> int:
    """Show resources; with `watch` until interrupted. Raises CommandError."""
    shown = make_output(output, node, watch=watch)
    if "," in type:
        return _get_each(
            socket_path,
            [each for each in type.split(",") if each],
            id,
            output=output,
            namespace=namespace,
            selectors=selectors,
            watch=watch,
            node=node,
            all_namespaces=all_namespaces,
        )
    request = {
        "call": "get",
        "type": type,
        "namespace": namespace,
        "id": id,
        "selectors": selectors,
        "form": shown.form,
    }
    try:
        if all_namespaces:
            if watch or id is not None:
                raise CommandError("-A lists: name the namespace of what is watched, or of one resource, with -n")
            _show_all(socket_path, request, shown)
        else:
            show_resources(socket_path, request, shown, watch=watch)
    except JSONPathError as error:
        raise CommandError(str(error)) from error
    return 0


def _get_each(socket_path: str, types: list[str], id: str | None, *, output: str, watch: bool, **rest: Any) -> int:
    """Show several types, one after the other, as kubectl does: `get links,addresses`."""
    if watch or id is not None:
        raise CommandError("several types are listed: name one type to watch it, or to name a resource")
    documents = output == "yaml"
    for number, type in enumerate(types):
        if number and not output.startswith(_LINES):
            sys.stdout.write("---\n" if documents else "\n")
        get(socket_path, type, None, output=output, watch=False, **rest)
    return 0


def show_resources(socket_path: str, request: Answer, shown: Output, *, watch: bool) -> None:
    """Show the answers to a request of resources; with `watch` until interrupted. Raises CommandError."""
    if watch:
        _watch(socket_path, {**request, "watch": True}, shown)
    else:
        _once(socket_path, {**request, "watch": False}, shown)


def _show_all(socket_path: str, request: Answer, shown: Output) -> None:
    """Show the resources of all namespaces, as one list."""
    namespaces = {**request, "type": "namespaces", "namespace": "", "selectors": [], "form": "data", "watch": False}
    names = [answer["resource"]["metadata"]["id"] for answer in ask(socket_path, namespaces) if "resource" in answer]
    for name in names:
        for answer in ask(socket_path, {**request, "namespace": name, "watch": False}):
            if "definition" in answer:
                _warn_of_outage(answer)
                shown.begin(answer["definition"])
            else:
                shown.show(answer["event"], answer)
    shown.flush()


def _once(socket_path: str, request: Answer, shown: Output) -> None:
    with Connection(socket_path, request) as answers:
        for answer in answers:
            if "definition" in answer:
                _warn_of_outage(answer)
                shown.begin(answer["definition"])
            else:
                shown.show(answer["event"], answer)
    shown.flush()


def _watch(socket_path: str, request: Answer, shown: Output) -> None:
    """Follow the agent, through its restarts, until interrupted."""
    follow(socket_path, request, Follower(shown, of_one=request["id"] is not None).follow)


def follow(socket_path: str, request: Answer, take: Callable[[Iterable[Answer]], None]) -> None:
    """Give the answers to a request that does not end to `take`, a stream for each time that there is an agent."""
    agent_seen = agent_away = False
    while True:
        try:
            with Connection(socket_path, request) as connection:
                answers = connection.begun()
                if agent_away:
                    _say("the agent is back")
                agent_seen, agent_away = True, False
                take(answers)
        except OverrunError:
            continue
        except AgentGoneError:
            if not agent_seen:
                raise
        if not agent_away:
            _say("the agent went away, waiting for it to come back")
            agent_away = True
        time.sleep(_RECONNECT_INTERVAL)


def _warn_of_outage(head: Answer) -> None:
    """Say on stderr that what is shown may be out of date. An agent of an earlier version says nothing of it."""
    if outage := head.get("outage"):
        shown = "what is shown is of that time" if outage["loaded"] else "nothing was read of it yet"
        _say(
            f"namespace {outage['namespace']} is out of reach since {outage['since']} and can only be read, "
            f"{shown}: {outage['reason']}"
        )


def _say(text: str) -> None:
    print(escaped(text, keep="\n"), file=sys.stderr, flush=True)


# A million routes are less.
_LARGEST_FOLLOWED = 1 << 30


class Follower:
    """Shows a watch; across interruptions it shows only real differences.

    It remembers what it has shown. In a new stream, present resources that are unchanged are skipped, and those that
    are no longer present are shown as destroyed. Answers that have a `size` may be of a stranger: one that would be
    remembered, or kept until all that is present has come, beyond `largest` bytes is a CommandError.
    """

    def __init__(self, shown: Output, *, of_one: bool, largest: int = _LARGEST_FOLLOWED) -> None:
        self._shown = shown
        self._of_one = of_one
        self._largest = largest
        self._known: dict[str, Answer] = {}
        # Of what is remembered, as far as it is known.
        self._size = 0
        # Of what came since the output was flushed, which may lay it out together.
        self._unflushed = 0
        self._begun = False
        self._complete = False

    @property
    def has_begun(self) -> bool:
        """Whether the type is known, and its head shown."""
        return self._begun

    def follow(self, answers: Iterable[Answer]) -> None:
        """Show one stream of answers to its end."""
        show = self.stream()
        for answer in answers:
            show(answer)

    def stream(self) -> Callable[[Answer], None]:
        """A new stream: the function that shows its answers, one after the other."""
        # The ids of the new stream until its present resources are complete; from then on each event stands for itself.
        present: set[str] | None = set()

        def show(answer: Answer) -> None:
            nonlocal present
            if "definition" in answer:
                _warn_of_outage(answer)
                self._begin(answer["definition"])
            elif present is None:
                self._show(answer["event"], answer)
                self._shown.flush()
            else:
                is_last = answer["event"] == protocol.BOOTSTRAPPED
                if not is_last:
                    self._unflushed += _size(answer)
                    self._check(self._unflushed)
                    present.add(_metadata(answer)["id"])
                    self._compare(answer)
                if is_last or self._of_one:
                    self._forget_all_but(present)
                    self._complete = True
                    self._shown.flush()
                    self._unflushed = 0
                    present = None

        return show

    def _begin(self, definition: Answer) -> None:
        if not self._begun:
            self._shown.begin(definition)
            self._begun = True

    def _compare(self, answer: Answer) -> None:
        """Show how a resource at the start of a stream differs from what was shown last."""
        id = _metadata(answer)["id"]
        known = self._known.get(id)
        if answer["event"] == protocol.DESTROYED:
            if known is not None:
                self._show(protocol.DESTROYED, known)
            elif not self._complete:
                self._show(protocol.DESTROYED, answer)
        elif known is None:
            self._show(protocol.CREATED, answer)
        elif _content(known) != _content(answer):
            self._show(protocol.UPDATED, answer)
        else:
            self._remember(id, answer)

    def _show(self, event: str, answer: Answer) -> None:
        self._shown.show(event, answer)
        id = _metadata(answer)["id"]
        if event == protocol.DESTROYED:
            self._size -= _size(self._known.pop(id, {}))
        else:
            self._remember(id, answer)

    def _remember(self, id: str, answer: Answer) -> None:
        self._size += _size(answer) - _size(self._known.get(id, {}))
        self._known[id] = answer
        self._check(self._size)

    def _check(self, size: int) -> None:
        if size > self._largest:
            raise CommandError(f"it has more resources than are kept here: {self._largest >> 20} MiB")

    def _forget_all_but(self, present: set[str]) -> None:
        for id in sorted(self._known.keys() - present):
            self._show(protocol.DESTROYED, self._known[id])


def _size(answer: Answer) -> int:
    """How much a stranger has sent for an answer; 0 for those of the own agent."""
    size: int = answer.get("size", 0)
    return size


def _metadata(answer: Answer) -> Answer:
    found: Answer = answer["metadata"] if "metadata" in answer else answer["resource"]["metadata"]
    return found


def _content(answer: Answer) -> object:
    """The part of an answer that a user compares: versions and times start over with each agent."""
    of_agent = ("version", "created", "updated")
    metadata = {key: value for key, value in _metadata(answer).items() if key not in of_agent}
    if "yaml" in answer:
        return metadata, answer["yaml"].partition("\nspec:")[2]
    return metadata, answer["resource"]["spec"]
