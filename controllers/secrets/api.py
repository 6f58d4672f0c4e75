"""secrets.APIController: the certificate that this node's API shows, renewed at half its life."""

import datetime
import urllib.parse
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

import attrs
import trio

from nodespan.controllers.secrets.errors import CertificateError, IssuerError, NoProcessError
from nodespan.resources.cluster import DISCOVERED, Endpoint
from nodespan.resources.config import MACHINE_CONFIG_ID, KubeClusterConfig, MachineConfig, MachineConfigSpec
from nodespan.resources.runtime import TIME_ID, TimeStatus
from nodespan.resources.secrets import (
    API_ID,
    OS_ROOT_ID,
    APICertificate,
    APICertificateSpec,
    CertificateAndKey,
    CertSAN,
    CertSANSpec,
    OSRoot,
    OSRootSpec,
)
from nodespan.runtime.controller import Controller, ControllerContext, exclusive, weak
from nodespan.runtime.loading import load
from nodespan.runtime.process.errand import Errand, errand
from nodespan.runtime.ticks import tick

if TYPE_CHECKING:
    from nodespan.controllers.secrets.key_pair import KeyPair

# Seconds between two looks at the clock, which may step; and after an issuer could not be reached.
_LOOK = 60.0
# Until the same is tried again: with the next look.
_RETRY = _LOOK - 1
Now = Callable[[], datetime.datetime]


class Issuer(Protocol):
    """Gets certificates for a node that does not have the authority's key."""

    async def issue(self, root: OSRootSpec, sans: CertSANSpec, control_planes: Sequence[str]) -> "KeyPair":
        """A certificate for these names, of one of the control planes (hosts). Raises IssuerError."""
        ...


def utc_now() -> datetime.datetime:
    """The wall time, as certificates count it."""
    return datetime.datetime.now(datetime.UTC)


def control_planes(config: MachineConfigSpec | None, discovered: Sequence[str]) -> tuple[str, ...]:
    """The hosts of the control plane: those discovered, and that of the configured endpoint."""
    hosts = list(discovered)
    if config is not None:
        document = next(iter(config.documents_of(KubeClusterConfig)), None)
        url = (document.endpoint if document else "") or config.cluster.control_plane.endpoint
        host = urllib.parse.urlsplit(url).hostname if url else None
        hosts += [host] if host else []
    return tuple(dict.fromkeys(hosts))


@attrs.frozen
class _Issued:
    pair: "KeyPair"
    spec: APICertificateSpec


@attrs.frozen
class _Failed:
    """What there was no certificate for: the authority, names, control planes; None if these made no difference."""

    asked: object
    at: float


