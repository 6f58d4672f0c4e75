"""Checks of the agent, its configuration, certificates, and the services that it depends on."""

import datetime
import os
import socket
import ssl
import urllib.parse
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from nodespan.controllers.cluster.config import discovery_config
from nodespan.controllers.config.files.watched import APPLIED_FILE
from nodespan.controllers.config.loaded import Loaded
from nodespan.controllers.config.loading import read_and_load
from nodespan.controllers.host.trust_rules import anchor_files, trust_entries
from nodespan.discovery.endpoint_url import DialAddress
from nodespan.discovery.proxy import ProxyError, proxy_for
from nodespan.runtime.api.grpc.client.trust import client_context
from nodespan.runtime.certificate import CertificateFormatError, der_of_block, read_certificate
from nodespan.runtime.overview.check import Surroundings, Verdict, failed, ok, skipped, warning
from nodespan.runtime.pem import PEMError, certificate_blocks
from nodespan.runtime.system_roots import TrustError, system_roots

_PATIENCE = 5.0
_SOON = datetime.timedelta(days=14)
# Some hours after half of a day.
_LATE = datetime.timedelta(hours=8)
_PATHS_HINT = "see to the paths in the section etcd of NodespanConfig"
# The bundles of all distributions together are a quarter of it.
_LARGEST_FILE = 4 * 1024 * 1024
_ETCD_PORT, _PROXY_PORT = 2379, 3128
_VERIFICATION_HINT = (
    "look at the clock, at the names in its certificate (openssl s_client), and, for an authority of your own, at "
    "TrustedRootsConfig; a program in between may take TLS apart"
)
# What the way to a server is tried with: raises OSError or TrustError where it ends.
Dial = Callable[[str, int, bool], None]


def agent(surroundings: Surroundings) -> Iterator[Verdict]:
    """Whether one runs, and is of the same version as this command."""
    if surroundings.agent is None:
        yield warning(
            f"no agent can be asked: {surroundings.agent_error}",
            "start it: systemctl start nodespan, or nodespan agent; nodespan logs says why it ended",
        )
        return
    version = surroundings.agent["version"]
    if surroundings.version and version != surroundings.version:
        yield warning(f"the agent is of version {version}, this command of {surroundings.version}", "restart the agent")
    else:
        yield ok(f"version {version} runs as process {surroundings.agent['pid']}")
    here, there = (surroundings.link(f"proc/{pid}/ns/net") for pid in ("self", surroundings.agent["pid"]))
    if here and there and here != there:
        text = "the agent is in another network namespace: the checks of the network look at this one"
        yield warning(text, f"run: nsenter -t {surroundings.agent['pid']} -n nodespan doctor")


def configuration_files(surroundings: Surroundings) -> list[Path]:
    """The configuration: as given to this command, else that of the agent, else what was last applied."""
    if surroundings.config:
        return list(surroundings.config)
    for status in surroundings.specs("configstatuses.config.nodespan.dev"):
        files = [Path(file) for file in status.get("files", ())]
        if files and all(file.exists() for file in files):
            return files
    applied = surroundings.state_dir / APPLIED_FILE
    return [applied] if os.access(applied, os.R_OK) else []


def _loaded(surroundings: Surroundings) -> Loaded | None:
    """The configuration, None if there is none or it cannot be used."""
    files = configuration_files(surroundings)
    loaded = read_and_load(*files) if files else None
    return None if loaded is None or loaded.errors else loaded


def configuration(surroundings: Surroundings) -> Iterator[Verdict]:
    """Whether it can be used, and is."""
    for status in surroundings.specs("configstatuses.config.nodespan.dev"):
        if status.get("error"):
            yield failed(f"the agent does not use it: {status['error']}", "mend it: nodespan validate says where")
    files = configuration_files(surroundings)
    if not files:
        yield skipped("none was found: the node is observed only", "nodespan apply -f FILE, or nodespan agent --config")
        return
    loaded = read_and_load(*files)
    names = ", ".join(map(str, files))
    if loaded.errors:
        yield failed(str(loaded.errors[0]), f"nodespan validate {names} shows all")
    elif loaded.problems:
        yield warning(str(loaded.problems[0]), f"nodespan validate {names} shows all")
    else:
        yield ok(names)


