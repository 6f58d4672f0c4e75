"""Checks a condition once: a connection, an HTTP request, a systemd unit. Failures have texts for operators."""

import ssl
from pathlib import Path

import trio

from nodespan.controllers.common.connection_errors import connection_fault
from nodespan.controllers.network.vip.conditions.page import NoAnswerError, status_of
from nodespan.resources.config.vip_condition import VipCondition
from nodespan.runtime.pem import PEMError, check_certificate_file
from nodespan.runtime.trusting import trusting

_SUCCESS = range(200, 300)


class CheckFailedError(Exception):
    """The condition does not hold; the text says why."""


async def check(condition: VipCondition) -> None:
    """Check a condition on the network or on a unit. Raises CheckFailedError if it does not hold; cancellable."""
    timeout = condition.timeout.total_seconds()
    try:
        with trio.fail_after(timeout):
            if condition.tcp:
                await _connect(condition.tcp)
            elif condition.http:
                await _request(condition.http, condition.ca)
            else:
                await _unit(condition.unit)
    except trio.TooSlowError:
        raise CheckFailedError(f"no answer within {timeout:g} s") from None


async def _connect(target: str) -> None:
    host, _, port = target.rpartition(":")
    try:
        stream = await trio.open_tcp_stream(host.strip("[]"), int(port))
    except (OSError, ValueError) as error:  # ValueError: no name can be like this
        raise CheckFailedError(f"no connection: {connection_fault(error)}") from error
    await stream.aclose()


async def _request(url: str, ca: str) -> None:
    try:
        # Reading certificates is slow, and they may have been replaced since the last check.
        context = await trio.to_thread.run_sync(_context, ca)
    except (OSError, PEMError) as error:
        reason = (error.strerror if isinstance(error, OSError) else "") or str(error)
        raise CheckFailedError(f"the CA file {ca} cannot be used: {reason}") from error
    try:
        status = await status_of(url, context)
    except (NoAnswerError, OSError, ValueError, trio.BrokenResourceError) as error:
        raise CheckFailedError(f"no answer: {connection_fault(error) or type(error).__name__}") from error
    if status not in _SUCCESS:
        raise CheckFailedError(f"the answer is {status} {_phrase(status)}".rstrip())


def _context(ca: str) -> "ssl.SSLContext":
    if ca:
        check_certificate_file(Path(ca))
    return trusting(ca or None)


def _phrase(status: int) -> str:
    import http  # few checks fail by a status

    return next((known.phrase for known in http.HTTPStatus if known == status), "")


async def _unit(unit: str) -> None:
    try:
        done = await trio.run_process(["systemctl", "is-active", "--", unit], capture_stdout=True, check=False)
    except FileNotFoundError as error:
        raise CheckFailedError("there is no systemctl on this machine") from error
    if done.returncode != 0:
        raise CheckFailedError(f"the unit is {done.stdout.decode(errors='replace').strip() or 'unknown'}")