class APIController(Controller):
    """Writes `api` while the API is to listen and there is an authority: issued here if its key is, else by `issuer`.

    `errand` does what takes the library that issues certificates.
    """

    name = "secrets.APIController"
    inputs = (
        weak(OSRoot, OS_ROOT_ID),
        weak(CertSAN, API_ID),
        weak(Endpoint, DISCOVERED),
        weak(MachineConfig, MACHINE_CONFIG_ID),
        weak(TimeStatus, TIME_ID),
    )
    outputs = (exclusive(APICertificate),)

    def __init__(self, issuer: Issuer, *, now: Now = utc_now, errand: Errand = errand) -> None:
        self._issuer = issuer
        self._errand = errand
        self._now = now
        self._issued: _Issued | None = None
        self._failed: _Failed | None = None
        self._last_error = ""
        self._began: float | None = None
        self._is_waiting = False

    async def run(self, ctx: ControllerContext) -> None:
        """Follow the authority, the names and the clock."""
        self._began = trio.current_time() if self._began is None else self._began
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._look, ctx)
            async for _ in ctx:
                async with ctx.tracked_outputs(APICertificate):
                    root, sans = ctx.find(OSRoot, OS_ROOT_ID), ctx.find(CertSAN, API_ID)
                    if root is None or sans is None:
                        self._issued = None
                        continue
                    config = ctx.find(MachineConfig, MACHINE_CONFIG_ID)
                    if config is None or not config.spec.nodespan.api.listen:
                        continue
                    if self._issued is None and self._waits_for_clock(ctx, trio.current_time() - self._began):
                        if not self._is_waiting:
                            self._is_waiting = True
                            ctx.log.info("the API waits until the clock is synchronized, or bootTimeout has passed")
                        continue
                    spec = await self._current(ctx, root.spec, sans.spec)
                    if spec is not None:
                        await ctx.put(APICertificate, API_ID, spec)

    async def _current(self, ctx: ControllerContext, root: OSRootSpec, sans: CertSANSpec) -> APICertificateSpec | None:
        """The certificate to show; the present one as long as no better one can be had."""
        # Only a node with an API pays for what reads certificates.
        await load("nodespan.controllers.secrets.api_certificate", "nodespan.controllers.secrets.issuing")
        from nodespan.controllers.secrets.api_certificate import is_current, is_of

        now, issued = self._now(), self._issued
        # A node that got the key, or lost it, acts for others from now on, or no longer.
        is_as_before = issued is not None and bool(issued.spec.client.key) == bool(root.issuing_ca.key)
        if issued is not None and is_as_before and is_current(issued.pair, root, sans, now):
            return attrs.evolve(issued.spec, accepted_cas=root.accepted_cas)
        kept: APICertificateSpec | None = None
        if issued is not None and is_of(issued.pair, root):
            client = issued.spec.client if root.issuing_ca.key else CertificateAndKey()
            kept = attrs.evolve(issued.spec, accepted_cas=root.accepted_cas, client=client)
        config, found = ctx.find(MachineConfig, MACHINE_CONFIG_ID), ctx.find(Endpoint, DISCOVERED)
        hosts = control_planes(config.spec if config else None, found.spec.addresses if found else ())
        if self._has_failed_for((root, sans, hosts)):
            return kept
        # Before, for that takes a while: whom this configuration does not trust is out at once.
        if kept is not None:
            await ctx.put(APICertificate, API_ID, kept)
        elif ctx.find(APICertificate, API_ID) is not None:
            await ctx.remove(APICertificate, API_ID)
        began = trio.current_time()
        try:
            self._issued = await self._new(root, sans, hosts, now)
        except (IssuerError, CertificateError) as error:
            self._failed = _Failed(None if isinstance(error, NoProcessError) else (root, sans, hosts), began)
            if str(error) != self._last_error:
                self._last_error = str(error)
                ctx.log.warning("no certificate for the API", error=str(error))
            return kept
        self._failed, self._last_error = None, ""
        return self._issued.spec

    def _has_failed_for(self, asked: object) -> bool:
        """Whether there was none lately for the same, or whatever was asked: each try is a process, or several."""
        failed = self._failed
        if failed is None or trio.current_time() >= failed.at + _RETRY:
            return False
        return failed.asked is None or failed.asked == asked

    async def _new(
        self, root: OSRootSpec, sans: CertSANSpec, control_planes: Sequence[str], now: datetime.datetime
    ) -> _Issued:
        """A new certificate. Raises IssuerError and CertificateError."""
        from nodespan.controllers.secrets.api_certificate import FOR_CLIENTS, NO_CLIENT, certificate_spec
        from nodespan.controllers.secrets.issuing import issue

        if root.issuing_ca.key:
            pair, client = await issue(self._errand, root.issuing_ca, sans, FOR_CLIENTS, now)
        else:
            pair, client = await self._issuer.issue(root, sans, control_planes), NO_CLIENT
        return _Issued(pair, certificate_spec(root, pair, client))

    def _waits_for_clock(self, ctx: ControllerContext, waited: float) -> bool:
        """Whether a certificate of now might be of a wrong time; only so long after the start as is configured."""
        config, status = ctx.find(MachineConfig, MACHINE_CONFIG_ID), ctx.find(TimeStatus, TIME_ID)
        if config is None or not config.spec.time_is_kept or (status is not None and status.spec.synced):
            return False
        return waited < config.spec.boot_timeout.total_seconds()

    async def _look(self, ctx: ControllerContext) -> None:
        while True:
            await tick(_LOOK)
            if ctx.find(OSRoot, OS_ROOT_ID) is not None:
                ctx.wake()
