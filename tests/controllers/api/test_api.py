"""The API over real TLS, asked as the original's clients ask: who may, what, of which node."""

from collections.abc import AsyncGenerator, Mapping
from typing import Any

import attrs
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.empty_pb2 import Empty

from nodespan.controllers.api.inspection import DEPENDENCIES
from nodespan.controllers.api.issuer import TrustService
from nodespan.controllers.api.machine import APPLY_CONFIGURATION, CONFIG_FILE, READ, VERSION
from nodespan.controllers.api.roles import client_roles
from nodespan.controllers.config.action_names import APPLY, CONFIRM, DRY_RUN
from nodespan.controllers.secrets.authority import issue_client, issue_server, new_authority
from nodespan.controllers.secrets.errors import IssuerError
from nodespan.resources.cluster import Member, MemberSpec
from nodespan.resources.config.status import CONFIG_STATUS_ID, ConfigStatus, ConfigStatusSpec
from nodespan.resources.network import HostnameStatus
from nodespan.resources.secrets import API_ID, APICertificate, CertificateAndKey, CertSANSpec, OSRoot, OSRootSpec
from nodespan.resources.wire import machine_pb2 as wire
from nodespan.runtime.actions import Action, ActionCall
from nodespan.runtime.api.grpc import Call, Code, RPCError
from nodespan.runtime.api.grpc.client import CallError, Channel
from nodespan.runtime.api.grpc.method import Peer
from nodespan.runtime.codec.wire import resource_pb2 as cosi
from nodespan.runtime.state import MemoryState
from tests.controllers.api.nodes import ADMIN, AUTHORITY, NOW, READER, TOKEN, APINode, api_node
from tests.support.deadlines import PATIENCE
from tests.support.errands import in_process

GET, LIST = "/cosi.resource.State/Get", "/cosi.resource.State/List"
MODES = wire.ApplyConfigurationRequest


async def get(channel: Channel, type: Any, id: str, **options: Any) -> cosi.Resource:
    request = cosi.GetRequest(namespace=type.kind.namespace, type=type.kind.type, id=id)
    answer = await channel.unary(GET, request, cosi.GetResponse.FromString, timeout=PATIENCE, **options)
    return answer.resource


async def refused(channel: Channel, path: str, request: Any, **options: Any) -> CallError:
    with pytest.raises(CallError) as caught:
        await channel.unary(path, request, bytes, timeout=PATIENCE, **options)
    return caught.value


async def test_clients_read_what_their_roles_allow() -> None:
    async with api_node() as one:
        async with one.client() as admin:
            assert "PRIVATE KEY" in (await get(admin, OSRoot, "os")).spec.yaml_spec
            assert "hostname: one" in (await get(admin, HostnameStatus, "hostname")).spec.yaml_spec
        async with one.client(READER) as reader:
            assert "hostname: one" in (await get(reader, HostnameStatus, "hostname")).spec.yaml_spec
            request = cosi.GetRequest(namespace="secrets", type=OSRoot.name, id="os")
            error = await refused(reader, GET, request)
            assert error.code is Code.PERMISSION_DENIED
            reboot = "/machine.MachineService/Reboot"
            for path, message in ((APPLY_CONFIGURATION, wire.ApplyConfigurationRequest()), (reboot, Empty())):
                error = await refused(reader, path, message)
                assert (error.code, str(error)) == (Code.PERMISSION_DENIED, "not authorized")


async def test_strangers_are_not_let_in() -> None:
    other = new_authority(NOW)
    stranger = issue_client(other, ["os:admin"], NOW)
    a_server = issue_server(AUTHORITY, "x", [], ["x"], NOW)
    nobody = issue_client(AUTHORITY, ["os:unheard-of"], NOW)
    async with api_node() as one:
        for who in (stranger, a_server, None):
            async with one.client(who) as channel:
                assert (await refused(channel, VERSION, Empty())).code is Code.UNAVAILABLE
        async with one.client(nobody) as channel:
            assert (await refused(channel, VERSION, Empty())).code is Code.PERMISSION_DENIED
        async with one.client(ADMIN, other.certificate) as channel:
            assert (await refused(channel, VERSION, Empty())).code is Code.UNAVAILABLE


async def test_version_inspection_and_what_there_is_instead() -> None:
    async with api_node() as one, one.client(READER) as reader, one.client() as admin:
        version = await reader.unary(VERSION, Empty(), wire.VersionResponse.FromString)
        assert [(each.version.tag, each.version.os, each.features.rbac) for each in version.messages] == [
            ("v1.2.3", "linux", True)
        ]
        found = await reader.unary(DEPENDENCIES, Empty(), wire.ControllerRuntimeDependenciesResponse.FromString)
        assert ("secrets.RootOSController", 0, OSRoot.name) in {
            (edge.controller_name, edge.edge_type, edge.resource_type) for edge in found.messages[0].edges
        }
        error = await refused(admin, "/machine.MachineService/Reboot", Empty())
        assert (error.code, "systemctl reboot" in str(error)) == (Code.UNIMPLEMENTED, True)
        assert (await refused(admin, "/machine.MachineService/Unheard", Empty())).code is Code.UNIMPLEMENTED


