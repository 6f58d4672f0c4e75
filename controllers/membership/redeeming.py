"""The one call by which a new machine gets to know the mesh that it was invited to.

It goes to the trust service of a control plane, where clients show no certificate. The server is known by the authority
in the token; the secret of the invitation is what the client is let in by.
"""

import json
import re
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import trio
from google.protobuf.wrappers_pb2 import StringValue

from nodespan.controllers.membership.invitations import InvitationError, InvitationFile
from nodespan.controllers.membership.refusals import RefusalLog
from nodespan.controllers.membership.token import Description, InvitationToken, describe, understand
from nodespan.runtime.api.grpc import Call, Code, Method, RPCError, unary
from nodespan.runtime.api.grpc.client import (
    CallError,
    ChannelOptions,
    Endpoint,
    EndpointError,
    Stage,
    TrustError,
    client_context,
    open_channel,
)
from nodespan.runtime.controller import Logger

JOIN: Final = "/nodespan.v1alpha1.JoinService/Join"
# As `invite` makes them: an id and a secret.
_FORM: Final = re.compile(r"[0-9a-f]{8}\.[0-9a-f]{32}")
_OPTIONS: Final = ChannelOptions(connect_timeout=5.0)
_TIMEOUT = 20.0


class RedeemError(Exception):
    """The control plane did not let this machine in. The text says why, and what to do."""


def join_methods(state_dir: Path, describe_mesh: Callable[[], Description | None], log: Logger) -> tuple[Method, ...]:
    """The methods of the service. `describe_mesh` describes the mesh as it is now, None without one.

    Before a caller has shown a token that is good, it costs no more than a look at the file, one caller at a time, and
    a line in the log per minute.
    """
    invitations = InvitationFile(state_dir)
    refusals = RefusalLog()
    one_at_a_time = trio.CapacityLimiter(1)

    async def join(request: StringValue, call: Call) -> StringValue:
        id, _, secret = request.value.partition(".")
        try:
            if not _FORM.fullmatch(request.value):
                raise InvitationError("the token is not known there: `nodespan token` makes a new one there")
            await trio.to_thread.run_sync(invitations.check, id, secret, time.time(), limiter=one_at_a_time)
            description = describe_mesh()
            if description is None:
                raise RPCError(Code.FAILED_PRECONDITION, "this node is part of no mesh that others could join")
            await trio.to_thread.run_sync(invitations.redeem, id, secret, time.time(), limiter=one_at_a_time)
        except InvitationError as error:
            if (unlogged := refusals.unlogged(call.peer.address, trio.current_time())) is not None:
                log.warning("a token was refused", peer=str(call.peer), reason=str(error), unlogged_before=unlogged)
            raise RPCError(Code.PERMISSION_DENIED, str(error)) from error
        except OSError as error:
            if (unlogged := refusals.unlogged(call.peer.address, trio.current_time())) is not None:
                log.exception("the use of a token cannot be noted", unlogged_before=unlogged)
            raise RPCError(Code.UNAVAILABLE, f"the control plane cannot note the use: {error.strerror}") from error
        log.info("a machine joins by a token", peer=str(call.peer), token=id)
        return StringValue(value=json.dumps(describe(description)))

    return (unary(JOIN, StringValue, join),)


async def redeem(token: InvitationToken) -> Description:
    """Use the token at the first of its control planes that can be reached. Waits 20 s at most; raises RedeemError."""
    where = ", ".join(token.endpoints)
    try:
        endpoints = [Endpoint.parse(f"https://{endpoint}") for endpoint in token.endpoints]
    except EndpointError as error:
        raise RedeemError(str(error)) from error
    tls = partial(client_context, roots=token.authority)
    try:
        async with open_channel(endpoints, tls=tls, options=_OPTIONS) as channel:
            answer = await channel.unary(
                JOIN, StringValue(value=f"{token.id}.{token.secret}"), StringValue.FromString, timeout=_TIMEOUT
            )
        return understand(json.loads(answer.value))
    except CallError as error:
        if error.code == Code.PERMISSION_DENIED and error.stage == Stage.SERVICE:
            raise RedeemError(str(error)) from error
        if error.code == Code.UNIMPLEMENTED:
            raise RedeemError(f"{where} runs a version of nodespan that takes no tokens: upgrade it") from error
        raise RedeemError(
            f"no control plane answers at {where}: {error}; is its agent running, and is the port open in its firewall?"
        ) from error
    except TrustError as error:
        raise RedeemError(f"the token's authority cannot be used: {error}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise RedeemError(f"{where} describes the mesh in a way that this version does not know: upgrade it") from error
