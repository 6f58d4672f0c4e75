"""Real etcd clusters for tests: members that can be killed, stopped, cut off, restarted and restored.

A member is a process with a directory of its own, on this machine's loopback with ports that were free, or in a network
namespace with etcd's usual ports. Only what runs in the same namespace reaches the latter.
"""

import contextlib
import http.client
import json
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import attrs
import trio

from nodespan.etcd import TLSFiles
from tests.support.certificates import Authority
from tests.support.deadlines import PATIENCE
from tests.support.netns import Namespace, entered
from tests.support.ports import free_ports
from tests.support.process import end, stop

CLIENT_PORT = 2379
PEER_PORT = 2380
# Milliseconds. With the fast ones a leader is replaced in about 0.3 s, and leases of one second are granted.
FAST_TIMERS = ("--heartbeat-interval", "20", "--election-timeout", "200")


@attrs.frozen(kw_only=True)
class Place:
    """Where a member lives."""

    address: str = "127.0.0.1"
    namespace: Namespace | None = None
    client_port: int = CLIENT_PORT
    peer_port: int = PEER_PORT

    def url(self, port: int, scheme: str = "http") -> str:
        """One of the member's two addresses."""
        return f"{scheme}://[{self.address}]:{port}" if ":" in self.address else f"{scheme}://{self.address}:{port}"