def certificates(surroundings: Surroundings) -> Iterator[Verdict]:
    """Whether those of the configuration, and the API's, are valid for some time yet."""
    now = datetime.datetime.now(datetime.UTC)
    seen = 0
    for status in surroundings.specs("apicertificates.secrets.talos.dev"):
        if status.get("expires"):
            seen += 1
            yield judge_renewed(datetime.datetime.fromisoformat(status["expires"]), now)
    loaded = _loaded(surroundings)
    settings = None if loaded is None else loaded.config.nodespan.etcd
    for name in () if settings is None else (settings.ca, settings.cert):
        if not name:
            continue
        seen += 1
        yield from _certificates_of(name, surroundings.root / name.lstrip("/"), now)
    if not seen:
        yield ok("none is configured")


def _certificates_of(name: str, path: Path, now: datetime.datetime) -> Iterator[Verdict]:
    try:
        with path.open("rb") as file:
            blocks = certificate_blocks(file.read(_LARGEST_FILE).decode("utf-8", "replace"))
    except (OSError, PEMError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        yield failed(f"{name}: {reason}", _PATHS_HINT)
        return
    if not blocks:
        yield failed(f"{name}: it has no certificates", _PATHS_HINT)
    for number, block in enumerate(blocks, start=1):
        try:
            certificate = read_certificate(der_of_block(block))
        except CertificateFormatError as error:
            yield warning(f"{name}: certificate {number} of {len(blocks)} cannot be read: {error}", _PATHS_HINT)
        else:
            yield judge_lifetime(name, certificate.not_before, certificate.not_after, now)


def judge_lifetime(
    what: str, begins: datetime.datetime | None, ends: datetime.datetime, now: datetime.datetime
) -> Verdict:
    """A certificate by its times."""
    if begins is not None and now < begins:
        return failed(f"{what} is valid from {begins:%Y-%m-%d %H:%M}Z on", "set the clock, or make it anew")
    if now >= ends:
        return failed(
            f"{what} has expired at {ends:%Y-%m-%d %H:%M}Z", "make a new one; if it is younger, set the clock"
        )
    if ends - now < _SOON:
        return warning(f"{what} expires at {ends:%Y-%m-%d %H:%M}Z", "make a new one in time")
    return ok(f"{what} is valid until {ends:%Y-%m-%d}")


def judge_renewed(ends: datetime.datetime, now: datetime.datetime) -> Verdict:
    """The certificate of the API, which lives for a day, and which the agent replaces at half of that."""
    if ends - now < _LATE:
        text = f"the certificate of the API expires at {ends:%Y-%m-%d %H:%M}Z, and was not replaced in time"
        return (failed if now >= ends else warning)(
            text, "nodespan get networkproblems says what keeps the agent from it"
        )
    return ok(f"the certificate of the API is valid until {ends:%Y-%m-%d %H:%M}Z, and is replaced before")


def dial(host: str, port: int, is_tls: bool, *, extra_roots: bytes = b"") -> None:
    """Connect, by TLS if asked to, and disconnect.

    The server's certificate is judged as the agent does: by the authorities of the system and `extra_roots`, as PEM.
    Raises OSError, which says how far it came, or TrustError.
    """
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise OSError(error.errno, f"the name {host} is not found: {error.strerror}") from error
    failure: OSError | None = None
    for family, kind, protocol, _, address in addresses:
        try:
            with socket.socket(family, kind, protocol) as connection:
                connection.settimeout(_PATIENCE)
                connection.connect(address)
                if is_tls:
                    context = client_context(roots=system_roots() + b"\n" + extra_roots)
                    with context.wrap_socket(connection, server_hostname=host):
                        return
                return
        except OSError as error:
            failure = error
    assert failure is not None  # a lookup that finds nothing fails
    raise failure


_dial = dial


def _way(host: str, port: int, *, is_tls: bool, dial: Dial) -> tuple[str, str]:
    """Why the way to a server ends, and what to do; nothing if it does not."""
    try:
        dial(host, port, is_tls)
    except ssl.SSLError as error:
        reason = getattr(error, "verify_message", "") or getattr(error, "reason", "") or str(error)
        return f"TLS: {reason}", _VERIFICATION_HINT
    except TrustError as error:
        return f"TLS: {error}", "see to the package ca-certificates, and to SSL_CERT_FILE"
    except TimeoutError:
        return "no answer: something drops the packets", f"let TCP {port} out, in firewalls on the way"
    except ConnectionRefusedError:
        return f"nothing listens at TCP {port} there", "start the service, or correct the address"
    except OSError as error:
        return error.strerror or str(error), "see to the network of this node: resolvers, routes (nodespan get routes)"
    return "", ""


def _extra_roots(loaded: Loaded | None) -> bytes:
    """The authorities that the configuration adds to those of the system, as PEM."""
    entries = () if loaded is None else trust_entries(loaded.config)
    return "".join(anchor_files(entries, "").values()).encode()


def discovery(surroundings: Surroundings, dial: Dial | None = None) -> Iterator[Verdict]:
    """How far the way to each discovery service goes, from here, and what the agent has to say of it."""
    loaded = _loaded(surroundings)
    if dial is None:
        dial = partial(_dial, extra_roots=_extra_roots(loaded))
    targets = [
        DialAddress(service.endpoint, service.insecure)
        for service in (() if loaded is None else discovery_config(loaded.config).service_endpoints)
    ]
    states = {spec["endpoint"]: spec for spec in surroundings.specs("discoveryservicestatuses.cluster.nodespan.dev")}
    targets += [DialAddress(name) for name in states if name and name not in {target.address for target in targets}]
    if not targets:
        yield skipped("no discovery service is configured")
    for target in targets:
        known = states.get(target.address)
        if known is not None and known["state"] == "connected":
            yield ok(f"{target.address}: the agent is connected, and knows {known['affiliates']} affiliates there")
            continue
        said = f"; the agent says: {known['stage']}: {known['message']}" if known and known.get("message") else ""
        yield _judge_discovery(target, said, dial)


def _judge_discovery(target: DialAddress, said: str, dial: Dial) -> Verdict:
    try:
        proxy = proxy_for(target, os.environ)
    except ProxyError as error:
        return failed(f"{target.address}: {error}", "correct the variables https_proxy, http_proxy, no_proxy")
    if proxy is not None:
        parts = urllib.parse.urlsplit(proxy)
        reason, remedy = _way(parts.hostname or "", parts.port or _PROXY_PORT, is_tls=False, dial=dial)
        where = f"{target.address} by the proxy {parts.hostname}"
    else:
        reason, remedy = _way(target.host, target.port, is_tls=not target.insecure, dial=dial)
        where = target.address
    if reason:
        return failed(f"{where}: {reason}{said}", remedy)
    if said:
        return warning(f"{where} can be reached{said}", "see nodespan events -k discovery, and the log")
    return ok(f"{where} can be reached")


def etcd(surroundings: Surroundings, dial: Dial = dial) -> Iterator[Verdict]:
    """Whether something listens at the endpoints of etcd, by which virtual IPs are elected."""
    loaded = _loaded(surroundings)
    endpoints = () if loaded is None else loaded.config.nodespan.etcd.endpoints
    if not endpoints:
        yield skipped("no etcd is configured: there are no virtual IPs to elect")
    for endpoint in endpoints:
        parts = urllib.parse.urlsplit(endpoint)
        # Its certificate is for clients with one of their own, which is left to the agent.
        reason, remedy = _way(parts.hostname or "", parts.port or _ETCD_PORT, is_tls=False, dial=dial)
        where = f"{parts.hostname}:{parts.port or _ETCD_PORT}"
        yield failed(f"{where}: {reason}", remedy) if reason else ok(f"{where} can be reached")


__all__ = [
    "agent",
    "certificates",
    "configuration",
    "configuration_files",
    "dial",
    "discovery",
    "etcd",
    "judge_lifetime",
    "judge_renewed",
]