async def test_the_configuration_is_read_in_chunks() -> None:
    async with api_node(extra="# " + "x" * 3000 + "\n") as one, one.client() as admin:
        chunks = []
        async with admin.stream(READ, wire.ReadRequest(path=CONFIG_FILE), wire.Data.FromString) as answers:
            async for answer in answers:
                chunks.append(answer.data)
        assert len(chunks) > 3
        assert b"".join(chunks).decode().count("x") >= 3000
        with pytest.raises(CallError, match="can be read here"):
            async with admin.stream(READ, wire.ReadRequest(path="/etc/shadow"), wire.Data.FromString) as answers:
                await answers.receive()


class Actions:
    """Notes what the agent is asked to do, and answers as it does."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Mapping[str, Any]]] = []
        self.status = 0

    def __call__(self, _state: MemoryState) -> dict[str, Action]:
        return {name: self._action(name) for name in (APPLY, DRY_RUN, CONFIRM)}

    def _action(self, name: str) -> Action:
        async def act(call: ActionCall) -> AsyncGenerator[Mapping[str, Any], None]:
            self.calls.append((name, call.arguments))
            yield {"text": "x:1:1: warning: mind this\n\n"}
            yield {"text": "done\n", "status": self.status}

        return act


async def apply(channel: Channel, **fields: Any) -> wire.ApplyConfiguration:
    request = wire.ApplyConfigurationRequest(data=b"machine: {type: worker}", **fields)
    answer = await channel.unary(
        APPLY_CONFIGURATION, request, wire.ApplyConfigurationResponse.FromString, timeout=PATIENCE
    )
    (message,) = answer.messages
    return message


async def test_a_configuration_is_applied_in_the_modes_of_the_original() -> None:
    actions = Actions()
    async with api_node(actions=actions) as one, one.client() as admin:
        done = await apply(admin, mode=MODES.AUTO)
        assert (done.mode, done.mode_details) == (MODES.NO_REBOOT, "Applied configuration without a reboot")
        assert list(done.warnings) == ["x:1:1: warning: mind this"]
        assert actions.calls.pop() == (
            APPLY,
            {
                "files": [["the configuration", b"machine: {type: worker}"]],
                "wait": False,
                "caller": ["127.0.0.1", "", 50000],
            },
        )
        tried = await apply(admin, mode=MODES.TRY, try_mode_timeout=Duration(seconds=90))
        assert tried.mode_details.endswith("will be automatically reverted back in 1m30s")
        assert actions.calls.pop()[1]["timeout"] == "90.0s"
        staged = await apply(admin, mode=MODES.STAGED)
        assert staged.mode_details == "Staged configuration to be applied after the next reboot"
        assert actions.calls.pop()[1]["staged"] is True
        # A further one that is to stay ends the trial without going back.
        await one.node.put(ConfigStatus, CONFIG_STATUS_ID, ConfigStatusSpec(trial_until=NOW))
        await apply(admin, mode=MODES.NO_REBOOT)
        assert [name for name, _ in actions.calls] == [DRY_RUN, CONFIRM, APPLY]
        dry = await apply(admin, mode=MODES.AUTO, dry_run=True)
        assert actions.calls.pop()[0] == DRY_RUN
        assert dry.mode_details.startswith(
            "Dry run summary:\nApplied configuration without a reboot (skipped in dry-run).\n"
            "Config diff:\n\n--- a\n+++ b\n"
        )
        assert not dry.warnings
        for fields, code in (
            ({"mode": MODES.REBOOT}, Code.UNIMPLEMENTED),
            ({"mode": 17}, Code.INVALID_ARGUMENT),
            ({"mode": MODES.TRY, "try_mode_timeout": Duration(seconds=-1)}, Code.INVALID_ARGUMENT),
        ):
            with pytest.raises(CallError) as caught:
                await apply(admin, **fields)
            assert caught.value.code is code
        actions.status = 1
        with pytest.raises(CallError, match="mind this") as caught:
            await apply(admin, mode=MODES.AUTO)
        assert caught.value.code is Code.INVALID_ARGUMENT


async def versions(channel: Channel, *metadata: tuple[str, str]) -> wire.VersionResponse:
    return await channel.unary(VERSION, Empty(), wire.VersionResponse.FromString, metadata=metadata, timeout=PATIENCE)


async def test_a_call_is_for_the_node_that_it_names() -> None:
    async with api_node("one") as one, api_node("two") as two, one.client() as admin, one.client(READER) as reader:
        for target in (one.address, "one", "ONE.example.", "127.0.0.1"):
            assert "hostname: one" in await hostname(admin, target)
        assert "hostname: two" in await hostname(admin, two.address)
        await one.node.put(Member, "two", MemberSpec(hostname="Two.example", addresses=(two.address, "192.0.2.1")))
        for target in ("two", "two.example"):
            assert "hostname: two" in await hostname(admin, target)
        # The client's roles go with the call.
        assert "hostname: two" in await hostname(reader, two.address)
        request = cosi.GetRequest(namespace="secrets", type=OSRoot.name, id="os")
        error = await refused(reader, GET, request, metadata=[("node", two.address)])
        assert error.code is Code.PERMISSION_DENIED
        listed = []
        async with admin.stream(
            LIST,
            cosi.ListRequest(namespace="network", type=HostnameStatus.name),
            cosi.ListResponse.FromString,
            metadata=[("node", two.address)],
        ) as answers:
            async for answer in answers:
                listed.append(answer.resource.spec.yaml_spec)
        assert len(listed) == 1
        assert "hostname: two" in listed[0]
        for metadata in ([("node", "a"), ("node", "b")], [("nodes", "a")], [("node", "a b")], [("node", "x" * 300)]):
            error = await refused(admin, GET, request, metadata=metadata)
            assert error.code is Code.INVALID_ARGUMENT


async def hostname(channel: Channel, target: str) -> str:
    return (await get(channel, HostnameStatus, "hostname", metadata=[("node", target)])).spec.yaml_spec


async def test_several_nodes_answer_each_by_the_name_it_was_asked_by() -> None:
    async with api_node("one") as one, api_node("two") as two, one.client() as admin:
        nobody = one.address.rpartition(".")[0] + ".250"
        found = await versions(admin, ("nodes", "one"), ("nodes", two.address), ("nodes", nobody))
        assert [(each.metadata.hostname, each.version.tag) for each in found.messages] == [
            ("one", "v1.2.3"),
            (two.address, "v1.2.3"),
            (nobody, ""),
        ]
        assert found.messages[2].metadata.status.code == Code.UNAVAILABLE
        assert nobody in found.messages[2].metadata.error
        # What comes from another node is answered here, whatever else it names.
        local = await versions(admin, ("nodes", two.address), ("proxyfrom", "elsewhere"))
        assert [each.metadata.hostname for each in local.messages] == [""]


async def test_a_worker_gets_its_certificate_from_a_control_plane_and_forwards_nothing() -> None:
    async with api_node("one") as one:
        extra = f"cluster: {{controlPlane: {{endpoint: 'https://{one.address}:6443'}}}}\n"
        async with api_node("two", has_key=False, extra=extra) as two:
            await two.node.eventually(APICertificate, API_ID)
            await two.listens()
            async with two.client() as admin:
                assert "hostname: two" in await hostname(admin, two.address)
                request = cosi.GetRequest(namespace="network", type=HostnameStatus.name, id="hostname")
                error = await refused(admin, GET, request, metadata=[("node", one.address)])
                assert error.code is Code.PERMISSION_DENIED
                assert "cannot act for others" in str(error)
            assert "hostname: two" in await hostname_through(one, two)


async def test_a_request_for_a_certificate_is_made_once_until_there_is_one() -> None:
    made: list[str] = []

    async def counted(function: str, request: bytes) -> bytes:
        made.append(function.rpartition(":")[2])
        return await in_process(function, request)

    service = TrustService(errand=counted)
    ca = CertificateAndKey(crt=AUTHORITY.certificate.decode())
    root = OSRootSpec(issuing_ca=ca, accepted_cas=(ca.crt,), token=TOKEN)
    sans = CertSANSpec(ips=("192.0.2.1",), dns_names=("one",), fqdn="one")
    async with api_node("one") as one:
        nobody = one.address.rpartition(".")[0] + ".250"
        for _ in range(2):
            with pytest.raises(IssuerError, match="no control plane issues"):
                await service.issue(root, sans, [nobody])
        first = await service.issue(root, sans, [one.address])
        second = await service.issue(root, sans, [one.address])
        with pytest.raises(IssuerError, match="no control plane issues"):
            await service.issue(root, attrs.evolve(sans, fqdn="two"), [nobody])
    assert made == ["prepare", "check", "prepare", "check", "prepare"]
    assert first.key != second.key


def test_a_client_whose_certificate_cannot_be_read_is_told_why() -> None:
    with pytest.raises(RPCError, match="your certificate cannot be read: the certificate is cut off") as caught:
        client_roles(Call(None, Peer(certificate=b"\x30\x02\x30"), (), 0.0, None, None))  # type: ignore[arg-type]
    assert caught.value.code is Code.UNAUTHENTICATED


async def hostname_through(one: APINode, other: APINode) -> str:
    async with one.client() as admin:
        return await hostname(admin, other.address)
