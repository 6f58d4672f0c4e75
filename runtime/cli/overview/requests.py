"""Requests to the agent that several of these verbs make. Imports next to nothing."""

from typing import Any

EVENTS = "events.runtime.nodespan.dev"


def get_request(type: str, form: str = "data") -> dict[str, Any]:
    """The request for all resources of a type."""
    return {"call": "get", "type": type, "namespace": "", "id": None, "selectors": [], "form": form}
