"""What listens: the API with mutual TLS, and the trust service, by the certificate as it is at each connection."""

import datetime
import ssl
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import trio

from nodespan.controllers.api.forwarding import is_local, routed
from nodespan.controllers.api.inspection import DEPENDENCIES, inspection_methods
from nodespan.controllers.api.logs import LOGS
from nodespan.controllers.api.machine import APPLY_CONFIGURATION, READ, VERSION, MachineService
from nodespan.controllers.api.overview import NodeService
from nodespan.controllers.api.roles import client_roles
from nodespan.controllers.api.security import security_methods
from nodespan.controllers.membership.machine_config import MachineConfigError, mesh_of
from nodespan.controllers.membership.redeeming import join_methods
from nodespan.controllers.membership.token import Description, listening_everywhere
from nodespan.resources.cluster import Member
from nodespan.resources.config import MACHINE_CONFIG_ID, MachineConfig
from nodespan.resources.secrets import APICertificateSpec, OSRootSpec
from nodespan.resources.wire import machine_pb2 as wire
from nodespan.runtime.api.cosi.service import LIMITS
from nodespan.runtime.api.grpc import Method, Server, Service, methods
from nodespan.runtime.api.grpc.client import client_context
from nodespan.runtime.api.grpc.limits import Bounds, Limits
from nodespan.runtime.api.listeners import open_at
from nodespan.runtime.api.tls import check_handshake, server_context
from nodespan.runtime.controller import Logger
from nodespan.runtime.plugins import AgentAccess
from nodespan.runtime.system_roots import TrustError

Serve = Callable[..., Any]
# Whoever comes to the trust service is unknown until the token is read.
_TRUST_LIMITS = Limits(
    max_concurrent_streams=8,
    max_message=64 << 10,
    max_buffered=256 << 10,
    request_time=10.0,
    held=Bounds(1 << 20, 4 << 20, 16 << 20),
    connections=Bounds(source=64, total=128),
    idle_per_source=8,
    idle_timeout=30.0,
)
# The answers of what may be asked of several nodes at once.
_REPLIES = {
    VERSION: wire.VersionResponse,
    APPLY_CONFIGURATION: wire.ApplyConfigurationResponse,
    READ: wire.Data,
    LOGS: wire.Data,
    DEPENDENCIES: wire.ControllerRuntimeDependenciesResponse,
}


class Serving:
    """The services of one agent, and what they need to know of the node. `update` before the first `open_listeners`.

    `state_dir` is the agent's own: it has the invitations of those who may join, which there are none of without one.
    """

    def __init__(self, agent: AgentAccess, log: Logger, *, state_dir: Path | None = None) -> None:
        self._log = log
        self._state = agent.state
        self._root: OSRootSpec | None = None
        self._names: tuple[str, ...] = ()
        self._addresses: tuple[str, ...] = ()
        self._port = 0
        self._certificate: APICertificateSpec | None = None
        # Which one cannot be served with, and why.
        self._refused: tuple[APICertificateSpec, str] | None = None
        self._server: ssl.SSLContext | None = None
        self._trust: ssl.SSLContext | None = None
        self._client: ssl.SSLContext | None = None
        own: dict[str, Method] = {
            **agent.state_methods(client_roles),
            **methods(
                *MachineService(agent).methods(),
                *inspection_methods(agent),
                *NodeService(agent, state_dir=state_dir).methods(),
            ),
        }
        self._api = Service(methods=routed(self, own, _REPLIES), log=log, limits=LIMITS)
        self._security = Service(
            methods=methods(
                *security_methods(lambda: self._root, lambda: datetime.datetime.now(datetime.UTC), log),
                *(() if state_dir is None else join_methods(state_dir, self._description, log)),
            ),
            log=log,
            limits=_TRUST_LIMITS,
        )

    def update(
        self,
        *,
        certificate: APICertificateSpec,
        root: OSRootSpec | None,
        names: tuple[str, ...],
        addresses: tuple[str, ...],
        port: int,
    ) -> None:
        """Take what is new; connections that are open stay as they are.

        Raises TrustError for a certificate that no handshake succeeds with: serve none then.
        """
        self._root, self._names, self._addresses, self._port = root, names, addresses, port
        if certificate == self._certificate:
            return
        if self._refused is not None and self._refused[0] == certificate:
            raise TrustError(self._refused[1])
        try:
            self._take(certificate)
        except TrustError as error:
            self._refused = (certificate, str(error))
            raise

    def _take(self, certificate: APICertificateSpec) -> None:
        roots = "\n".join(certificate.accepted_cas).encode()
        pair = (certificate.server.crt.encode(), certificate.server.key.encode())
        server, trust = server_context(*pair, client_roots=roots), server_context(*pair)
        check_handshake(server, roots)
        client: ssl.SSLContext | None = None
        if certificate.client.key:
            client = client_context(
                roots=roots, certificate=certificate.client.crt.encode(), key=certificate.client.key.encode()
            )
        self._server, self._trust, self._client = server, trust, client
        self._certificate, self._refused = certificate, None

    async def open_listeners(self, listen: str, *, issues: bool) -> list[Serve]:
        """Listen at ADDRESS:PORT, and at the next port for the trust service; returns what serves there.

        Raises OSError.
        """
        host, _, port = listen.rpartition(":")
        opened: list[Serve] = []
        wanted = [(int(port), self._api, lambda: _present(self._server))]
        if issues:
            wanted.append((int(port) + 1, self._security, lambda: _present(self._trust)))
        every: list[trio.SocketListener] = []
        try:
            for number, service, tls in wanted:
                listeners = await open_at(host.strip("[]"), number)
                every += listeners
                opened.append(partial(Server(service).serve, listeners, tls=tls))
        except BaseException:
            for listener in every:
                listener.socket.close()
            raise
        return opened

    def _description(self) -> Description | None:
        """The mesh, for machines that join."""
        config = self._state.find(MachineConfig, MACHINE_CONFIG_ID)
        if config is None:
            return None
        try:
            mesh, _ = mesh_of(config.spec, "the configuration")
        except MachineConfigError as error:
            self._log.warning("nobody can join", reason=str(error))
            return None
        return Description(mesh=mesh, api=listening_everywhere(config.spec.nodespan.api.listen))

    # What forwarding asks.

    def is_own(self, target: str) -> bool:
        """Whether a name or address is this node's."""
        return is_local(target, self._addresses, self._names)

    def locate(self, target: str) -> str:
        """The host to connect to for a target: that of the member of this name, else the target itself."""
        wanted = target.lower().rstrip(".")
        for member in self._state.list(Member):
            if wanted in (member.id.lower(), member.spec.hostname.lower()) and member.spec.addresses:
                return member.spec.addresses[0]
        return target

    def address(self) -> str:
        """How this node calls itself towards others."""
        return (*self._addresses, *self._names, "unknown")[0]

    def client(self) -> ssl.SSLContext | None:
        """The settings with which it asks other nodes; None if it cannot."""
        return self._client

    def port(self) -> int:
        """Where the API of other nodes listens: where this one's does."""
        return self._port


def _present(context: ssl.SSLContext | None) -> ssl.SSLContext:
    assert context is not None  # update comes before serving
    return context
