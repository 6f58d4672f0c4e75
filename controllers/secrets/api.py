"""secrets.APIController: the certificate that this node's API shows, renewed at half its life."""

import datetime
import urllib.parse
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Protocol

import attrs
import trio

from nodespan.controllers.common.problems import Problems
from nodespan.controllers.secrets.errors import AccidentError, CertificateError, IssuerError, NoProcessError
from nodespan.resources.cluster import DISCOVERED, Endpoint
from nodespan.resources.config import MACHINE_CONFIG_ID, KubeClusterConfig, MachineConfig, MachineConfigSpec
from nodespan.resources.network import NetworkProblem, Severity
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
from nodespan.runtime.background import background
from nodespan.runtime.controller import Controller, ControllerContext, exclusive, shared, weak
from nodespan.runtime.loading import load
from nodespan.runtime.process.errand import Errand, errand
from nodespan.runtime.ticks import tick

if TYPE_CHECKING:
    from nodespan.controllers.secrets.key_pair import KeyPair

# Seconds between two looks at the clock, which may step; and after an issuer could not be reached.
_LOOK = 60.0
# Until the same is tried again: with the next look.
_RETRY = _LOOK - 1
# After an accident of the process: each time twice as long, up to the same.
_FIRST_RETRY = 1.0
# Of what is said of a failure, which may be another machine's words.
_LONGEST_REASON = 300
_WAITS_FOR_CLOCK = "the API waits until the clock is synchronized, or bootTimeout has passed"
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
    # The authority's certificate then.
    issued_by: str


@attrs.frozen
class _Failed:
    """What there was no certificate for: the authority, names, control planes; None if these made no difference.

    `until` is the moment from which on the same is tried again.
    """

    asked: object
    until: float


