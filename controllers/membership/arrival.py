"""Whether a node has arrived in its mesh: what there is to wait for, and what blocks. The rules are pure."""

import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TextIO

import attrs

from nodespan.runtime.cli.client import AgentGoneError, ask, specs
from nodespan.runtime.text.escaping import escaped

_LOOK = 0.2
Spec = dict[str, Any]


@attrs.frozen(kw_only=True)
class Seen:
    """What an agent says of its node: specs by type. `agent` is False while none answers."""

    agent: bool = False
    services: Sequence[Spec] = ()
    peers: Sequence[Spec] = ()
    problems: Sequence[Spec] = ()
    has_api: bool = False


@attrs.frozen(kw_only=True)
class Goal:
    """What to wait for: peers that are up, the API. Discovery that works is always part of it."""

    peers: bool = False
    api: bool = False


def missing(seen: Seen, goal: Goal) -> list[str]:
    """What is not there yet, a sentence each; empty when the node has arrived."""
    if not seen.agent:
        return ["the agent does not answer yet"]
    found = []
    if not any(service["state"] == "connected" for service in seen.services):
        found += [_of_service(service) for service in seen.services] or ["no discovery service is in use yet"]
    if goal.api and not seen.has_api:
        found.append("the API has no certificate yet")
    if goal.peers:
        found += [_of_peer(peer) for peer in seen.peers if peer["state"] != "up"]
        if not seen.peers:
            found.append("no other node of the mesh is known yet: is any of them running?")
    return found


def _of_service(service: Spec) -> str:
    text = f"the discovery service {escaped(service['endpoint'])} is {service['state']}"
    reason = ": ".join(escaped(service[key]) for key in ("stage", "message") if service.get(key))
    return f"{text}: {reason}" if reason else text


def _of_peer(peer: Spec) -> str:
    endpoint = peer.get("endpoint") or peer.get("lastUsedEndpoint") or ""
    tried = f", tried at {endpoint}: is its UDP port open in the firewalls between?" if endpoint else ""
    return f"{escaped(peer['label'])} is {peer['state']}{tried}"


def progress(before: Seen, after: Seen) -> Iterable[str]:
    """Lines on what has come, and what blocks, since the last look."""
    if after.agent and not before.agent:
        yield "the agent runs"
    known = {service["endpoint"] for service in before.services if service["state"] == "connected"}
    for service in after.services:
        if service["state"] == "connected" and service["endpoint"] not in known:
            yield f"the discovery service {escaped(service['endpoint'])} answers"
    failures = {_of_service(service) for service in before.services if service.get("message")}
    for service in after.services:
        if service.get("message") and service["state"] != "connected" and _of_service(service) not in failures:
            yield _of_service(service)
    up = {peer["label"] for peer in before.peers if peer["state"] == "up"}
    for peer in after.peers:
        if peer["state"] == "up" and peer["label"] not in up:
            yield f"{escaped(peer['label'])} is up at {peer['endpoint']}"
    said = {problem["message"] for problem in before.problems}
    for problem in after.problems:
        if problem["message"] not in said:
            yield f"problem: {escaped(problem['message'])}"


def look(socket_path: str) -> Seen:
    """Ask the agent. Blocks for a moment. Raises CommandError for an agent that answers with an error."""
    try:
        return Seen(
            agent=True,
            services=specs(socket_path, "discoveryservicestatuses"),
            peers=specs(socket_path, "kubespanpeerstatuses"),
            problems=specs(socket_path, "networkproblems"),
            has_api=bool(specs(socket_path, "apicertificates")),
        )
    except AgentGoneError:
        return Seen()


def wait(
    socket_path: str,
    goal: Goal,
    *,
    timeout: float,
    begin: float | None = None,
    out: TextIO | None = None,
    look: Callable[[str], Seen] = look,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> list[str]:
    """Wait until the node has arrived, and show the progress; returns what is missing when the time is over.

    Times are shown since `begin`, by the same clock.

    Blocks. Raises CommandError.
    """
    stream = sys.stdout if out is None else out
    before, now = Seen(), clock()
    begin, end = now if begin is None else begin, now + timeout
    while True:
        seen = look(socket_path)
        for line in progress(before, seen):
            stream.write(f"{clock() - begin:5.1f} s  {line}\n")
            stream.flush()
        left = missing(seen, goal)
        if not left or clock() >= end:
            return left
        before = seen
        sleep(_LOOK)


def answers(socket_path: str) -> bool:
    """Whether an agent answers there."""
    try:
        ask(socket_path, {"call": "version"})
    except AgentGoneError:
        return False
    return True
