"""`nodespan ping` and `nodespan path`: the way to a node of the mesh, and how it was found.

The command line finds them by the entry-point group `nodespan.commands`; imports are deferred until they are used.
"""

import argparse
import sys
import time
from typing import TYPE_CHECKING, Any

from nodespan.runtime.cli.errors import CommandError
from nodespan.runtime.cli.options import add_client_options, socket_of
from nodespan.runtime.text.escaping import escaped

if TYPE_CHECKING:
    from nodespan.kernel.packets.echo import Echo

_COUNT = 10
_INTERVAL = 1.0
_TIMEOUT = 2.0
_SMALL = 64


class PingCommand:
    """The verb `ping`."""

    description = "ping a node of the mesh, and show which path the answers take, until it is a direct one"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the verb's options."""
        parser.add_argument("peer", metavar="NODE", help="its name, its address in the mesh, or its public key")
        parser.add_argument("-c", "--count", type=int, metavar="N", help=f"so often (until direct, at most {_COUNT})")
        add_client_options(parser)

    def run(self, options: argparse.Namespace) -> int:
        """Ping; returns 0 if any answer came, else 1. Raises CommandError."""
        from nodespan.kernel.packets.echo import Echo

        if options.count is not None and options.count < 1:
            raise CommandError("--count is at least 1")
        socket = socket_of(options)
        path = find(socket, options.peer)
        try:
            echo = Echo()
        except PermissionError:
            raise CommandError("to send echo requests takes CAP_NET_RAW: run it as root") from None
        try:
            return _ping(echo, socket, path, options.count)
        finally:
            echo.close()


def _ping(echo: "Echo", socket: str, path: dict[str, Any], count: int | None) -> int:
    answered = 0
    for number in range(1, (count or _COUNT) + 1):
        if number > 1:
            time.sleep(_INTERVAL)
            path = find(socket, path["publicKey"])
        took = _round_trip(echo, path["address"], number)
        name = path["label"] or path["address"]
        if took is None:
            _say(f"{name} ({path['address']}): no answer within {_TIMEOUT:g} s, {way_of(path)}")
            continue
        answered += 1
        _say(f"{name} ({path['address']}): {took * 1000:.1f} ms, {way_of(path)}")
        if count is None and path["path"] == "direct":
            break
    return 0 if answered else 1


def _round_trip(echo: "Echo", address: str, number: int) -> float | None:
    began = time.monotonic()
    try:
        echo.send(address, number, _SMALL)
    except OSError:
        return None
    while (left := began + _TIMEOUT - time.monotonic()) > 0:
        if any(sequence == number for sequence in echo.answered_within(left, address)):
            return time.monotonic() - began
    return None


class PathCommand:
    """The verb `path`."""

    description = "show the path to a node of the mesh: what it is like, and which endpoints were tried before it"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the verb's options."""
        parser.add_argument("peer", metavar="NODE", help="its name, its address in the mesh, or its public key")
        add_client_options(parser)

    def run(self, options: argparse.Namespace) -> int:
        """Show it; returns 0 if there is a path, else 1. Raises CommandError."""
        socket = socket_of(options)
        path = find(socket, options.peer)
        _say(f"{path['label'] or path['publicKey']} ({path['address']}) is reached {way_of(path)}")
        for text in _measured(path):
            _say(f"  {text}")
        known = _endpoints(socket, path["publicKey"])
        _say(f"it announces {', '.join(known) or 'no endpoint, so it has to begin'}")
        for trial in path.get("trials") or ():
            _say(f"  {_clock(trial['since'])}  {trial['endpoint']:<24}  {trial['result']}")
        return 0 if path["path"] != "none" else 1


def _say(line: str) -> None:
    sys.stdout.write(f"{escaped(line)}\n")
    sys.stdout.flush()


def _measured(path: dict[str, Any]) -> list[str]:
    texts = []
    if path.get("roundTrip") not in (None, "0s"):
        lost = f"{100 * path['loss']:.0f} % lost" if path["loss"] else "none lost"
        texts.append(f"round trip {path['roundTrip']}, at worst {path['worstRoundTrip']}, {lost}")
    if path.get("pathMTU"):
        assumed = "" if path["pathMTU"] == path["tunnelMTU"] else f", where the tunnel assumes {path['tunnelMTU']}"
        texts.append(f"it carries packets of {path['pathMTU']} bytes{assumed}")
    return texts


def way_of(path: dict[str, Any]) -> str:
    """The path in words."""
    since = f" since {_clock(path['since'])}"
    match path["path"]:
        case "direct":
            return f"directly at {path['endpoint']}{since}"
        case "relayed":
            return f"over the relay {path['relay']}, at {path['endpoint']}{since}"
        case _:
            return "by no path now"


def _clock(moment: str) -> str:
    return str(moment).replace("T", " ").partition(".")[0].rstrip("Z")


def find(socket: str, node: str) -> dict[str, Any]:
    """The path to a node by its name, address or public key. Raises CommandError for one that is unknown."""
    from nodespan.runtime.cli.client import ask

    request: dict[str, Any] = {"call": "get", "type": "kubespanpathstatuses", "namespace": "", "id": None}
    replies = ask(socket, {**request, "selectors": [], "watch": False, "form": "data"})
    paths = [
        {**reply["resource"]["spec"], "publicKey": reply["resource"]["metadata"]["id"]}
        for reply in replies
        if "resource" in reply
    ]
    found = [path for path in paths if node in (path["publicKey"], path["address"], path["label"])]
    if not found:
        names = sorted(path["label"] or path["address"] for path in paths)
        known = f"this node knows {', '.join(names[:20])}" if names else "this node knows none: see nodespan status"
        raise CommandError(f"there is no peer {node!r}; {known}")
    if len(found) > 1:
        raise CommandError(f"there are {len(found)} peers {node!r}; give the address of one")
    return found[0]


def _endpoints(socket: str, key: str) -> list[str]:
    from nodespan.runtime.cli.client import ask

    request: dict[str, Any] = {"call": "get", "type": "kubespanpeerspecs", "namespace": "", "id": key}
    replies = ask(socket, {**request, "selectors": [], "watch": False, "form": "data"})
    return [endpoint for reply in replies if "resource" in reply for endpoint in reply["resource"]["spec"]["endpoints"]]


ping = PingCommand()
path = PathCommand()
