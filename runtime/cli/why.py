"""`nodespan why`: what a resource was made from, as a tree."""

import sys
from collections.abc import Iterator, Sequence
from typing import Any

from nodespan.runtime.cli.client import ask


def why(socket_path: str, type: str, id: str, *, namespace: str, depth: int, verbose: bool) -> int:
    """Print the resource, the controller that wrote it, and below each resource those that it was made from."""
    request = {"call": "why", "type": type, "id": id, "namespace": namespace, "depth": depth}
    causes = ask(socket_path, request)
    for line in draw(causes if verbose else brief(causes)):
        sys.stdout.write(f"{line}\n")
    return 0


def brief(causes: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The causes without those that an earlier line has; the note of each resource counts those that it lacks."""
    kept: list[dict[str, Any]] = []
    lacking: dict[int, int] = {}
    # The numbers of the kept causes on the way to the present one.
    way: list[int] = []
    for cause in causes:
        depth = cause["depth"]
        if depth and cause.get("repeated"):
            lacking[way[depth - 1]] = lacking.get(way[depth - 1], 0) + 1
        else:
            way[depth:] = [len(kept)]
            kept.append(cause)
    for number, count in lacking.items():
        inputs = f"{count} {'input' if count == 1 else 'inputs'} shown above"
        note = kept[number]["note"]
        kept[number] = {**kept[number], "note": f"{note}; {inputs}" if note else inputs}
    return kept


def draw(causes: Sequence[dict[str, Any]]) -> Iterator[str]:
    """A line for each cause, with the branches of the tree before it."""
    # For each depth above this line: whether another line of that depth follows.
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