class APIController(Controller):
    """Writes `api` while the API is to listen and there is an authority: issued here if its key is, else by `issuer`.

    `errand` does what takes the library that issues certificates. Why there is no certificate, or no new one, is a
    problem of the authority.
    """

    name = "secrets.APIController"
    inputs = (
        weak(OSRoot, OS_ROOT_ID),
        weak(CertSAN, API_ID),
        weak(Endpoint, DISCOVERED),
        weak(MachineConfig, MACHINE_CONFIG_ID),
        weak(TimeStatus, TIME_ID),
    )
    outputs = (exclusive(APICertificate), shared(NetworkProblem))

    def __init__(self, issuer: Issuer, *, now: Now = utc_now, errand: Errand = errand) -> None:
        self._issuer = issuer
        self._errand = errand
        self._now = now
        self._issued: _Issued | None = None
        self._failed: _Failed | None = None
        self._accidents = 0
        # Whether the last one that was wanted could not be had; the wait after a failure outlasts it.
        self._is_failing = False
        self._last_error = ""
        self._began: float | None = None
        self._is_waiting = False

    async def run(self, ctx: ControllerContext) -> None:
        """Follow the authority, the names and the clock."""
        self._began = trio.current_time() if self._began is None else self._began
        problems = Problems(ctx, OSRoot)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._look, ctx)
            if self._failed is not None and self._accidents:  # of an earlier run
                nursery.start_soon(self._wake_at, ctx, self._failed.until)
            async for _ in ctx:
                async with ctx.tracked_outputs(APICertificate):
                    root, sans = ctx.find(OSRoot, OS_ROOT_ID), ctx.find(CertSAN, API_ID)
                    if root is None or sans is None:
                        self._issued = None
                        await problems.show({})
                        continue
                    config = ctx.find(MachineConfig, MACHINE_CONFIG_ID)
                    if config is None or not config.spec.nodespan.api.listen:
                        await problems.show({})
                        continue
                    if self._issued is None and self._waits_for_clock(ctx, trio.current_time() - self._began):
                        if not self._is_waiting:
                            self._is_waiting = True
                            ctx.log.info(_WAITS_FOR_CLOCK)
                        await problems.set(API_ID, _WAITS_FOR_CLOCK, loud=False, severity=Severity.WARNING)
                        continue
                    if self._issued is None and not root.spec.issuing_ca.key and not self._is_failing:
                        waits = "api.listen is set, and waits for a control plane that issues this node's certificate"
                        await problems.set(API_ID, waits)
                    before = self._failed
                    spec = await self._current(ctx, root.spec, sans.spec)
                    if spec is not None:
                        await ctx.put(APICertificate, API_ID, spec)
                    await self._show(problems, root.spec, has_one=spec is not None)
                    if self._failed is not None and self._failed is not before and self._accidents:
                        nursery.start_soon(self._wake_at, ctx, self._failed.until)

    async def _show(self, problems: Problems, root: OSRootSpec, *, has_one: bool) -> None:
        """Show the last failure as long as it stands; it is logged where it happens."""
        if not self._is_failing:
            await problems.clear(API_ID)
            return
        what = "cannot issue its certificate" if root.issuing_ca.key else "has no certificate"
        severity = Severity.ERROR
        if has_one:
            what, severity = "cannot get a new certificate, and shows the present one", Severity.WARNING
        await problems.set(
            API_ID, f"api.listen is set, but this node {what}: {self._last_error}", loud=False, severity=severity
        )

    async def _current(self, ctx: ControllerContext, root: OSRootSpec, sans: CertSANSpec) -> APICertificateSpec | None:
        """The certificate to show; the present one as long as no better one can be had."""
        # Only a node with an API pays for what reads certificates.
        await load("nodespan.controllers.secrets.api_certificate", "nodespan.controllers.secrets.issuing")
        from nodespan.controllers.secrets.api_certificate import is_current, is_of

        now, issued = self._now(), self._issued
        # A node that got the key, or lost it, acts for others from now on, or no longer.
        is_as_before = issued is not None and bool(issued.spec.client.key) == bool(root.issuing_ca.key)
        if issued is not None and is_as_before and is_current(issued.pair, root, sans, now, issued_by=issued.issued_by):
            self._is_failing = False
            return attrs.evolve(issued.spec, accepted_cas=root.accepted_cas)
        kept: APICertificateSpec | None = None
        if issued is not None and is_of(issued.pair, root, issued_by=issued.issued_by):
            client = issued.spec.client if root.issuing_ca.key else CertificateAndKey()
            kept = attrs.evolve(issued.spec, accepted_cas=root.accepted_cas, client=client)
        config, found = ctx.find(MachineConfig, MACHINE_CONFIG_ID), ctx.find(Endpoint, DISCOVERED)
        hosts = control_planes(config.spec if config else None, found.spec.addresses if found else ())
        if self._has_failed_for((root, sans, hosts)):
            self._is_failing = True
            return kept
        # Before, for that takes a while: whom this configuration does not trust is out at once.
        if kept is not None:
            await ctx.put(APICertificate, API_ID, kept)
        elif ctx.find(APICertificate, API_ID) is not None:
            await ctx.remove(APICertificate, API_ID)
        began = trio.current_time()
        try:
            new = await self._unless_changed(ctx, partial(self._new, root, sans, hosts, now))
        except (IssuerError, CertificateError) as error:
            self._is_failing = True
            self._accidents = self._accidents + 1 if isinstance(error, AccidentError) else 0
            until = began + _RETRY
            if self._accidents:
                until = trio.current_time() + _after_accidents(self._accidents)
            self._failed = _Failed(None if isinstance(error, NoProcessError) else (root, sans, hosts), until)
            reason = _reason(error, root)
            if reason != self._last_error:
                self._last_error = reason
                ctx.log.warning("no certificate for the API", error=reason)
            return kept
        if new is None:
            return kept
        self._failed, self._accidents, self._last_error, self._is_failing = None, 0, "", False
        self._issued = new
        return new.spec

    async def _unless_changed(self, ctx: ControllerContext, issue: Callable[[], Awaitable[_Issued]]) -> _Issued | None:
        """What is issued; None if before that the authority changed, or whether the API is to listen.

        Control planes that do not answer take 20 s, and whom the configuration does not trust any more is to be out
        before that. The next turn follows at once. Raises what `issue` does.
        """
        before, issued = _asked(ctx), None

        async def give_up() -> None:
            while _asked(ctx) == before:
                await ctx.wait_woken()
            scope.cancel()

        try:
            with trio.CancelScope() as scope:
                async with background(give_up):
                    issued = await issue()
        finally:
            # What woke it meanwhile has no turn yet.
            ctx.wake()
        return issued

    def _has_failed_for(self, asked: object) -> bool:
        """Whether there was none lately for the same, or whatever was asked: each try is a process, or several."""
        failed = self._failed
        if failed is None or trio.current_time() >= failed.until:
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
        return _Issued(pair, certificate_spec(root, pair, client), root.issuing_ca.crt)

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

    async def _wake_at(self, ctx: ControllerContext, moment: float) -> None:
        await trio.sleep_until(moment)
        ctx.wake()


def _asked(ctx: ControllerContext) -> object:
    """What a certificate is issued for, but for the names: those may change all the time."""
    root, config = ctx.find(OSRoot, OS_ROOT_ID), ctx.find(MachineConfig, MACHINE_CONFIG_ID)
    return root and root.spec, config is not None and config.spec.nodespan.api.listen


def _after_accidents(number: int) -> float:
    """Seconds until the next try after so many accidents in a row."""
    return float(min(_FIRST_RETRY * 2 ** min(number - 1, 16), _RETRY))


def _reason(error: Exception, root: OSRootSpec) -> str:
    """Why there is no certificate: no more than fits a table, and without the token, which another node was sent."""
    text = str(error)
    if root.token:
        text = text.replace(root.token, "[token]")
    return text if len(text) <= _LONGEST_REASON else text[:_LONGEST_REASON] + "..."
