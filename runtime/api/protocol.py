"""The local wire: one connection per request, msgpack maps in both directions.

A client sends one map and then only reads; closing the connection ends the request. The server answers with a stream of
maps and closes. What a request may be:

    {"call": "version"}                                             → {"version", "pid", "node"}, end
    {"call": "graph"}                                               → {"controllers", "edges", "resources"}, end
    {"call": "get", "type": as the user typed it, "namespace": or "", "id": or None, "selectors": [text],
     "watch": bool, "form": "data" | "yaml" | "table" | "wide" | "name"}
        → {"definition": {...}, "outage": None, or {"namespace", "since", "reason", "loaded"} for a namespace that can
          only be read, as of that time} once, then for each resource {"event": "created"} with "resource", or, in the
          form "yaml", with "metadata" and the text in "yaml", then end. With "watch" there is no end: {"event":
          "bootstrapped"} follows the present resources of a kind, and then changes as they come. The forms "table",
          "wide" and "name" have no watch: {"outage"} once, then {"text": some lines} until all are sent, then end; the
          request of a table has "node": the name that it shows. One of very many characters is an error
    {"call": "why", "type": as the user typed it, "namespace": or "", "id": text, "depth": how far to go, from 0 on}
        → for the resource, and after it for each that it was made from, {"depth", "namespace", "type", "id", "version":
          or None, "owner", "note", "repeated": whether what it was made from stands further up}, end
    {"call": "status", "watch": bool}
        → {"status": {"node", "version", "time", "healthy": bool, "warnings": number, "sections": [{"name", "title",
          "facts": [[label, text]], "table": None or {"columns", "rows": [{"cells", "severity"}], "more": a command},
          "findings": [{"severity", "text", "remedy"}], "data": {...}}]}}, end; with "watch" there is no end: another
          one follows each change
    {"call": "action", "name": as a controller calls it, "arguments": {...}}       → what the action answers, end
    {"call": "write", "verb": "create" | "apply" | "replace", "text": YAML documents, "file": their name in errors}
        → {"type", "id", "done": what became of it} for each resource, end
    {"call": "write", "verb": "delete", "type", "id", "namespace", "wait": bool}                     → the same
    {"call": "write", "verb": "label", "type", "id", "namespace", "labels": {name: text or None}}    → the same

where end is {"end": true}, without which an answer was cut off. Any answer may be {"error": code, "message": text},
which ends it. A `get`, `why` or `status` with "as": "reader" is answered as to other users of this machine, who see
nothing sensitive: for programs that ask on behalf of others. Both ends import this module, and so does every start of
the command line: it imports next to nothing.
"""

NOT_FOUND = "not_found"
INVALID = "invalid"
DENIED = "denied"
# The rights of those who are not the agent's user.
READER = "reader"
# The client reads too slowly: list again.
# How an error about a type that no controller here knows begins.
NO_SUCH_TYPE = "no such type is registered"
OVERRUN = "overrun"
# The agent failed; its log says how.
INTERNAL = "internal"

# Larger than any request (the longest holds a configuration), and far below what would hurt.
MAX_REQUEST = 8 * 2**20

# Seconds without a byte of an answer until a client asks, on another connection, whether the agent answers at all.
PATIENCE = 5.0

CREATED = "created"
UPDATED = "updated"
DESTROYED = "destroyed"
BOOTSTRAPPED = "bootstrapped"

# The headings of a wide table behind those of every table.
WIDE = ("OWNER", "PHASE", "UPDATED", "LABELS")

# Surrogates pass in both directions: names of links may hold bytes that are not UTF-8.
UNICODE_ERRORS = "surrogatepass"


def silent(path: str) -> str:
    """What to say of an agent that answers nobody."""
    return (
        f"the agent at {path} does not answer: it is stopped, hangs, or is busy. Where `ps -C nodespan -o pid,stat` "
        "shows T, let it go on (`kill -CONT PID`); else try again, and restart it (`systemctl restart nodespan`) if "
        "that does not help"
    )
