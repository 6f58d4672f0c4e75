"""`nodespan get TYPE [ID]` as a table, by the short way: what scripts call in loops must not cost a cold start.

Arguments are matched by hand and the agent makes the cells, so that neither argparse nor JSONPath is imported, nor the
modules of the library that they and `socket` bring. All that is not plain is left to the long way, which starts over:
other options and forms, errors, closed streams, namespaces that are out of reach, agents of another version.
"""

# The class behind `socket.socket`, whose module takes longer to import than the agent to answer.
import _socket
import io
import os
import sys

import msgpack

from nodespan.runtime.api.protocol import UNICODE_ERRORS
from nodespan.runtime.cli.table import Table
from nodespan.runtime.paths import client_socket

_CHUNK = 256 * 1024
_NAMESPACE, _SELECTOR, _SOCKET, _OUTPUT = "namespace", "selector", "socket", "output"
_OPTIONS = {
    "-n": _NAMESPACE,
    "--namespace": _NAMESPACE,
    "-l": _SELECTOR,
    "--labels": _SELECTOR,
    "--socket": _SOCKET,
    "-o": _OUTPUT,
    "--output": _OUTPUT,
}


def print_table(arguments: list[str]) -> int | None:
    """Print the table that the arguments behind `get` ask for; returns the exit status.

    None: nothing was printed, take the long way.
    """
    request = _parse(arguments)
    if request is None or None in (sys.stdin, sys.stdout, sys.stderr):
        return None
    try:
        table = _ask(*request)
    except KeyboardInterrupt:
        return 130
    if table is None:
        return None
    try:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")
        sys.stdout.write(table)
        sys.stdout.flush()
    except OSError as error:
        from nodespan.runtime.cli.streams import give_up

        return give_up(error)
    except KeyboardInterrupt:
        return 130
    return 0


def _parse(arguments: list[str]) -> tuple[str, dict[str, object]] | None:
    """The socket and the request, None for arguments that are not plain."""
    given: dict[str, list[str]] = {}
    names: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        if not argument.startswith("-"):
            names.append(argument)
            continue
        option, value = _OPTIONS.get(argument), next(rest, None)
        if option is None or value is None or value.startswith("-"):
            return None
        given.setdefault(option, []).append(value)
    if not 1 <= len(names) <= 2 or given.get(_OUTPUT, ["table"])[-1] != "table":
        return None
    request: dict[str, object] = {
        "call": "get",
        "type": names[0],
        "id": names[1] if len(names) == 2 else None,
        "namespace": given.get(_NAMESPACE, [""])[-1],
        "selectors": given.get(_SELECTOR, []),
        "watch": False,
        "form": "table",
    }
    path = given[_SOCKET][-1] if _SOCKET in given else client_socket()
    return path, request


def _ask(path: str, request: dict[str, object]) -> str | None:
    """The table as text, None if the agent does not answer with a complete one."""
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        connection.connect(path)
        connection.sendall(msgpack.packb(request, unicode_errors=UNICODE_ERRORS))
        unpacker = msgpack.Unpacker(max_buffer_size=0, strict_map_key=False, unicode_errors=UNICODE_ERRORS)
        node = os.uname().nodename
        table: Table | None = None
        while data := connection.recv(_CHUNK):
            unpacker.feed(data)
            for answer in unpacker:
                if table is not None and "rows" in answer:
                    table.add_columns(answer["rows"], [node, *answer["cells"]])
                elif "columns" in answer and not answer["outage"]:
                    table = Table(["NODE", *answer["columns"]])
                elif "end" in answer and table is not None:
                    return table.flush()
                else:
                    return None
    except OSError:
        return None
    finally:
        connection.close()
    return None
