"""The local socket: serves the state of this process to users of this machine."""

import errno
import itertools
import os
import socket
import stat
import struct
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import attrs
import msgpack
import trio

from nodespan.runtime.actions import Action, ActionCall, ActionError
from nodespan.runtime.api import protocol
from nodespan.runtime.api.access import TypeNameError, check_registered, definition_called
from nodespan.runtime.api.kept_table import KeptTable
from nodespan.runtime.api.overview import StatusReports
from nodespan.runtime.codec.plain import format_time, metadata_to_plain, resource_to_plain, spec_to_plain
from nodespan.runtime.controller import Logger
from nodespan.runtime.engine import Engine
from nodespan.runtime.engine.causes import Cause, find_causes
from nodespan.runtime.errors import AccessError, NotFoundError, OverrunError
from nodespan.runtime.loading import load
from nodespan.runtime.lock_file import LockedError, locked
from nodespan.runtime.resource import (
    Filter,
    Kind,
    Pointer,
    Resource,
    ResourceDefinition,
    ResourceDefinitionSpec,
    build_filter,
    parse_selector,
)
from nodespan.runtime.state import Event, EventType, State, count_by_type
from nodespan.runtime.state.filtered import FilteredState, Rule, Verb
from nodespan.runtime.text.suggestions import did_you_mean
from nodespan.runtime.whole_file import make_directory

_CHUNK = 64 * 1024
_PEER_CREDENTIALS = struct.Struct("iII")
# How long, in seconds, a client may take to send its request.
_REQUEST_TIMEOUT = 10.0
_EVENTS = {
    EventType.CREATED: protocol.CREATED,
    EventType.UPDATED: protocol.UPDATED,
    EventType.DESTROYED: protocol.DESTROYED,
    EventType.BOOTSTRAPPED: protocol.BOOTSTRAPPED,
}


_END: dict[str, Any] = {"end": True}
# Columns that name a resource to people where its id does not, and their fields.
_NAME_COLUMNS = {"Label": "label", "Hostname": "hostname"}
_MOST_SUGGESTED = 1000
_Render = Callable[[str, Resource[Any]], dict[str, Any]]


class AlreadyServedError(Exception):
    """Another process serves this socket."""


class _RequestError(Exception):
    """The request cannot be answered; programs read the `code`, people the text."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@attrs.frozen
class Peer:
    """The process at the other end, as the kernel reports it."""

    pid: int
    uid: int


def read_rule(state: State, *, is_owner: bool) -> Rule:
    """The access rule for clients: read registered types; sensitive ones only as the owner of the socket."""

    def rule(pointer: Pointer[Any], verb: Verb) -> None:
        kind = {"namespace": pointer.namespace, "type": pointer.type}
        if not verb.only_reads:
            raise AccessError(f"{pointer.kind} can only be read here", **kind)
        definition = check_registered(state, pointer)
        if definition.sensitivity and not is_owner:
            raise AccessError(f"{pointer.type} is sensitive: only the user that runs the agent may read it", **kind)

    return rule


@contextmanager
def claim(path: Path) -> Iterator[None]:
    """Claim a socket path by a lock that the kernel releases when the process ends, however it ends.

    A stale socket is removed, any other file is not. Raises AlreadyServedError, with the pid if another agent holds the
    lock, and OSError if the path cannot be used.
    """
    make_directory(path.parent, mode=0o755)
    try:
        with locked(Path(f"{path}.lock")):
            _remove_stale(path)
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
    except LockedError as error:
        raise AlreadyServedError(
            f"another agent (pid {error.holder}) already serves {path}: "
            "stop it first, or give this one another --socket"
        ) from None


def _remove_stale(path: Path) -> None:
    """Remove a socket without a listener. An agent would hold the lock, but other programs have sockets too."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise FileExistsError(errno.EEXIST, "a file that is not a socket is in the way", str(path))
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(0)
        if probe.connect_ex(str(path)) != errno.ECONNREFUSED:
            raise AlreadyServedError(
                f"another program, not a nodespan agent, serves {path}: give the agent another --socket"
            )
    path.unlink()


@asynccontextmanager
async def listen(path: Path) -> AsyncIterator[trio.SocketListener]:
    """A listening socket of mode 0600. Raises AlreadyServedError, or OSError that names the path."""
    with claim(path):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            os.fchmod(sock.fileno(), 0o600)  # Linux gives the file the mode of the socket, from its first moment
            try:
                sock.bind(str(path))
            except OSError as error:
                # Python itself refuses a path that is too long, without a number.
                number, reason = error.errno or errno.ENAMETOOLONG, error.strerror or "a socket's path has 107 bytes"
                raise OSError(number, reason, str(path)) from error
            sock.listen(128)
        except BaseException:
            sock.close()
            raise
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(sock))
        async with listener:
            yield listener


