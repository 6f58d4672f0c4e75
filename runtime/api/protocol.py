"""The local wire: one connection per request, msgpack maps in both directions.

A client sends one map and then only reads; closing the connection ends the request. The server answers with a stream of
maps and closes. What a request may be:

    {"call": "version"}                                             → {"version", "pid", "node"}
    {"call": "graph"}                                               → {"controllers", "edges", "resources"}
    {"call": "get", "type": as the user typed it, "namespace": or "", "id": or None, "selectors": [text],
     "watch": bool, "form": "data" | "yaml"}
        → {"definition": {...}} once, then for each resource {"event": "created"} with "resource", or, in the form
          "yaml", with "metadata" and the text in "yaml". With "watch" {"event": "bootstrapped"} follows the present
          resources of a kind, and then changes as they come

and any answer may be {"error": code, "message": text}, which ends it. This module is what both ends share; it is on the
way of every start of the command line, so it imports next to nothing.
"""

VERSION = 1

NOT_FOUND = "not_found"
INVALID = "invalid"
DENIED = "denied"
# The server could not keep up with sending: list anew.
OVERRUN = "overrun"
INTERNAL = "internal"

# Far above any request, far below what would hurt.
MAX_REQUEST = 64 * 1024

CREATED = "created"
UPDATED = "updated"
DESTROYED = "destroyed"
BOOTSTRAPPED = "bootstrapped"
