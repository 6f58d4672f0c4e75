"""`machine.MachineService`, as far as it is about networking: version, configuration, log; and what to use instead."""

import datetime
import platform
from collections.abc import Mapping
from typing import Any, Final

import trio
from google.protobuf.empty_pb2 import Empty

from nodespan.controllers.api.logs import LogReading
from nodespan.controllers.api.roles import require
from nodespan.controllers.config.action_names import APPLY, CONFIRM, DRY_RUN, REFUSED
from nodespan.resources.config import MACHINE_CONFIG_ID, MachineConfig
from nodespan.resources.config.status import CONFIG_STATUS_ID, ConfigStatus
from nodespan.resources.wire import machine_pb2 as wire
from nodespan.runtime.actions import ActionCall, ActionError
from nodespan.runtime.api.cosi.roles import ADMIN, READERS
from nodespan.runtime.api.grpc import Call, Code, Method, RPCError, server_stream, unary
from nodespan.runtime.codec.duration import format_duration
from nodespan.runtime.plugins import AgentAccess

SERVICE: Final = "machine.MachineService"
VERSION: Final = f"/{SERVICE}/Version"
APPLY_CONFIGURATION: Final = f"/{SERVICE}/ApplyConfiguration"
READ: Final = f"/{SERVICE}/Read"
# Where the original keeps its configuration; its users read it there.
CONFIG_FILE: Final = "/system/state/config.yaml"
_CHUNK = 1024
_DEFAULT_TRIAL = 60.0
_LONGEST_TRIAL = 24 * 3600.0
_MODES = wire.ApplyConfigurationRequest

_INSTEAD: Final[Mapping[str, str]] = {
    "Bootstrap": "there is no Kubernetes here",
    "Containers": "there are no containers here",
    "Copy": "copy files with scp",
    "Dmesg": "use dmesg on the node",
    "Events": "use `get events -w`",
    "Hostname": "use `get hostnamestatus`",
    "Kubeconfig": "there is no Kubernetes here",
    "List": "list files with ssh",
    "Netstat": "use ss on the node",
    "PacketCapture": "use tcpdump on the node",
    "Processes": "use ps on the node",
    "Reboot": "use the node's own systemctl reboot",
    "Reset": "use `nodespan leave` on the node",
    "Restart": "use systemctl on the node",
    "Rollback": "use the package manager of the node",
    "ServiceList": "use systemctl on the node",
    "ServiceRestart": "use systemctl on the node",
    "ServiceStart": "use systemctl on the node",
    "ServiceStop": "use systemctl on the node",
    "Shutdown": "use the node's own systemctl poweroff",
    "Stats": "there are no containers here",
    "SystemStat": "use the node's own tools",
    "Upgrade": "use the package manager of the node",
}