class LocalServer:
    """Answers the requests of `nodespan.runtime.api.protocol` from a state and its engine."""

    def __init__(
        self,
        state: State,
        engine: Engine,
        log: Logger,
        *,
        version: str,
        actions: Mapping[str, Action] | None = None,
    ) -> None:
        self._state = state
        self._engine = engine
        self._log = log
        self._version = version
        self._actions = {} if actions is None else actions
        self._kept_table = KeptTable()
        self._status = StatusReports(state, log, version=version)

    async def serve(self, listener: trio.SocketListener) -> None:
        """Serve until cancelled. A client that breaks the protocol loses its connection; others are not affected."""
        await trio.serve_listeners(self._converse, [listener])

    async def _converse(self, stream: trio.SocketStream) -> None:
        try:
            async with stream:
                try:
                    with trio.fail_after(_REQUEST_TIMEOUT):
                        request = await _receive_request(stream)
                    if request is not None:
                        await self._answer(stream, request, _peer_of(stream))
                except _RequestError as error:
                    await _send(stream, [_error(error.code, str(error))])
                except trio.TooSlowError:
                    await _send(stream, [_error(protocol.INVALID, "no request came")])
                except trio.BrokenResourceError:
                    raise
                except Exception:
                    self._log.exception("a request on the local socket failed")
                    await _send(stream, [_error(protocol.INTERNAL, "the agent failed to answer, its log tells why")])
        except trio.BrokenResourceError:
            pass  # the client disconnected, which it may do at any time
        await self._kept_table.forget_in_time()

    async def _answer(self, stream: trio.SocketStream, request: dict[str, Any], peer: Peer) -> None:
        match request.get("call"):
            case "version":
                answer = {"version": self._version, "pid": os.getpid(), "node": socket.gethostname()}
                await _send(stream, [answer, _END])
            case "graph":
                await _send(stream, [self._graph(), _END])
            case "get":
                await self._get(stream, request, peer)
            case "why":
                await self._why(stream, request, peer)
            case "status":
                visible = FilteredState(self._state, read_rule(self._state, is_owner=_sees_all(request, peer)))
                await _send_answers(stream, self._status.reports(visible, watch=bool(request.get("watch"))))
            case "action":
                await self._act(stream, request, peer)
            case "write":
                await self._write(stream, request, peer)
            case other:
                raise _RequestError(
                    protocol.INVALID, f"unknown call {other!r}: is the agent (version {self._version}) too old?"
                )

    # get

    async def _get(self, stream: trio.SocketStream, request: dict[str, Any], peer: Peer) -> None:
        definition, kind = self._asked_kind(request)
        id = None if request.get("id") is None else _text(request, "id")
        filter = _filter(request.get("selectors"))
        form = _text(request, "form", default="data")
        is_watch = bool(request.get("watch"))
        head: dict[str, Any] = {"outage": self._outage(kind.namespace)}
        is_lines = form in _LINES and not is_watch
        if form in _RENDERERS:
            head["definition"] = spec_to_plain(definition)
        elif not is_lines:
            known = [*_RENDERERS] if is_watch else [*_RENDERERS, *_LINES]
            raise _RequestError(protocol.INVALID, f"unknown form {form!r}: expected {' or '.join(known)}")
        visible = FilteredState(self._state, read_rule(self._state, is_owner=_sees_all(request, peer)))
        try:
            id = None if id is None else _id_of(visible, definition, kind, id)
            if is_watch:
                async with _follow(visible, kind, id, filter) as batches:
                    await self._send_events(stream, head, batches, _RENDERERS[form])
                return
            found = visible.list(kind) if id is None else [visible.get(kind, id)]
        except NotFoundError as error:
            near = "" if id is None else did_you_mean(id, _names(visible, definition, kind))
            raise _RequestError(protocol.NOT_FOUND, f"{error}{near}") from error
        except AccessError as error:
            raise _RequestError(protocol.DENIED, str(error)) from error
        except OverrunError as error:
            raise _RequestError(protocol.OVERRUN, str(error)) from error
        resources = found if filter.is_empty else [each for each in found if filter.matches(each.metadata)]
        answers: Iterable[dict[str, Any]]
        if is_lines:
            answers = ({"text": part} for part in await self._lines(request, form, definition, resources))
        else:
            render = _RENDERERS[form]
            answers = (render(protocol.CREATED, resource) for resource in resources)
        await _send(stream, itertools.chain([head], answers, [_END]))

    async def _lines(
        self, request: dict[str, Any], form: str, definition: ResourceDefinitionSpec, resources: list[Resource[Any]]
    ) -> Iterable[str]:
        """The lines of resources, some at a time."""
        # Only an agent that is asked for them pays for JSONPath.
        from nodespan.runtime.api.rows import Rows, names

        if form == _NAME:
            return names(definition, resources)
        node = _node(request)
        key = (definition, form, node)
        kept = self._kept_table.find(key, resources)
        if kept is not None:
            return kept
        table = await Rows(definition, is_wide=form == _WIDE).table(node, resources)
        if table.size() > _LARGEST_TABLE:
            raise _RequestError(protocol.INVALID, "the table is too large to be laid out here: request the form 'data'")
        return self._kept_table.keep(key, resources, table.parts())

    async def _send_events(
        self,
        stream: trio.SocketStream,
        head: dict[str, Any],
        batches: AsyncIterator[list[Event]],
        render: _Render,
    ) -> None:
        await _send(stream, [head])
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_cancel_on_eof, stream, nursery.cancel_scope)
                async for batch in batches:
                    await _send(stream, (_message(event, render) for event in batch))
                nursery.cancel_scope.cancel()  # the watch ended, by an error that was sent
        except* trio.BrokenResourceError:
            pass  # the client disconnected: that is how it ends a watch

    def _outage(self, namespace: str) -> dict[str, Any] | None:
        outage = self._state.outage(namespace)
        if outage is None:
            return None
        since = format_time(outage.since())
        return {"namespace": namespace, "since": since, "reason": outage.reason, "loaded": outage.is_loaded}

    def _asked_kind(self, request: dict[str, Any]) -> tuple[ResourceDefinitionSpec, Kind[Any]]:
        definition = self._resolve(_text(request, "type"))
        namespace = _text(request, "namespace", default="") or definition.default_namespace
        return definition, Kind(namespace, definition.type)

    def _resolve(self, typed: str) -> ResourceDefinitionSpec:
        try:
            return definition_called(self._state.list(ResourceDefinition), typed)
        except TypeNameError as error:
            raise _RequestError(protocol.INVALID if error.is_ambiguous else protocol.NOT_FOUND, str(error)) from error

    # why

    async def _why(self, stream: trio.SocketStream, request: dict[str, Any], peer: Peer) -> None:
        definition, kind = self._asked_kind(request)
        depth = request.get("depth")
        if not isinstance(depth, int) or depth < 0:
            raise _RequestError(protocol.INVALID, f"the request's 'depth' must be a number from 0 on, not {depth!r}")
        id, rule = _text(request, "id"), read_rule(self._state, is_owner=_sees_all(request, peer))
        visible = FilteredState(self._state, rule)
        try:
            pointer = kind.pointer(_id_of(visible, definition, kind, id))
            rule(pointer, Verb.GET)
            causes = []
            for cause in find_causes(self._state, self._engine.runners, pointer, depth=depth):
                causes.append(cause)
                # The next one may take a look at all resources of a kind.
                await trio.lowlevel.checkpoint()
        except NotFoundError as error:
            near = did_you_mean(id, _names(visible, definition, kind))
            raise _RequestError(protocol.NOT_FOUND, f"{error}{near}") from error
        except AccessError as error:
            raise _RequestError(protocol.DENIED, str(error)) from error
        await _send(stream, [*map(self._cause, causes), _END])

    def _cause(self, cause: Cause) -> dict[str, Any]:
        namespace, type, id = cause.pointer
        definition = self._state.find(ResourceDefinition, type.lower())
        return {
            "depth": cause.depth,
            "namespace": namespace,
            "type": type if definition is None else definition.spec.display_type,
            "id": id,
            "version": cause.version,
            "owner": cause.owner,
            "note": cause.note,
            "repeated": cause.is_repeated,
        }

    # action

    async def _act(self, stream: trio.SocketStream, request: dict[str, Any], peer: Peer) -> None:
        name = _text(request, "name")
        action = self._actions.get(name)
        if action is None:
            raise _RequestError(
                protocol.NOT_FOUND, f"no such action: {name!r}; is the agent (version {self._version}) too old?"
            )
        if not _is_owner(peer):
            raise _RequestError(protocol.DENIED, "only the user that runs the agent, and root, may request actions")
        arguments = request.get("arguments") or {}
        if not isinstance(arguments, dict):
            raise _RequestError(protocol.INVALID, "the request's 'arguments' must be a map")
        call = ActionCall(arguments=arguments, state=self._state, settle=self._engine.settled)
        await _send_answers(stream, action(call))

    # write

    async def _write(self, stream: trio.SocketStream, request: dict[str, Any], peer: Peer) -> None:
        if not _is_owner(peer):
            raise _RequestError(protocol.DENIED, "only the user that runs the agent, and root, may write resources")
        # Only an agent whose users write pays for the YAML parser.
        await load("nodespan.runtime.api.user_resources")
        from nodespan.runtime.api.user_resources import UserResources

        users = UserResources(self._state, self._engine.types)
        match verb := _text(request, "verb"):
            case "create" | "apply" | "replace":
                write = {"create": users.create, "apply": users.apply, "replace": users.replace}[verb]
                answers = write(_text(request, "text"), _text(request, "file"))
            case "delete":
                answers = users.delete(*_address(request), wait=bool(request.get("wait")))
            case "label":
                answers = users.label(*_address(request), _label_changes(request))
            case _:
                raise _RequestError(protocol.INVALID, f"unknown way to write: {verb!r}")
        await _send_answers(stream, answers)

    # graph

    def _graph(self) -> dict[str, Any]:
        edges = self._engine.graph.edges
        runners = self._engine.runners
        counts = count_by_type(self._state)
        return {
            "controllers": {
                name: {"wakeups": runner.access.counters.wakeups, "crashes": runner.access.counters.crashes}
                for name, runner in runners.items()
            },
            "edges": [[edge.controller, edge.namespace, edge.type, edge.id, int(edge.kind)] for edge in edges],
            "resources": {edge.type: counts[edge.type] for edge in edges},
        }