class Member:
    """One member. Methods that change the process wait until that has happened, not until etcd is well again."""

    def __init__(self, name: str, place: Place, data: Path, files: TLSFiles | None, arguments: Sequence[str]) -> None:
        self.name = name
        self.place = place
        # Where it keeps what it knows.
        self.data = data
        # What a client is given.
        self.endpoint = place.url(place.client_port, "https" if files else "http")
        self._files = files
        peer = place.url(place.peer_port)
        self._command = (
            *("etcd", "--name", name, "--data-dir", str(data), "--logger", "zap", "--log-level", "error"),
            *("--listen-client-urls", self.endpoint, "--advertise-client-urls", self.endpoint),
            *("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer),
            *arguments,
        )
        self._process: trio.Process | None = None

    async def start(self) -> None:
        """Start it, with what is in its data directory."""
        assert self._process is None, f"{self.name} runs already"
        namespace = self.place.namespace
        self._process = await trio.lowlevel.open_process(
            namespace.inside(*self._command) if namespace else self._command, stdin=subprocess.DEVNULL
        )

    async def kill(self) -> None:
        """End it with SIGKILL. No error if it is not running."""
        await self._end(signal.SIGKILL)

    async def terminate(self) -> None:
        """End it with SIGTERM, as a service manager does. No error if it is not running."""
        await self._end(signal.SIGTERM)

    async def restart(self) -> None:
        """Kill it and start it again."""
        await self.kill()
        await self.start()

    def stop(self) -> None:
        """Stop it with SIGSTOP: it keeps its connections, and says nothing on them."""
        stop(self._running.pid)

    def cont(self) -> None:
        """Let it go on after `stop`."""
        self._running.send_signal(signal.SIGCONT)

    def cut(self) -> None:
        """Cut it off from the other members, not from its clients. For members in namespaces only."""
        port = self.place.peer_port
        rules = "\n".join(
            f"add rule inet etcd_{self.name} {chain} tcp {side} {port} drop"
            for chain in ("input", "output")
            for side in ("sport", "dport")
        )
        chains = "\n".join(
            f"add chain inet etcd_{self.name} {chain} {{ type filter hook {chain} priority 0; }}"
            for chain in ("input", "output")
        )
        self._namespace.run("nft", "-f", "-", stdin=f"add table inet etcd_{self.name}\n{chains}\n{rules}\n")

    def heal(self) -> None:
        """Take `cut` back."""
        self._namespace.run("nft", "delete", "table", "inet", f"etcd_{self.name}")

    async def ask(self, path: str, request: Any, *, within: float = 1.0, token: str = "") -> Any:
        """Post to this member, from its namespace, and return the answer; None if there is none in time."""
        return await trio.to_thread.run_sync(self._ask, path, request, within, token)

    async def healthy(self) -> None:
        """Wait until it answers a linearizable read, which takes a majority."""
        question = {"key": "AA==", "limit": "1"}
        while "header" not in (await self.ask("kv/range", question, within=2.0) or {}):  # noqa: ASYNC110 (polled)
            await trio.sleep(0.02)

    async def is_leader(self) -> bool:
        """Whether it believes to lead the cluster."""
        answer = await self.ask("maintenance/status", {})
        return bool(answer) and answer.get("leader") == answer["header"]["member_id"]

    @property
    def _running(self) -> trio.Process:
        assert self._process is not None, f"{self.name} does not run"
        return self._process

    @property
    def _namespace(self) -> Namespace:
        assert self.place.namespace is not None, f"{self.name} has no namespace of its own"
        return self.place.namespace

    async def _end(self, kind: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if kind == signal.SIGTERM:
            complaint = await end(process)
            assert not complaint, f"{self.name}: {complaint}"
            return
        with trio.CancelScope(shield=True):
            process.kill()
            await process.wait()

    def _ask(self, path: str, request: Any, within: float, token: str) -> Any:
        where = (self.place.address, self.place.client_port)
        namespace = self.place.namespace
        with entered(namespace) if namespace else contextlib.nullcontext():
            connection = (
                http.client.HTTPSConnection(*where, timeout=within, context=self._files.context())
                if self._files
                else http.client.HTTPConnection(*where, timeout=within)
            )
            with contextlib.closing(connection):
                try:
                    connection.request(
                        "POST", f"/v3/{path}", json.dumps(request), {"Authorization": token} if token else {}
                    )
                    return json.loads(connection.getresponse().read())
                except (OSError, http.client.HTTPException, ValueError):
                    return None


@attrs.frozen
class Cluster:
    """The members, and what is done to all of them."""

    members: tuple[Member, ...]
    # What a client needs, None without TLS.
    tls: TLSFiles | None
    authority: Authority | None
    _directory: Path

    @property
    def endpoints(self) -> tuple[str, ...]:
        """What a client is given."""
        return tuple(member.endpoint for member in self.members)

    async def healthy(self, *members: Member, within: float = PATIENCE) -> None:
        """Wait until these members, or all, answer linearizable reads. Raises trio.TooSlowError."""
        with trio.fail_after(within):
            for member in members or self.members:
                await member.healthy()

    async def leader(self) -> Member:
        """Wait until a member leads, and return it. Not for clusters that were cut in two: there may be two."""
        while True:
            for member in self.members:
                if await member.is_leader():
                    return member
            await trio.sleep(0.02)

    async def led_by(self, member: Member) -> None:
        """Have this member lead the cluster, and wait until it does."""
        while (leader := await self.leader()) is not member:
            answer = await member.ask("maintenance/status", {})
            if answer is not None:
                request = {"targetID": answer["header"]["member_id"]}
                await leader.ask("maintenance/transfer-leadership", request, within=5.0)

    async def save(self, name: str = "snapshot") -> Path:
        """Keep what all members know at one moment, for `restore`; takes some tenths of a second.

        The members are stopped meanwhile, so the copies are what a power cut would leave: etcd starts from them.
        """
        saved = self._directory / name
        for member in self.members:
            member.stop()
        try:
            for member in self.members:
                await _copy(member.data, saved / member.name)
        finally:
            for member in self.members:
                member.cont()
        return saved

    async def restore(self, saved: Path) -> None:
        """Kill all members, and start them with what was saved. The clients see a history that went back."""
        for member in self.members:
            await member.kill()
        for member in self.members:
            shutil.rmtree(member.data)
            await _copy(saved / member.name, member.data)
        for member in self.members:
            await member.start()


@contextlib.asynccontextmanager
async def etcd_cluster(
    places: int | Sequence[Place] = 3, *, fast: bool = True, tls: bool = False, arguments: Sequence[str] = ()
) -> AsyncIterator[Cluster]:
    """A cluster that is healthy when the block begins: so many members on loopback, or one in each place.

    Without `fast` etcd has the timers that it has by default (100 ms heartbeat, 1 s election). With `tls` the clients
    must show a certificate of the cluster's authority.
    """
    sites = loopback(places) if isinstance(places, int) else tuple(places)
    names = tuple(f"m{number}" for number in range(len(sites)))
    peers = ",".join(f"{name}={site.url(site.peer_port)}" for name, site in zip(names, sites, strict=True))
    with tempfile.TemporaryDirectory(prefix="etcd-") as temporary:
        directory = Path(temporary)
        authority = Authority("etcd's clients") if tls else None
        given = ["--initial-cluster", peers, *(FAST_TIMERS if fast else ()), *arguments]
        files = None
        if authority:
            files = _certificates(authority, directory, sites)
            given += ["--client-cert-auth", "--trusted-ca-file", str(files.ca)]
            given += ["--cert-file", str(files.certificate), "--key-file", str(files.key)]
        members = tuple(
            Member(name, site, directory / name, files, given) for name, site in zip(names, sites, strict=True)
        )
        cluster = Cluster(members, files, authority, directory)
        try:
            for member in members:
                await member.start()
            await cluster.healthy()
            yield cluster
        finally:
            for member in members:
                await member.kill()


def loopback(count: int, address: str = "127.0.0.1") -> tuple[Place, ...]:
    """Places with ports that nobody else has."""
    ports = free_ports(2 * count, address)
    return tuple(
        Place(address=address, client_port=client, peer_port=peer)
        for client, peer in zip(ports[::2], ports[1::2], strict=True)
    )


def _certificates(authority: Authority, directory: Path, sites: Sequence[Place]) -> TLSFiles:
    """One certificate for all: etcd's gateway is a client of its own member, with the member's certificate."""
    ca = directory / "ca.crt"
    ca.write_bytes(authority.pem)
    certificate, key = authority.issue(directory, *dict.fromkeys((*(site.address for site in sites), "localhost")))
    return TLSFiles(ca=ca, certificate=certificate, key=key)


async def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    # The log files are allocated in advance and mostly empty.
    await trio.run_process(["cp", "--archive", "--sparse=always", str(source), str(target)])
