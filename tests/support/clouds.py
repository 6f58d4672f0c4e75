"""The APIs of two clouds on a port of this machine, as far as virtual IPs need them, over TLS.

They follow `newer.md`, 14: paths, headers, pages, answers. What was asked is noted, in the order in which it came.
"""

import contextlib
import ipaddress
import json
import ssl
import urllib.parse
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import attrs
import h11
import trio

from nodespan.controllers.network.vip.clouds.endpoints import Endpoints
from tests.support.certificates import Authority

TOKEN = "t" * 64
# The file of the authority that their certificate is of, in the directory given.
AUTHORITY = "clouds.crt"
_PAGE = 2
# An answer: its status and its content.
Answer = tuple[int, Any]


@attrs.define
class Network:
    """A private network."""

    ip_range: str


@attrs.define
class Server:
    """A server, and its alias IPs by the number of the network."""

    aliases: dict[int, list[str]] = attrs.field(factory=dict)


@attrs.define
class FloatingIP:
    """A public address, and the server that has it."""

    ip: str
    server: int | None = None


@attrs.define
class Clouds:
    """What the clouds know, and what they were asked. `failures` are answers to be given first, one by one."""

    device: str = "4711"
    servers: dict[int, Server] = attrs.field(factory=dict)
    networks: dict[int, Network] = attrs.field(factory=dict)
    floating: dict[int, FloatingIP] = attrs.field(factory=dict)
    # The assignments of elastic IPs: the address and the device by id.
    assignments: dict[str, tuple[str, str]] = attrs.field(factory=dict)
    asked: list[str] = attrs.field(factory=list)
    failures: list[Answer | bytes | None] = attrs.field(factory=list)
    on_change: Callable[[], None] = attrs.field(default=lambda: None)
    port: int = 0
    made: int = 0

    def changes(self) -> list[str]:
        """What was changed, and forget it."""
        found = [line for line in self.asked if not line.startswith("GET")]
        self.asked.clear()
        return found

    def endpoints(self) -> Endpoints:
        """Where they are."""
        base = f"https://127.0.0.1:{self.port}"
        return Endpoints(
            hcloud=f"{base}/v1",
            hcloud_metadata=f"{base}/hetzner/v1/metadata",
            equinix_metal=f"{base}/metal/v1",
            equinix_metal_metadata=f"{base}/metadata",
        )

    def answer(self, method: str, target: str, headers: dict[str, str], body: Any) -> Answer:
        """To one request."""
        url = urllib.parse.urlsplit(target)
        query = dict(urllib.parse.parse_qsl(url.query))
        path = url.path.strip("/").split("/")
        if path[:2] == ["hetzner", "v1"] or path == ["metadata"]:
            return 200, int(self.device) if path[0] == "hetzner" else {"id": self.device}
        if path[0] == "v1":
            if headers.get("authorization") != f"Bearer {TOKEN}":
                return 401, {"error": {"code": "unauthorized", "message": "unable to authenticate"}}
            return self._hcloud(method, path[1:], query, body)
        if headers.get("x-auth-token") != TOKEN or headers.get("x-consumer-token") != "talos":
            return 401, {"errors": ["Invalid authentication token"]}
        return self._equinix_metal(method, path[2:], body)

    def _hcloud(self, method: str, path: list[str], query: dict[str, str], body: Any) -> Answer:
        missing = 404, {"error": {"code": "not_found", "message": "it is not there"}}
        match method, path:
            case "GET", ["servers"]:
                return self._page("servers", [self._server(id) for id in self.servers], query)
            case "GET", ["servers", id] if int(id) in self.servers:
                return 200, {"server": self._server(int(id))}
            case "GET", ["networks", id] if int(id) in self.networks:
                return 200, {"network": {"id": int(id), "ip_range": self.networks[int(id)].ip_range}}
            case "GET", ["floating_ips"]:
                return self._page("floating_ips", [self._floating(id) for id in self.floating], query)
            case "POST", ["servers", id, "actions", "change_alias_ips"] if int(id) in self.servers:
                taken = {ip for server in self.servers.values() for ip in server.aliases.get(body["network"], ())}
                own = set(self.servers[int(id)].aliases.get(body["network"], ()))
                if (taken - own) & set(body["alias_ips"]):
                    return 409, {"error": {"code": "ip_not_available", "message": "another server has it"}}
                self.servers[int(id)].aliases[body["network"]] = list(body["alias_ips"])
                return 201, {"action": {"id": 1, "status": "running"}}
            case "POST", ["floating_ips", id, "actions", "assign"] if int(id) in self.floating:
                self.floating[int(id)].server = body["server"]
                return 201, {"action": {"id": 2, "status": "running"}}
        return missing

    def _page(self, key: str, items: list[Any], query: dict[str, str]) -> Answer:
        assert query["per_page"] == "50"
        page = int(query["page"])
        begin = (page - 1) * _PAGE
        following = page + 1 if begin + _PAGE < len(items) else None
        return 200, {key: items[begin : begin + _PAGE], "meta": {"pagination": {"page": page, "next_page": following}}}

    def _server(self, id: int) -> dict[str, Any]:
        private = [{"network": number, "alias_ips": ips} for number, ips in self.servers[id].aliases.items()]
        return {"id": id, "name": f"server-{id}", "private_net": private}

    def _floating(self, id: int) -> dict[str, Any]:
        found = self.floating[id]
        return {"id": id, "ip": found.ip, "server": found.server}

    def _equinix_metal(self, method: str, path: list[str], body: Any) -> Answer:
        match method, path:
            case "GET", ["devices", id] if id == self.device:
                return 200, {"id": id, "project": {"id": "project-1"}}
            case "GET", ["projects", "project-1", "ips"]:
                addresses = sorted({address for address, _ in self.assignments.values()} | {"198.51.100.1"})
                return 200, {"ip_addresses": [self._elastic(address) for address in addresses]}
            case "DELETE", ["ips", id]:
                if self.assignments.pop(id, None) is None:
                    return 404, {"errors": ["Not found"]}
                return 204, None
            case "POST", ["devices", device, "ips"]:
                if any(address == body["address"] for address, _ in self.assignments.values()):
                    return 422, {"errors": ["Address is already assigned"]}
                self.made += 1
                self.assignments[f"assignment-{self.made}"] = (body["address"], device)
                return 201, {"id": f"assignment-{self.made}"}
        return 404, {"errors": ["Not found"]}

    def _elastic(self, address: str) -> dict[str, Any]:
        hrefs = [{"href": f"/metal/v1/ips/{id}"} for id, (other, _) in self.assignments.items() if other == address]
        return {"address": str(ipaddress.ip_address(address)), "assignments": hrefs}

    async def serve(self, stream: trio.abc.Stream) -> None:
        """One connection with one request."""
        machine = h11.Connection(h11.SERVER)
        request, content = None, b""
        while not isinstance(event := machine.next_event(), h11.EndOfMessage):
            if event is h11.NEED_DATA:
                machine.receive_data(bytes(await stream.receive_some()))
            elif isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.Data):
                content += event.data
            else:
                return
        assert request is not None
        headers = {name.decode(): value.decode() for name, value in request.headers}
        method, target = request.method.decode(), request.target.decode()
        shown = f" {content.decode()}" if content else ""
        self.asked.append(f"{method} {target.partition('?')[0]}{shown}")
        if method != "GET":
            self.on_change()
        failure = self.failures.pop(0) if self.failures else None
        if isinstance(failure, bytes):
            await stream.send_all(failure)
            return
        status, answer = failure or self.answer(method, target, headers, json.loads(content) if content else None)
        data = b"" if answer is None else json.dumps(answer).encode()
        head = h11.Response(status_code=status, headers=[("Content-Length", str(len(data)))])
        await stream.send_all((machine.send(head) or b"") + (machine.send(h11.Data(data=data)) or b""))


@contextlib.asynccontextmanager
async def serving(clouds: Clouds, directory: Path) -> AsyncIterator[Endpoints]:
    """The APIs on a port of this machine."""
    authority = Authority("clouds")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue(directory, "127.0.0.1"))
    file = directory / AUTHORITY
    file.write_bytes(authority.pem)

    async def serve(plain: trio.SocketStream) -> None:
        stream = trio.SSLStream(plain, context, server_side=True, https_compatible=True)
        with contextlib.suppress(trio.BrokenResourceError):
            await clouds.serve(stream)
        await trio.aclose_forcefully(stream)

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        clouds.port = listener.socket.getsockname()[1]
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        yield clouds.endpoints()
        nursery.cancel_scope.cancel()