async def _send_answers(stream: trio.SocketStream, answers: AsyncGenerator[Mapping[str, Any], None]) -> None:
    """Send what is yielded, and the end; cancelled when the client disconnects."""
    last = _END
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_cancel_on_eof, stream, nursery.cancel_scope)
            try:
                async with aclosing(answers):
                    async for answer in answers:
                        await _send(stream, [answer])
            except ActionError as error:
                last = _error(protocol.INVALID, str(error))
            await _send(stream, [last])
            nursery.cancel_scope.cancel()
    except* trio.BrokenResourceError:
        pass  # the client disconnected and waits for no answer


def _address(request: dict[str, Any]) -> tuple[str, str, str]:
    return _text(request, "type"), _text(request, "id"), _text(request, "namespace", default="")


def _label_changes(request: dict[str, Any]) -> dict[str, str | None]:
    changes = request.get("labels")
    if not isinstance(changes, dict) or not all(
        isinstance(key, str) and (value is None or isinstance(value, str)) for key, value in changes.items()
    ):
        raise _RequestError(protocol.INVALID, "the request's 'labels' must be a map of texts, None to remove one")
    return changes


def _id_of(state: State, definition: ResourceDefinitionSpec, kind: Kind[Any], typed: str) -> str:
    """The id, or that of the only resource with this label or host name. Raises AccessError, _RequestError."""
    fields = _name_fields(definition)
    if not fields or state.find(kind, typed) is not None:
        return typed
    found = [
        resource.id
        for resource in state.list(kind)
        if any(getattr(resource.spec, field, None) == typed for field in fields)
    ]
    if len(found) > 1:
        raise _RequestError(protocol.INVALID, f"{typed!r} is ambiguous, give one of the ids: {', '.join(found)}")
    return found[0] if found else typed


