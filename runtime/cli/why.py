"""`nodespan why`: what a resource was made from, as a tree."""

import sys
from collections.abc import Iterator, Sequence
from typing import Any

from nodespan.runtime.cli.client import ask


def why(socket_path: str, type: str, id: str, *, namespace: str, depth: int) -> int:
    """Print the resource, the controller that wrote it, and below each resource those that it was made from."""
    request = {"call": "why", "type": type, "id": id, "namespace": namespace, "depth": depth}
    for line in draw(ask(socket_path, request)):
        sys.stdout.write(f"{line}\n")
    return 0


def draw(causes: Sequence[dict[str, Any]]) -> Iterator[str]:
    """A line for each cause, with the branches of the tree before it."""
    # Whether there is another one of that depth further down, on the way to the line.
    goes_on: list[bool] = []
    for number, cause in enumerate(causes):
        depth = cause["depth"]
        goes_on[depth:] = [_has_sibling(causes, number)]
        stems = "".join("│  " if more else "   " for more in goes_on[1:depth])
        branch = "" if depth == 0 else "├─ " if goes_on[depth] else "└─ "
        yield f"{stems}{branch}{_describe(cause)}"


def _has_sibling(causes: Sequence[dict[str, Any]], number: int) -> bool:
    depth = causes[number]["depth"]
    following = next((each["depth"] for each in causes[number + 1 :] if each["depth"] <= depth), -1)
    return bool(following == depth)


def _describe(cause: dict[str, Any]) -> str:
    words = [cause["type"], f"{cause['namespace']}/{cause['id'] or '...'}"]
    if cause["version"] is not None:
        words.append(f"version {cause['version']}")
    if cause["owner"]:
        words.append(f"by {cause['owner']}")
    note = f" ({cause['note']})" if cause["note"] else ""
    return f"{' '.join(words)}{note}"
