"""Serves the dashboard at one address: with a token on the loopback, or with mutual TLS anywhere."""

import hashlib
from functools import partial
from pathlib import Path

import attrs
import trio

from nodespan.controllers.dashboard.pages import HANDLERS, names_of, rights_of, static_files
from nodespan.runtime.api.browser.door import (
    LOOPBACK_NAMES,
    CertificateDoor,
    Door,
    Rights,
    TokenDoor,
    host_names,
)
from nodespan.runtime.api.browser.serving import ListenError, check_listen, serve_site
from nodespan.runtime.api.tls import ServerCertificate
from nodespan.runtime.named_file import LARGEST_PEM, read_named
from nodespan.runtime.process.logger import Logger


@attrs.frozen(kw_only=True)
class TlsPaths:
    """PEM files: the server's certificate and key, and the authority of the clients' certificates."""

    cert: Path
    key: Path
    ca: Path


@attrs.frozen(kw_only=True)
class Dashboard:
    """One dashboard about the agent at `socket`. Without `tls`, clients show `token` and get `rights`."""

    socket: Path
    host: str
    port: int
    hosts: tuple[str, ...] = ()
    token: str = attrs.field(default="", repr=False)
    rights: Rights = Rights.ALL
    tls: TlsPaths | None = None

    async def serve(self, log: Logger, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled. Reports its port once it listens. Raises ListenError and OSError."""
        check_listen(self.host, has_tls=self.tls is not None)
        certificate = None
        if self.tls is not None:
            certificate = await trio.to_thread.run_sync(self._load, self.tls, log)
        door = await trio.to_thread.run_sync(self._door)
        await serve_site(
            (self.host, self.port),
            socket=str(self.socket),
            door=door,
            files=static_files(),
            handlers=HANDLERS,
            log=log,
            tls=None if certificate is None else certificate.context,
            task_status=task_status,
        )

    def _load(self, tls: TlsPaths, log: Logger) -> ServerCertificate:
        make = partial(ServerCertificate, client_roots=tls.ca, protocols=("http/1.1",))
        try:
            return make(tls.cert, tls.key, log)
        except OSError as error:
            where = error.filename or f"{tls.cert}, {tls.key}, {tls.ca}"
            raise ListenError(f"{where}: {error.strerror or error}") from error

    def _door(self) -> Door:
        if self.tls is None:
            names = host_names((*LOOPBACK_NAMES, self.host, *self.hosts))
            return TokenDoor(
                token=self.token, rights_given=self.rights, hosts=names, name=f"nodespan-{_short(self.token)}"
            )
        try:
            names = host_names((*names_of(read_named(self.tls.cert, LARGEST_PEM)), *self.hosts, "localhost"))
        except ValueError as error:
            raise ListenError(f"{self.tls.cert}: {error}") from error
        return CertificateDoor(find_rights=rights_of, names=names)

    def url(self, port: int) -> str:
        """Where it is, with the token, once it listens at this port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        if self.tls is not None:
            return f"https://{host}:{port}/"
        return f"http://{host}:{port}/?token={self.token}"


def _short(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()[:8]