def _name_fields(definition: ResourceDefinitionSpec) -> list[str]:
    return [_NAME_COLUMNS[column.name] for column in definition.print_columns if column.name in _NAME_COLUMNS]


def _names(state: State, definition: ResourceDefinitionSpec, kind: Kind[Any]) -> Iterator[str]:
    """The names of the first resources, for suggestions: comparing takes time."""
    fields = _name_fields(definition)
    for resource in itertools.islice(state.list(kind), _MOST_SUGGESTED):
        yield resource.id
        yield from (str(getattr(resource.spec, field, "")) for field in fields)


@asynccontextmanager
async def _follow(
    state: State, kind: Kind[Any], id: str | None, filter: Filter
) -> AsyncIterator[AsyncIterator[list[Event]]]:
    if id is None:
        async with state.watch_kind_aggregated(kind, bootstrap_contents=True, filter=filter) as watch:
            yield watch
    else:
        async with state.watch(kind, id) as one:
            yield _in_batches(one)


async def _in_batches(events: AsyncIterator[Event]) -> AsyncIterator[list[Event]]:
    async for event in events:
        yield [event]


async def _cancel_on_eof(stream: trio.SocketStream, scope: trio.CancelScope) -> None:
    """Notice that the client disconnected, also while there is nothing to send."""
    while await stream.receive_some(1024):
        pass
    scope.cancel()


