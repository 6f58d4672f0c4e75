"""WireGuard devices of wireguard-go processes, over their sockets, in the protocol of all userspace implementations.

Lines of `key=value`, ended by an empty line; keys are in hex. The sockets of all network namespaces are in one
directory, so a name belongs to one device of the machine: it is the requested one only if the process at
the other end runs in the same namespace.
"""

import datetime
import errno
import os
import socket
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs

from nodespan.kernel.outside_text import bytes_of, file_name
from nodespan.kernel.refusals import wireguard_refusal
from nodespan.kernel.wireguard.device import (
    DeviceChange,
    DeviceState,
    PeerConfig,
    PeersOfAnswers,
    PeerState,
    canonical_endpoint,
    sort_allowed_ips,
)
from nodespan.kernel.wireguard.keys import format_key, parse_key, public_key_of

SOCKETS = Path("/var/run/wireguard")

_CREDENTIALS = struct.Struct("=iii")  # process, user, group
_TIMEOUT = 10.0
_BLOCK = 65536
# Older versions (Debian 12's) wait for room in the send buffer of their socket, with locks that an answer takes. There
# the kernel keeps for 3 s what is for a machine of this network that does not answer for its address: 240 fill it.
_SILENT = (
    f"wireguard-go has not answered for {_TIMEOUT:g} s: it waits to send, as older versions do where hundreds of peers "
    "in the same network are switched off"
)
_CUT_OFF = "wireguard-go closed the connection before its answer was complete"


# The protocol.


def read_device(lines: Iterable[str], *, peers: bool = True) -> DeviceState:
    """The device in the lines of an answer. Raises OSError if the answer is a refusal.

    Without peers no more lines are asked for than its own.
    """
    kept: list[str] = []
    for line in lines:
        if not peers and line.startswith("public_key="):
            break
        kept.append(line)
    return read_answer("\n".join(kept).encode())


def read_answer(answer: bytes) -> DeviceState:
    """The device in an answer. Raises OSError if it is a refusal.

    The answer contains the private key; only its public half is kept.
    """
    own, *parts = answer.split(b"\npublic_key=")
    if own.startswith(b"public_key="):
        own, parts = b"", [own.removeprefix(b"public_key="), *parts]
    settings: dict[str, str] = {}
    # The end of the answer, which is also that of its last peer, says whether it is a refusal.
    last = parts.pop() if parts else b""
    kept, _, code = last.partition(b"\nerrno=")
    if last:
        parts.append(kept)
    for line in own.decode("ascii").split("\n"):
        key, _, value = line.partition("=")
        settings[key] = value
    _check(settings.get("errno", "0"))
    _check(code.decode("ascii").strip() or "0")
    states = _peers_of_answers.of(parts)
    return DeviceState(
        public_key=_public_key(settings.get("private_key", "")),
        listen_port=int(settings.get("listen_port", "0")),
        firewall_mark=int(settings.get("fwmark", "0")),
        peers={state.config.public_key: state for state in sorted(states, key=lambda each: each.config.public_key)},
    )


def _public_key(private_key: str) -> str:
    key = format_key(bytes.fromhex(private_key))
    return public_key_of(key) if key else ""


def _read_peer(part: bytes) -> PeerState:
    """A peer, from the value of its key on."""
    public_key, *lines = part.decode("ascii").split("\n")
    values: dict[str, str] = {}
    allowed_ips: list[str] = []
    for line in lines:
        key, _, value = line.partition("=")
        if key == "allowed_ip":
            allowed_ips.append(value)
        else:
            values[key] = value
    seconds = int(values.get("last_handshake_time_sec", "0"))
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC) + datetime.timedelta(
        microseconds=int(values.get("last_handshake_time_nsec", "0")) // 1000
    )
    endpoint = values.get("endpoint", "")
    return PeerState(
        config=PeerConfig(
            public_key=format_key(bytes.fromhex(public_key)),
            preshared_key=format_key(bytes.fromhex(values.get("preshared_key", ""))),
            endpoint=canonical_endpoint(endpoint) if endpoint else "",
            persistent_keepalive=int(values.get("persistent_keepalive_interval", "0")),
            allowed_ips=sort_allowed_ips(allowed_ips),
        ),
        last_handshake_time=moment if seconds else None,
        receive_bytes=int(values.get("rx_bytes", "0")),
        transmit_bytes=int(values.get("tx_bytes", "0")),
    )


_peers_of_answers = PeersOfAnswers(_read_peer)


def change_request(change: DeviceChange) -> str:
    """The request for a change. Raises ValueError for an invalid key."""
    lines = ["set=1"]
    if change.private_key is not None:
        lines.append(f"private_key={_hex(change.private_key)}")
    if change.listen_port is not None:
        lines.append(f"listen_port={change.listen_port}")
    if change.firewall_mark is not None:
        lines.append(f"fwmark={change.firewall_mark}")
    for key in change.removed:
        lines += [f"public_key={_hex(key)}", "remove=true"]
    for peer in change.peers:
        lines += [f"public_key={_hex(peer.public_key)}", f"preshared_key={_hex(peer.preshared_key)}"]
        if peer.endpoint:
            lines.append(f"endpoint={peer.endpoint}")
        lines += [f"persistent_keepalive_interval={peer.persistent_keepalive}", "replace_allowed_ips=true"]
        lines += [f"allowed_ip={prefix}" for prefix in peer.allowed_ips]
    return "\n".join([*lines, "", ""])


