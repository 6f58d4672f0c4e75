"""`nodespan get TYPE [ID]` as a table or as names, by the short way: what scripts call in loops costs no cold start.

Arguments are matched by hand, the request is packed by hand, and the agent makes the lines: what is left here is to
write them. So nothing is imported that Python itself has not loaded, but the class of sockets: neither argparse nor
msgpack, which with the modules of the library that they bring take longer than the agent. All that is not plain is left
to the long way, which starts over: other options and forms, errors, closed streams, namespaces that are out of reach,
agents of another version.
"""

# The class behind `socket.socket`, whose module takes longer to import than the agent to answer.
import _socket
import io
import os
import sys

from nodespan.runtime.paths import client_socket

# Small enough for memory that is there: each larger one would be mapped, and its pages zeroed.
_CHUNK = 64 * 1024
# Seconds without a byte until the long way is taken, which finds out whether the agent answers at all.
_PATIENCE = 5
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
# What surrounds the lines of a complete answer, as msgpack: {"outage": None}, {"text": ...} ..., {"end": True}.
_HEAD = b"\x81\xa6outage\xc0"
_TEXT = b"\x81\xa4text"
_END = b"\x81\xa3end\xc3"
# How a text begins in msgpack, and how many bytes its length takes; of short ones the first byte is the length, too.
_LENGTHS = {0xD9: 1, 0xDA: 2, 0xDB: 4}
_SHORT = range(0xA0, 0xC0)
_FORMS = ("table", "wide", "name")
_UTF_8 = ("utf-8", "utf8")


def print_table(arguments: list[str]) -> int | None:
    """Print the table, or the names, that the arguments behind `get` ask for; returns the exit status.

    None: nothing was printed, take the long way.
    """
    request = _parse(arguments)
    if request is None or None in (sys.stdin, sys.stdout, sys.stderr):
        return None
    try:
        lines = lines_in(_ask(*request))
    except KeyboardInterrupt:
        return 130
    if lines is None:
        return None
    try:
        write(lines)
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
    form = given.get(_OUTPUT, ["table"])[-1]
    if not 1 <= len(names) <= 2 or form not in _FORMS:
        return None
    request: dict[str, object] = {
        "call": "get",
        "type": names[0],
        "id": names[1] if len(names) == 2 else None,
        "namespace": given.get(_NAMESPACE, [""])[-1],
        "selectors": given.get(_SELECTOR, []),
        "form": form,
        "node": os.uname().nodename,
    }
    path = given[_SOCKET][-1] if _SOCKET in given else client_socket()
    return path, request


def packed(value: object) -> bytes:
    """A request as msgpack. Its texts, lists and maps are always of the long forms, which hold whatever there is."""
    match value:
        case None:
            return b"\xc0"
        case str():
            # The protocol's UNICODE_ERRORS, whose package and module would take a thirtieth of the command to import.
            text = value.encode(errors="surrogatepass")
            return b"\xdb" + len(text).to_bytes(4, "big") + text
        case list():
            return b"\xdd" + len(value).to_bytes(4, "big") + b"".join(map(packed, value))
        case dict():
            items = [packed(each) for item in value.items() for each in item]
            return b"\xdf" + len(value).to_bytes(4, "big") + b"".join(items)
    raise TypeError(f"a request has no {type(value).__name__}: {value!r}")


def _ask(path: str, request: dict[str, object]) -> bytearray:
    """All that the agent answers, nothing if it cannot be asked."""
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    answer = bytearray()
    try:
        connection.settimeout(_PATIENCE)
        connection.connect(path)
        connection.sendall(packed(request))
        while data := connection.recv(_CHUNK):
            answer += data
    except OSError:
        answer.clear()
    finally:
        connection.close()
    return answer


def lines_in(answer: bytes | bytearray) -> list[memoryview] | None:
    """The lines in an answer, some at a time; None if it has others than lines, or is not complete."""
    if not answer.startswith(_HEAD):
        return None
    view = memoryview(answer)
    lines = []
    at = len(_HEAD)
    while answer.startswith(_TEXT, at):
        at += len(_TEXT)
        (form,) = answer[at : at + 1] or b"\0"
        at += 1
        if form in _LENGTHS:
            size = _LENGTHS[form]
            length = int.from_bytes(answer[at : at + size], "big")
            at += size
        elif form in _SHORT:
            length = _SHORT.index(form)
        else:
            return None
        lines.append(view[at : at + length])
        at += length
    return lines if answer[at:] == _END else None


def write(lines: list[memoryview]) -> None:
    """Write lines to the standard output, in its character set. Raises OSError."""
    output = sys.stdout
    if isinstance(output, io.TextIOWrapper):
        if output.encoding.lower() in _UTF_8:
            for rest in lines:
                while rest:
                    # With PYTHONUNBUFFERED nothing stands before the file, which may take a part only, or nothing now.
                    written = output.buffer.write(rest)
                    if not written:
                        raise BlockingIOError("it takes nothing more at this moment")
                    rest = rest[written:]
            output.flush()
            return
        output.reconfigure(errors="backslashreplace")
    output.write(b"".join(lines).decode())
    output.flush()