def _message(event: Event, render: _Render) -> dict[str, Any]:
    if event.error is not None:
        return _error(protocol.OVERRUN, str(event.error))
    assert event.resource is not None  # only errors come without
    if event.type is EventType.BOOTSTRAPPED:
        return {"event": protocol.BOOTSTRAPPED}
    return render(_EVENTS[event.type], event.resource)


def _error(code: str, message: str) -> dict[str, Any]:
    return {"error": code, "message": message}


def _render_data(event: str, resource: Resource[Any]) -> dict[str, Any]:
    return {"event": event, "resource": resource_to_plain(resource)}


def _render_yaml(event: str, resource: Resource[Any]) -> dict[str, Any]:
    from nodespan.runtime.codec.yamltext import dump_resource

    metadata = metadata_to_plain(resource.metadata)
    return {"event": event, "metadata": metadata, "yaml": dump_resource(metadata, spec_to_plain(resource.spec))}


# Longer than any host name.
_LONGEST_NODE = 255
# In characters: six times a table of 100,000 routes. Larger ones are laid out by the command, by itself: a single long
# cell, which another machine may choose, makes all lines as long.
_LARGEST_TABLE = 64 * 2**20
_WIDE = "wide"
_NAME = "name"
# The forms that are lines for the user.
_LINES = ("table", _WIDE, _NAME)
_RENDERERS: dict[str, _Render] = {"data": _render_data, "yaml": _render_yaml}


def _text(request: dict[str, Any], key: str, default: str | None = None) -> str:
    value = request.get(key, default)
    if not isinstance(value, str):
        raise _RequestError(protocol.INVALID, f"the request's {key!r} must be text, not {value!r}")
    return value


def _node(request: dict[str, Any]) -> str:
    node = _text(request, "node", default="")
    # Every line has it.
    if len(node) > _LONGEST_NODE:
        raise _RequestError(protocol.INVALID, f"the request's 'node' is longer than {_LONGEST_NODE} characters")
    return node


def _filter(selectors: object) -> Filter:
    given = [] if selectors is None else selectors
    if not isinstance(given, list) or not all(isinstance(selector, str) for selector in given):
        raise _RequestError(protocol.INVALID, f"the request's 'selectors' must be a list of texts, not {selectors!r}")
    try:
        return build_filter([parse_selector(selector) for selector in given])
    except ValueError as error:
        raise _RequestError(protocol.INVALID, str(error)) from error


async def _receive_request(stream: trio.SocketStream) -> dict[str, Any] | None:
    """The one request of a connection; None if the client closes without one."""
    unpacker = msgpack.Unpacker(max_buffer_size=protocol.MAX_REQUEST, unicode_errors=protocol.UNICODE_ERRORS)
    while data := await stream.receive_some(_CHUNK):
        try:
            unpacker.feed(data)
            for request in unpacker:
                if not isinstance(request, dict):
                    raise _RequestError(protocol.INVALID, "a request must be a msgpack map")
                return request
        except msgpack.BufferFull as error:
            text = f"the request is longer than {protocol.MAX_REQUEST:,} bytes"
            raise _RequestError(protocol.INVALID, text) from error
        except (ValueError, msgpack.UnpackException) as error:
            raise _RequestError(protocol.INVALID, f"the request is not msgpack: {error}") from error
    return None


async def _send(stream: trio.SocketStream, messages: Iterable[Mapping[str, Any]]) -> None:
    """Send messages, made only as they are sent; waits, cancellably, while the client does not read."""
    packer = msgpack.Packer(autoreset=False, unicode_errors=protocol.UNICODE_ERRORS)
    for message in messages:
        packer.pack(message)
        if len(packer.getbuffer()) >= _CHUNK:
            await stream.send_all(packer.bytes())
            packer.reset()
    await stream.send_all(packer.bytes())


def _sees_all(request: dict[str, Any], peer: Peer) -> bool:
    """Whether the answer may hold what is sensitive; a client can ask for less than it may see."""
    rights = _text(request, "as", default="")
    if rights not in ("", protocol.READER):
        raise _RequestError(protocol.INVALID, f"the request's 'as' must be {protocol.READER!r}, not {rights!r}")
    return _is_owner(peer) and not rights


def _is_owner(peer: Peer) -> bool:
    return peer.uid in (os.geteuid(), 0)


def _peer_of(stream: trio.SocketStream) -> Peer:
    raw = stream.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER_CREDENTIALS.size)
    assert isinstance(raw, bytes)
    pid, uid, _ = _PEER_CREDENTIALS.unpack(raw)
    return Peer(pid, uid)
