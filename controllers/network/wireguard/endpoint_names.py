"""Endpoints of WireGuard peers that are given by name: looked up, kept, and looked up again when a peer stays silent.

A device knows addresses only. A name that cannot be looked up yet (the network that leads to the name server may be
this very tunnel's) is tried again, less and less often; nothing else waits for it. WireGuard follows a peer that moves
as long as it hears of it. Where it hears nothing any more, the name may have come to mean another address.
"""

import socket
from collections.abc import Awaitable, Callable, Sequence

import attrs
import trio

from nodespan.kernel.wireguard.device import PeerState, format_endpoint, parse_endpoint
from nodespan.runtime.backoff import Backoff, Exponential
from nodespan.runtime.host_names import for_lookup

Lookup = Callable[[str], Awaitable[Sequence[str]]]

_DELAYS = Exponential(base=1.0, cap=60.0)
# A name that is known is not looked up again sooner than after so many seconds.
_PAUSE = 30.0
_PATIENCE = 5.0
# A look-up that is given up holds its thread for as long as the system's resolver takes: these are apart from others.
_THREADS = 8


@attrs.frozen(kw_only=True)
class Silence:
    """How long a peer must be unheard of, in seconds: without a handshake so far, since the last one, between looks.

    A session is renewed every 120 seconds while it is used, with an attempt every 5 seconds.
    """

    first: float = 15.0
    after: float = 135.0
    look_interval: float = 10.0
    pause: float = _PAUSE


def is_silent(
    peer: PeerState, before: PeerState | None, *, known_for: float, since_handshake: float, silence: Silence
) -> bool:
    """Whether nothing is heard of a peer although it is spoken to.

    `before` is the peer as it was at the last look, `known_for` how long its present endpoint is known, in seconds;
    `since_handshake` is infinite for a peer without a handshake.
    """
    sent = before is not None and peer.transmit_bytes > before.transmit_bytes
    speaks = sent or peer.config.persistent_keepalive > 0
    hears = before is not None and peer.receive_bytes > before.receive_bytes
    if hears or not speaks or known_for < silence.first:
        return False
    return since_handshake > silence.after


def next_endpoint(sent: str, seen: str, found: Sequence[str]) -> str:
    """The endpoint to set for a silent peer, among the addresses that its name has now.

    `sent` is what was set before, `seen` where its last packet came from. As long as `sent` is among the addresses, a
    peer that moved stays where it is, and one that did not is tried at the next address.
    """
    if sent not in found:
        return found[0]
    if seen not in ("", sent):
        return sent
    return found[(found.index(sent) + 1) % len(found)]


@attrs.define
class _Name:
    endpoint: str
    address: str = ""
    problem: str = ""
    # When the address was last found or taken for another one.
    known_at: float = 0.0
    look_at: float = 0.0
    backoff: Backoff = attrs.field(factory=lambda: Backoff(exponential=_DELAYS))
    is_looking: bool = False
    # Where the device hears the peer, if that was asked for because of a silence.
    seen: str = ""


class EndpointNames:
    """The names that are desired, by keys of the caller, which is notified of each key that changed."""

    def __init__(self, changed: Callable[[str], None], *, lookup: Lookup | None = None, pause: float = _PAUSE) -> None:
        self._changed = changed
        self._threads = trio.CapacityLimiter(_THREADS)
        self._lookup: Lookup = self._ask_system if lookup is None else lookup
        self._pause = pause
        self._names: dict[str, _Name] = {}
        self._news = trio.Event()

    def __contains__(self, key: str) -> bool:
        return key in self._names

    def want(self, key: str, endpoint: str) -> None:
        """The endpoint of this key is looked up, and kept up to date, from now on. Raises ValueError for none."""
        parse_endpoint(endpoint)
        known = self._names.get(key)
        if known is None or known.endpoint != endpoint:
            self._names[key] = _Name(endpoint)
            self._news.set()

    def forget(self, key: str) -> None:
        """This key has no name any more."""
        self._names.pop(key, None)

    def address(self, key: str) -> str:
        """The endpoint with a numeric address, "" while there is none."""
        return self._names[key].address

    def problem(self, key: str) -> str:
        """Why there is no address; "" if there is one or nothing is known yet."""
        return self._names[key].problem

    def known_for(self, key: str, now: float) -> float:
        """For how many seconds the address is known."""
        return now - self._names[key].known_at

    def heard_nothing(self, key: str, seen: str) -> None:
        """Nothing is heard of the peer, whose endpoint the device takes for `seen`: look the name up again."""
        name = self._names[key]
        if name.address and trio.current_time() >= name.known_at + self._pause and name.look_at == float("inf"):
            name.seen = seen
            name.look_at = trio.current_time()
            self._news.set()

    async def run(self) -> None:
        """Look names up as long as it is not cancelled."""
        for name in self._names.values():
            # An earlier run may have been cut off.
            name.is_looking = False
        async with trio.open_nursery() as nursery:
            while True:
                now = trio.current_time()
                for key, name in self._names.items():
                    if now >= name.look_at and not name.is_looking:
                        name.is_looking = True
                        nursery.start_soon(self._look_up, key, name)
                due = min((name.look_at for name in self._names.values() if not name.is_looking), default=float("inf"))
                with trio.move_on_at(due):
                    await self._news.wait()
                self._news = trio.Event()

    async def _look_up(self, key: str, name: _Name) -> None:
        host, port = parse_endpoint(name.endpoint)
        problem = ""
        found: tuple[str, ...] = ()
        try:
            with trio.fail_after(_PATIENCE):
                found = tuple(dict.fromkeys(format_endpoint(address, port) for address in await self._lookup(host)))
        except trio.TooSlowError:
            problem = "looking up its name takes too long"
        except OSError as error:
            problem = f"its name cannot be looked up: {error.strerror or error}"
        except ValueError as error:
            problem = f"its name means {error}"
        now = trio.current_time()
        name.is_looking = False
        if found:
            name.address = next_endpoint(name.address, name.seen, found) if name.address else found[0]
            name.seen = ""
            name.known_at, name.look_at = now, float("inf")
            name.backoff.reset()
        else:
            name.look_at = now + name.backoff.next()
        # A name that meant something once is taken to mean that still.
        name.problem = "" if name.address else f"endpoint {name.endpoint}: {problem or 'its name means nothing'}"
        if self._names.get(key) is name:
            self._changed(key)
        self._news.set()

    async def _ask_system(self, host: str) -> Sequence[str]:
        def ask() -> list[str]:
            return [str(each[4][0]) for each in socket.getaddrinfo(for_lookup(host), None, type=socket.SOCK_DGRAM)]

        return await trio.to_thread.run_sync(ask, abandon_on_cancel=True, limiter=self._threads)