def _same_endpoints(device: DeviceState) -> str:
    lines = ["set=1"]
    for key, peer in device.peers.items():
        if peer.config.endpoint:
            lines += [f"public_key={_hex(key)}", "update_only=true", f"endpoint={peer.config.endpoint}"]
    return "\n".join([*lines, "", ""])


def _hex(key: str) -> str:
    return parse_key(key).hex() if key else "0" * 64


def _check(code: str) -> None:
    number = abs(int(code))
    if number:
        raise OSError(number, f"wireguard-go refuses: {os.strerror(number)}")


# The connection.


@attrs.frozen
class UserspaceWireguard:
    """The devices of wireguard-go in one network namespace: links of kind `tun`."""

    _netns: str | None
    _directory: Path = SOCKETS

    def owns(self, name: str) -> bool:
        """Whether a process in this namespace serves this device. Blocks."""
        try:
            with self._open(name) as connection:
                return connection is not None
        except OSError:
            # A stale socket of a dead process.
            return False

    def read(self, name: str, *, peers: bool = True) -> DeviceState | None:
        """The device, None if no process here serves it. Blocks. Raises OSError."""
        try:
            with self._open(name) as connection:
                if connection is None:
                    return None
                connection.sendall(b"get=1\n\n")
                return read_answer(_whole(connection)) if peers else read_device(_lines(connection), peers=False)
        except ConnectionRefusedError:
            return None

    def read_private_key(self, name: str) -> str:
        """The private key, "" if the device has none; for who is to give it back. Blocks. Raises OSError."""
        with self._open(name) as connection:
            if connection is None:
                return ""
            connection.sendall(b"get=1\n\n")
            for line in _lines(connection):
                key, _, value = line.partition("=")
                if key == "private_key":
                    return format_key(bytes.fromhex(value))
        return ""

    def change(self, name: str, change: DeviceChange) -> None:
        """Apply a change; blocks. Raises OSError, ProcessLookupError if no process here serves the device."""
        with self._open(name) as connection:
            if connection is None:
                raise ProcessLookupError(f"no wireguard-go of this network namespace runs {name}")
            connection.sendall(change_request(change).encode())
            try:
                read_device(_lines(connection))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
                text = wireguard_refusal(error.errno, name, listen_port=change.listen_port or 0)
                raise OSError(error.errno, text) from error

    def forget_sources(self, name: str) -> None:
        """Make the device choose its source address for each peer again. Blocks. Raises OSError.

        It keeps its last source address even when the node has lost it and nothing is sent any more.
        Setting an endpoint that it already has clears it; nothing else changes.
        """
        device = self.read(name)
        if device is None:
            return
        with self._open(name) as connection:
            if connection is not None:
                connection.sendall(_same_endpoints(device).encode())
                read_device(_lines(connection))

    @contextmanager
    def _open(self, name: str) -> Iterator[socket.socket | None]:
        path = self._directory / f"{file_name(name)}.sock"
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as connection:
            connection.settimeout(_TIMEOUT)
            try:
                connection.connect(str(path))
            except FileNotFoundError:
                yield None
                return
            credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
            process, _, _ = _CREDENTIALS.unpack(credentials)
            try:
                yield connection if self._lives_here(process, name) else None
            except TimeoutError as error:
                raise TimeoutError(errno.ETIMEDOUT, _SILENT) from error

    def _lives_here(self, process: int, name: str) -> bool:
        """Whether the device that a socket is of is in this namespace: the sockets of all share a directory.

        `process` is the one that made the socket. One that went into the background has ended since: then it is the
        one that holds the tun link of this name.
        """
        here = os.stat(self._netns or "/proc/thread-self/ns/net")
        try:
            return os.path.samestat(here, os.stat(f"/proc/{process}/ns/net"))
        except FileNotFoundError:
            return any(_holds_tun(each, name) for each in _processes_in(here))


def _processes_in(namespace: os.stat_result) -> Iterator[Path]:
    """The directories in /proc of the processes in a network namespace."""
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            if os.path.samestat(namespace, os.stat(directory / "ns" / "net")):
                yield directory
        except OSError:
            # It has ended.
            continue


def _holds_tun(process: Path, name: str) -> bool:
    """Whether a process has the tun link of this name open, as the kernel tells of its files."""
    wanted = b"iff:\t" + bytes_of(name) + b"\n"
    try:
        files = tuple((process / "fdinfo").iterdir())
    except OSError:
        # It has ended.
        return False
    for file in files:
        try:
            if wanted in file.read_bytes():
                return True
        except OSError:
            # It has closed that one.
            continue
    return False


def _whole(connection: socket.socket) -> bytes:
    """The answer without the empty line that ends it. Raises ConnectionError if it is cut off."""
    answer = bytearray()
    while not answer.endswith(b"\n\n"):
        data = connection.recv(_BLOCK)
        if not data:
            raise ConnectionError(_CUT_OFF)
        answer += data
    return bytes(answer[:-2])


def _lines(connection: socket.socket) -> Iterator[str]:
    """The lines of an answer, up to the empty one that ends it. Raises ConnectionError if it is cut off."""
    rest = b""
    while True:
        data = connection.recv(_BLOCK)
        if not data:
            raise ConnectionError(_CUT_OFF)
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            if not line:
                return
            yield line.decode("ascii")
