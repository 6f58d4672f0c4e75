"""What the verbs `init`, `join` and `token` have in common: options, files, the start of the agent. All calls block."""

import argparse
import os
import re
import socket
import sys
import time
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Final

import attrs

from nodespan.controllers.membership import arrival, service
from nodespan.controllers.membership.invitations import InvitationError
from nodespan.controllers.membership.machine_config import MachineConfigError, Mesh, read_mesh, read_text
from nodespan.runtime.cli.errors import CommandError
from nodespan.runtime.paths import agent_socket, default_state_dir

CONFIG: Final = "/etc/nodespan/config.yaml"
API_PORT: Final = 50000
KUBESPAN_PORT: Final = 51820
# Hosts of a listener at all addresses.
_EVERYWHERE = ("", "::", "0.0.0.0")  # noqa: S104
_DURATION = re.compile(r"(\d{1,6})([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@attrs.frozen(kw_only=True)
class Place:
    """Where a node keeps its files, and where its agent listens."""

    config: Path
    state_dir: Path
    socket: str

    @classmethod
    def of(cls, options: argparse.Namespace) -> "Place":
        """As the options say."""
        return cls(
            config=Path(options.config), state_dir=Path(options.state_dir), socket=options.socket or agent_socket()
        )

    @property
    def directories(self) -> tuple[Path, Path]:
        """Of the configuration and of the state."""
        return self.config.parent, self.state_dir

    @property
    def is_usual(self) -> bool:
        """Whether the packaged unit runs an agent with these."""
        return (str(self.config), str(self.state_dir)) == (CONFIG, "/var/lib/nodespan")


def add_place(parser: argparse.ArgumentParser) -> None:
    """`--config`, `--state-dir`, `--socket`."""
    parser.add_argument("--config", metavar="FILE", default=CONFIG, help="the machine configuration (%(default)s)")
    parser.add_argument("--state-dir", metavar="DIR", default=default_state_dir(), help="of the agent (%(default)s)")
    parser.add_argument("--socket", metavar="PATH", help=f"where the agent listens ({agent_socket()})")


def add_start(parser: argparse.ArgumentParser) -> None:
    """`--no-start`, `--timeout`."""
    parser.add_argument("--no-start", action="store_true", help="write the files only")
    parser.add_argument(
        "--timeout", metavar="SECONDS", type=float, default=60.0, help="how long to wait for the mesh (%(default)s)"
    )


def add_limits(parser: argparse.ArgumentParser) -> None:
    """`--ttl`, `--uses`, `--address`: of a token."""
    parser.add_argument(
        "--ttl", metavar="TIME", default="24h", help="30m, 24h, 7d, never: how long it is valid (%(default)s)"
    )
    parser.add_argument(
        "--uses", metavar="N", type=int, default=0, help="how many machines may use it; default: any number"
    )
    parser.add_argument(
        "--address",
        dest="addresses",
        metavar="ADDRESS",
        action="append",
        default=[],
        help="at which others reach this node: an address or a name; may be repeated; default: those of its routes",
    )


def seconds(text: str) -> float | None:
    """The duration in a text, None for `never`. Raises CommandError."""
    if text == "never":
        return None
    found = _DURATION.fullmatch(text)
    if found is None or not int(found[1]):
        raise CommandError(f"--ttl {text!r}: write it like 30m, 24h, 7d or never")
    return float(int(found[1]) * _SECONDS[found[2]])


def membership(config: Path) -> Mesh | None:
    """The mesh that this machine is a member of by its configuration. Raises CommandError for one that is no mesh's."""
    if not config.exists():
        return None
    try:
        return read_mesh(config)[0]
    except MachineConfigError as error:
        raise CommandError(f"{config} exists, and is not that of a mesh: move it away first; {error}") from error


def own_addresses() -> list[str]:
    """The addresses of this machine by which its routes lead outside. Nothing is sent."""
    found = []
    for family, far in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((far, 9))
                address = probe.getsockname()[0]
        except OSError:
            continue  # there is no route of this family
        if not (ip_address(address).is_loopback or ip_address(address).is_link_local):
            found.append(address)
    return found


def reached_at(listen: str, given: list[str]) -> list[str]:
    """The addresses at which others reach an API that listens there (ADDRESS:PORT). Raises CommandError for none."""
    host = listen.rpartition(":")[0].strip("[]")
    found = given or (own_addresses() if host in _EVERYWHERE else [host])
    if not found:
        raise CommandError("no route leads out of this machine: give the --address at which others reach it")
    return found


def port_of(listen: str) -> int:
    """The port of the API that listens there; that of the trust service is the next one."""
    return int(listen.rpartition(":")[2])


def host_port(host: str, port: int) -> str:
    """`192.0.2.1:3000`, `[2001:db8::1]:3000`."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def start(place: Place, goal: arrival.Goal, *, timeout: float, units: tuple[str, ...] = ()) -> bool:
    """Start the agent, and further units, and wait until the node has arrived; False if nothing here starts it.

    Raises CommandError with what is missing when the time is over.
    """
    begin = time.monotonic()
    if not arrival.answers(place.socket) or units:
        if not (place.is_usual and service.has_unit(service.AGENT_UNIT)):
            if not arrival.answers(place.socket):
                return False
        else:
            try:
                service.enable_and_start(*units, service.AGENT_UNIT)
            except service.ServiceError as error:
                raise CommandError(str(error)) from error
    left = arrival.wait(place.socket, goal, timeout=timeout, begin=begin)
    if left:
        blocks = "".join(f"\n  {line}" for line in left)
        raise CommandError(f"the node is set up, but has not arrived in its mesh after {timeout:g} s:{blocks}")
    return True


def agent_command(place: Place) -> str:
    """What starts the agent by hand."""
    options = "" if place.is_usual else f" --state-dir {place.state_dir}"
    listens = "" if place.socket == agent_socket() else f" --socket {place.socket}"
    return f"nodespan agent --config {place.config}{options}{listens}"


def refuse(obstacles: list[str]) -> None:
    """Raises CommandError if there is any."""
    if obstacles:
        raise CommandError(
            "this machine is not ready, and nothing was changed:" + "".join(f"\n  {each}" for each in obstacles)
        )


def patched_text(text: str, patches: list[tuple[str, bytes]], file: Path) -> str:
    """A configuration after patches. Raises CommandError, MachineConfigError if the result is not valid."""
    if not patches:
        return text
    from nodespan.controllers.config.patched import patched
    from nodespan.controllers.config.sources import SourceText

    result = patched([SourceText(name=str(file), text=text)], patches)
    read_text(result, str(file))
    return result


def add_patches(parser: argparse.ArgumentParser) -> None:
    """`--config-patch`."""
    parser.add_argument(
        "-p",
        "--config-patch",
        dest="patches",
        metavar="PATCH",
        action="append",
        default=[],
        help="change the configuration by this patch: its text, or @FILE; repeatable, applied in order",
    )


def print_line(text: str = "") -> None:
    """A line for the user, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def explained(work: Callable[[argparse.Namespace], int], options: argparse.Namespace) -> int:
    """Run a verb; what is wrong with a file, or what the disk refuses, is a CommandError that names the file."""
    try:
        return work(options)
    except (MachineConfigError, InvitationError) as error:
        raise CommandError(str(error)) from error
    except OSError as error:
        if error.filename is None:
            raise
        raise CommandError(f"{os.fsdecode(error.filename)}: {error.strerror}") from error