class MachineService:
    """The methods of the service for one agent."""

    def __init__(self, agent: AgentAccess) -> None:
        self._agent = agent
        self._is_applying = False
        self._log = LogReading()

    def methods(self) -> tuple[Method, ...]:
        """All methods: those that work, and those that say what to use instead."""
        return (
            unary(VERSION, Empty, self._version),
            unary(APPLY_CONFIGURATION, wire.ApplyConfigurationRequest, self._apply),
            server_stream(READ, wire.ReadRequest, self._read),
            self._log.method(),
            *(_unimplemented(name, text) for name, text in _INSTEAD.items()),
        )

    async def _version(self, _request: Empty, call: Call) -> wire.VersionResponse:
        require(call, READERS)
        version = wire.Version(
            version=wire.VersionInfo(
                tag=f"v{self._agent.version}",
                go_version=f"python{platform.python_version()}",
                os=platform.system().lower(),
                arch=_ARCHITECTURES.get(platform.machine(), platform.machine()),
            ),
            platform=wire.PlatformInfo(name="nodespan", mode="metal"),
            features=wire.FeaturesInfo(rbac=True),
        )
        return wire.VersionResponse(messages=[version])

    async def _read(self, request: wire.ReadRequest, call: Call) -> None:
        require(call, frozenset({ADMIN}))
        if request.path != CONFIG_FILE:
            raise RPCError(
                Code.UNIMPLEMENTED,
                f"only {CONFIG_FILE} can be read here: use ssh for other files",
            )
        config = self._agent.state.find(MachineConfig, MACHINE_CONFIG_ID)
        if config is None:
            raise RPCError(Code.NOT_FOUND, "no configuration is in effect")
        raw = config.spec.text.encode()
        for start in range(0, len(raw), _CHUNK):
            await call.send(wire.Data(data=raw[start : start + _CHUNK]))

    async def _apply(self, request: wire.ApplyConfigurationRequest, call: Call) -> wire.ApplyConfigurationResponse:
        require(call, frozenset({ADMIN}))
        if self._is_applying:
            raise RPCError(Code.FAILED_PRECONDITION, "another apply configuration is already in progress")
        self._is_applying = True
        try:
            answer = await self._applied(request, call)
        finally:
            self._is_applying = False
        return wire.ApplyConfigurationResponse(messages=[answer])

    async def _applied(self, request: wire.ApplyConfigurationRequest, call: Call) -> wire.ApplyConfiguration:
        mode, details, seconds = request.mode, _APPLIED, 0.0
        match mode:
            case _MODES.AUTO | _MODES.NO_REBOOT:
                mode = _MODES.NO_REBOOT
            case _MODES.TRY:
                given = request.try_mode_timeout
                seconds = given.seconds + given.nanos / 1e9 if request.HasField("try_mode_timeout") else _DEFAULT_TRIAL
                if not 0 < seconds <= _LONGEST_TRIAL:
                    raise RPCError(Code.INVALID_ARGUMENT, "the time of a trial must be more than 0 and at most a day")
                details += (
                    "\nThe config is applied in 'try' mode and will be automatically reverted back in "
                    f"{format_duration(datetime.timedelta(seconds=seconds))}"
                )
            case _MODES.REBOOT:
                raise RPCError(
                    Code.UNIMPLEMENTED, "the REBOOT mode is not supported, please use AUTO or NO_REBOOT modes instead"
                )
            case _MODES.STAGED:
                details = "Staged configuration to be applied after the next reboot"
            case _:
                raise RPCError(Code.INVALID_ARGUMENT, f"unknown mode {mode}")
        arguments: dict[str, Any] = {"files": [["the configuration", request.data]], "wait": False}
        arguments["caller"] = self._caller(call)
        if request.dry_run:
            await self._act(DRY_RUN, arguments)
            return wire.ApplyConfiguration(mode=mode, mode_details=self._dry_details(details, request.data))
        if mode == _MODES.STAGED:
            arguments["staged"] = True
        if seconds:
            arguments["timeout"] = f"{seconds}s"
        elif mode != _MODES.STAGED and self._is_on_trial():
            # One that is refused must not make the one on trial permanent.
            await self._act(DRY_RUN, arguments)
            # The applied configuration is what remains, so the trial ends without going back.
            await self._act(CONFIRM, {})
        return wire.ApplyConfiguration(mode=mode, mode_details=details, warnings=await self._act(APPLY, arguments))

    def _caller(self, call: Call) -> list[object] | None:
        """The connection of the client, which the firewall of a configuration may not let in again."""
        config = self._agent.state.find(MachineConfig, MACHINE_CONFIG_ID)
        port = "" if config is None else config.spec.nodespan.api.listen.rpartition(":")[2]
        if call.peer.address is None or not port.isdecimal():
            return None
        return [str(call.peer.address), "", int(port)]

    def _is_on_trial(self) -> bool:
        status = self._agent.state.find(ConfigStatus, CONFIG_STATUS_ID)
        return status is not None and status.spec.trial_until is not None

    async def _act(self, name: str, arguments: Mapping[str, Any]) -> list[str]:
        """Do an action of the agent; returns its warnings. Raises RPCError with what it says of mistakes."""
        call = ActionCall(arguments=arguments, state=self._agent.state, settle=self._agent.settled)
        texts: list[str] = []
        status = 0
        try:
            async for answer in self._agent.actions[name](call):
                status = answer.get("status", status)
                texts.append(answer.get("text", ""))
        except ActionError as error:
            raise RPCError(Code.FAILED_PRECONDITION, str(error)) from error
        except KeyError as error:
            raise RPCError(Code.UNIMPLEMENTED, "this agent has no configuration that could be applied") from error
        if status == REFUSED:
            raise RPCError(Code.INVALID_ARGUMENT, "".join(texts).strip())
        return [text.strip() for text in texts if text.startswith("warning:") or ": warning:" in text]

    def _dry_details(self, details: str, data: bytes) -> str:
        config = self._agent.state.find(MachineConfig, MACHINE_CONFIG_ID)
        before = "" if config is None else config.spec.text
        after = data.decode(errors="replace")
        # Only a dry run shows differences.
        import difflib

        lines = difflib.unified_diff(
            before.splitlines(keepends=True), after.splitlines(keepends=True), fromfile="a", tofile="b"
        )
        diff = "".join(line if line.endswith("\n") else f"{line}\n" for line in lines) or "No changes."
        return f"Dry run summary:\n{details} (skipped in dry-run).\nConfig diff:\n\n{diff}"


_APPLIED = "Applied configuration without a reboot"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def _unimplemented(name: str, instead: str) -> Method:
    async def refuse(_request: Empty, call: Call) -> None:
        require(call, frozenset({ADMIN}))
        await trio.lowlevel.checkpoint()
        raise RPCError(Code.UNIMPLEMENTED, f"nodespan does not do {name}: {instead}")

    return server_stream(f"/{SERVICE}/{name}", Empty, refuse)
