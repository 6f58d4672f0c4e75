"""The certificate that a server shows, and whose clients it lets in, read again when their files change."""

import errno
import ssl
from pathlib import Path

from nodespan.runtime.api.grpc.client.trust import TrustError, client_context, present_certificate
from nodespan.runtime.certificate import read_first
from nodespan.runtime.named_file import LARGEST_PEM, read_named
from nodespan.runtime.pem import PEMError, check_certificate_file
from nodespan.runtime.process.logger import Logger

# X509_V_FLAG_NO_CHECK_TIME, which the module `ssl` has no name for.
_NO_CHECK_TIME = 0x200000
# From a client without a certificate: it has verified the server by then.
_NO_CLIENT_CERTIFICATE = "PEER_DID_NOT_RETURN_A_CERTIFICATE"
# A handshake takes each side three steps.
_MOST_STEPS = 8
_Stamps = tuple[tuple[int, ...], ...]


class ServerCertificate:
    """Makes TLS settings (at least 1.2) for a server from a certificate chain and its key, both in PEM files.

    With `client_roots`, a PEM file, only clients are let in that show a certificate of one of those authorities.
    Raises OSError (of which SSLError is one) if they cannot be used at the start. Later, files that cannot be used are
    logged once, the server keeps the previous ones, and tries again with each connection.
    """

    def __init__(
        self,
        certificate: Path,
        key: Path,
        log: Logger,
        *,
        client_roots: Path | None = None,
        protocols: tuple[str, ...] = ("h2",),
    ) -> None:
        self._certificate = certificate
        self._key = key
        self._client_roots = client_roots
        self._protocols = protocols
        self._log = log
        self._reported = ""
        self._stamps = self._look()
        self._context = self._load()
        # The names, and the settings for which they were read.
        self._names: frozenset[str] = frozenset()
        self._named: ssl.SSLContext | None = None

    def context(self) -> ssl.SSLContext:
        """The settings for the next connection."""
        try:
            stamps = self._look()
            if stamps != self._stamps:
                self._context = self._load()
                # Only now: a load also fails for reasons that pass, with files that are final.
                self._stamps = stamps
                self._log.info("certificate reloaded", path=str(self._certificate))
            self._reported = ""
        except OSError as error:
            if str(error) != self._reported:
                self._reported = str(error)
                self._log.error("certificate cannot be reloaded, the previous one stays in use", error=str(error))
        return self._context

    def names(self) -> frozenset[str]:
        """The names and addresses that the certificate in use is for. Raises OSError for one that cannot be read."""
        context = self.context()
        if self._named is not context:
            self._names, self._named = certificate_names(self._certificate), context
        return self._names

    def _look(self) -> _Stamps:
        found = [path.stat() for path in (self._certificate, self._key, self._client_roots) if path is not None]
        return tuple((stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size) for stat in found)

    def _load(self) -> ssl.SSLContext:
        context = _settings(self._protocols)
        _check_file(self._certificate)
        _check_file(self._key)
        context.load_cert_chain(self._certificate, self._key)
        if self._client_roots is not None:
            _check_file(self._client_roots)
            context.load_verify_locations(self._client_roots)
            context.verify_mode = ssl.CERT_REQUIRED
        return context


def _settings(protocols: tuple[str, ...]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # HTTP/2 forbids to shake hands again on a connection of TLS 1.2: it would be work, and stop what is being written.
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(protocols)
    return context


def _check_file(path: Path) -> None:
    try:
        check_certificate_file(path)
    except PEMError as error:
        raise OSError(errno.EBADMSG, str(error), str(path)) from error


def certificate_names(path: Path) -> frozenset[str]:
    """The names and addresses that the first certificate of a file is for. Raises OSError."""
    try:
        found = read_first(read_named(path, LARGEST_PEM))
    except ValueError as error:
        raise OSError(errno.EBADMSG, str(error), str(path)) from error
    return frozenset((*found.dns_names, *map(str, found.addresses)))


def server_context(certificate: bytes, key: bytes, *, client_roots: bytes | None = None) -> ssl.SSLContext:
    """The settings of an HTTP/2 server from PEM in memory, at least TLS 1.2.

    With `client_roots` only clients are let in that show a certificate of one of them. Raises TrustError.
    """
    context = _settings(("h2",))
    present_certificate(context, certificate, key, whose="the server's")
    if client_roots is not None:
        try:
            context.load_verify_locations(cadata=client_roots.decode("ascii", "replace"))
        except ssl.SSLError as error:
            raise TrustError(f"the authorities of clients cannot be read: {error.reason}") from error
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def check_handshake(server: ssl.SSLContext, roots: bytes) -> None:
    """Raise TrustError unless a client that trusts these authorities (PEM) gets through a handshake with the server.

    It is done in memory, with OpenSSL's own rules, such as its security level for the keys of the whole chain: loading
    a certificate says nothing of that. Times are not compared, for the clock may be set later.
    """
    client = client_context(roots=roots)
    client.check_hostname = False
    client.verify_flags |= _NO_CHECK_TIME
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    asking = client.wrap_bio(to_client, to_server)
    answering = server.wrap_bio(to_server, to_client, server_side=True)
    try:
        for _ in range(_MOST_STEPS):
            if _proceeds(asking):
                return
            _proceeds(answering)
    except ssl.SSLCertVerificationError as error:
        raise TrustError(f"clients refuse the server's certificate: {error.verify_message}") from error
    except ssl.SSLError as error:
        if error.reason == _NO_CLIENT_CERTIFICATE:
            return
        reason = (error.reason or str(error)).lower().replace("_", " ")
        raise TrustError(f"OpenSSL does not serve with this certificate and its authority: {reason}") from error
    raise TrustError("the handshake does not end")


def _proceeds(side: ssl.SSLObject) -> bool:
    """Take a step; returns whether the handshake is done."""
    try:
        side.do_handshake()
    except ssl.SSLWantReadError:
        return False
    return True
