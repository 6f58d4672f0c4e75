"""`nodespan describe`: one resource with its fields, what it was made from, and what happened to it lately."""

import sys
from collections.abc import Iterable, Iterator
from typing import Any

from nodespan.runtime.cli.client import ask
from nodespan.runtime.cli.errors import CommandError
from nodespan.runtime.cli.overview.requests import EVENTS, get_request
from nodespan.runtime.cli.screen import Paint, shows_colours
from nodespan.runtime.cli.why import brief, draw
from nodespan.runtime.codec.yamltext import dump
from nodespan.runtime.text.escaping import escaped
from nodespan.runtime.text.width import padded

_MOST_EVENTS = 20
DEPTH = 3
_LINE_FEED = "\n"


def describe(socket_path: str, type: str, id: str | None, *, namespace: str) -> int:
    """Describe a resource, or all of a type. Raises CommandError."""
    answers = ask(socket_path, {**get_request(type), "namespace": namespace, "id": id})
    definition = answers[0]["definition"]
    found = [answer["resource"] for answer in answers if "resource" in answer]
    if not found:
        raise none_of(definition, namespace)
    events = _events(socket_path)
    causes = ((resource, _causes(socket_path, resource["metadata"])) for resource in found)
    for line in lines_of_all(definition, causes, events):
        sys.stdout.write(f"{line}\n")
    return 0


def lines_of_all(
    definition: dict[str, Any],
    found: Iterable[tuple[dict[str, Any], list[dict[str, Any]] | None]],
    events: list[dict[str, Any]],
    *,
    node: str = "",
) -> Iterator[str]:
    """The lines about resources of a type, each with its causes, as those of a node if it has a name."""
    paint = Paint(enabled=shows_colours())
    for number, (resource, causes) in enumerate(found):
        if number:
            yield ""
        yield from lines_of(definition, resource, events, causes, paint, node=node)


def none_of(definition: dict[str, Any], namespace: str) -> CommandError:
    """The error of a type without resources."""
    where = f" in the namespace {namespace}" if namespace else ""
    return CommandError(f"there is no {definition['displayType']}{where}")


def _events(socket_path: str) -> list[dict[str, Any]]:
    try:
        return [answer["resource"]["spec"] for answer in ask(socket_path, get_request(EVENTS)) if "resource" in answer]
    except CommandError:
        return []  # an agent of an earlier version has none


def _causes(socket_path: str, metadata: dict[str, Any]) -> list[dict[str, Any]]:
    asked = {key: metadata[key] for key in ("type", "id", "namespace")}
    return brief(ask(socket_path, {"call": "why", **asked, "depth": DEPTH}))


def lines_of(
    definition: dict[str, Any],
    resource: dict[str, Any],
    events: list[dict[str, Any]],
    causes: list[dict[str, Any]] | None,
    paint: Paint,
    *,
    node: str = "",
) -> Iterator[str]:
    """The lines about one resource; without causes for a node that does not know them."""
    metadata, spec = resource["metadata"], resource["spec"]
    head = {"Node": node, "Name": metadata["id"], "Namespace": metadata["namespace"]}
    head["Type"] = f"{definition['displayType']} ({metadata['type']})"
    head |= {name.capitalize(): metadata[name] for name in ("version", "owner", "phase", "created", "updated")}
    for name in ("labels", "annotations"):
        head[name.capitalize()] = ", ".join(f"{key}={value}" for key, value in metadata.get(name, {}).items())
    head["Finalizers"] = ", ".join(metadata.get("finalizers", ()))
    width = max(len(name) for name in head) + 1
    for name, value in head.items():
        if value:
            yield f"{paint('bold', padded(f'{name}:', width))}  {escaped(value)}"
    yield paint("bold", "Spec:")
    yield from (f"  {escaped(line)}" for line in dump(spec).rstrip(_LINE_FEED).split(_LINE_FEED))
    yield paint("bold", "Made from:")
    yield from ["  not known to this node"] if causes is None else (f"  {escaped(line)}" for line in draw(causes))
    yield paint("bold", "Events:")
    about = [event for event in events if all(event.get(key) == metadata[key] for key in ("namespace", "type", "id"))]
    for event in about[-_MOST_EVENTS:]:
        yield f"  {event['time'][:19]}Z  {padded(escaped(event['severity']), 7)}  {escaped(event['text'])}"
    if not about:
        yield "  none that is remembered"
