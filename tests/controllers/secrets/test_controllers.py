"""The secrets of the API, from the configuration to the certificate, in virtual time."""

import datetime
from collections.abc import Sequence
from ipaddress import ip_address

import pytest
import trio

from nodespan.controllers.config.loading import load
from nodespan.controllers.secrets.api import APIController, Issuer
from nodespan.controllers.secrets.authority import issue_server, load_certificate, new_authority
from nodespan.controllers.secrets.cert_sans import APICertSANsController
from nodespan.controllers.secrets.errors import IssuerError
from nodespan.controllers.secrets.key_pair import KeyPair, certificate_of, encode_pem
from nodespan.controllers.secrets.os_root import RootOSController
from nodespan.resources.config import MACHINE_CONFIG_ID, MachineConfig
from nodespan.resources.network import HOSTNAME_ID, HostnameStatus, HostnameStatusSpec, NodeAddress, NodeAddressSpec
from nodespan.resources.network.node_address import ACCUMULATIVE_ADDRESSES_ID
from nodespan.resources.runtime import TIME_ID, TimeStatus, TimeStatusSpec
from nodespan.resources.secrets import (
    API_ID,
    OS_ROOT_ID,
    APICertificate,
    APICertificateSpec,
    CertSAN,
    CertSANSpec,
    OSRoot,
    OSRootSpec,
)
from nodespan.runtime.controller import Controller
from nodespan.runtime.process.errand import ErrandError
from nodespan.runtime.resource import Resource
from nodespan.runtime.testing.kit import Node, running
from tests.support.errands import in_process

START = datetime.datetime(2026, 11, 29, tzinfo=datetime.UTC)
AUTHORITY = new_authority(START)


def now() -> datetime.datetime:
    """Wall time that goes with trio's clock."""
    return START + datetime.timedelta(seconds=trio.current_time() - ZERO[0])


ZERO = [0.0]


class Remote:
    """An issuer elsewhere, which may be unreachable."""

    def __init__(self) -> None:
        self.is_reachable = False
        self.calls = 0

    async def issue(self, root: OSRootSpec, sans: CertSANSpec, control_planes: Sequence[str]) -> KeyPair:
        self.calls += 1
        await trio.lowlevel.checkpoint()
        if not self.is_reachable:
            raise IssuerError("nobody answers")
        return issue_server(AUTHORITY, sans.fqdn, map(ip_address, sans.ips), sans.dns_names, now())


def controllers(issuer: Issuer) -> Sequence[Controller]:
    return RootOSController(), APICertSANsController(), APIController(issuer, now=now, errand=in_process)


def config_text(*, has_key: bool) -> str:
    key = f", key: {encode_pem(AUTHORITY.key)}" if has_key else ""
    return (
        f"machine: {{type: controlplane, token: abc, certSANs: [192.0.2.7, api.example], "
        f"ca: {{crt: {encode_pem(AUTHORITY.certificate)}{key}}}}}\n"
        "---\n{apiVersion: nodespan.dev/v1alpha1, kind: NodespanConfig, api: {listen: '127.0.0.1:50000'}}\n"
    )


async def configure(node: Node, text: str) -> None:
    loaded = load(text)
    assert not loaded.errors, loaded.errors
    await node.put(MachineConfig, MACHINE_CONFIG_ID, loaded.config)


async def describe(node: Node) -> None:
    await node.put(HostnameStatus, HOSTNAME_ID, HostnameStatusSpec(hostname="one", domainname="example"))
    await node.put(NodeAddress, ACCUMULATIVE_ADDRESSES_ID, NodeAddressSpec(addresses=("10.0.0.1/24", "fd00::1/64")))


@pytest.mark.virtual_clock
async def test_a_control_plane_issues_its_own_certificate_and_renews_it() -> None:
    ZERO[0] = trio.current_time()
    remote = Remote()
    async with running(
        RootOSController(), APICertSANsController(), APIController(remote, now=now, errand=in_process)
    ) as node:
        await configure(node, config_text(has_key=True))
        await describe(node)
        sans = await node.eventually(
            CertSAN, API_ID, lambda found: "10.0.0.1" in found.spec.ips and found.spec.fqdn != ""
        )
        assert sans.spec.ips == ("192.0.2.7", "10.0.0.1", "fd00::1", "127.0.0.1", "::1")
        assert sans.spec.dns_names == ("api.example", "localhost", "one", "one.example")
        first = await node.eventually(
            APICertificate, API_ID, lambda found: "api.example" in names(found.spec.server.crt)
        )
        assert first.spec.expires == now().replace(microsecond=0) + datetime.timedelta(hours=24)
        await trio.sleep(13 * 3600)
        second = await node.eventually(
            APICertificate, API_ID, lambda found: found.spec.server.crt != first.spec.server.crt
        )
        assert second.spec.expires is not None
        assert first.spec.expires is not None
        assert second.spec.expires - first.spec.expires > datetime.timedelta(hours=11)
        assert remote.calls == 0
        await node.destroy(MachineConfig, MACHINE_CONFIG_ID)
        await node.gone(APICertificate, API_ID)
        await node.gone(OSRoot, OS_ROOT_ID)


@pytest.mark.virtual_clock
async def test_a_worker_requests_until_it_gets_one_and_keeps_it_while_there_is_no_answer() -> None:
    ZERO[0] = trio.current_time()
    remote = Remote()
    async with running(
        RootOSController(), APICertSANsController(), APIController(remote, now=now, errand=in_process)
    ) as node:
        await describe(node)
        await configure(node, config_text(has_key=False))
        await trio.sleep(200)
        assert remote.calls > 1
        assert node.state.find(APICertificate, API_ID) is None
        remote.is_reachable = True
        first = await node.eventually(APICertificate, API_ID, within=200)
        assert load_certificate(first.spec.server.crt.encode()).subject.rfc4514_string() == "CN=one.example"
        remote.is_reachable = False
        await trio.sleep(14 * 3600)
        assert node.state.get(APICertificate, API_ID).spec == first.spec
        remote.is_reachable = True
        await node.eventually(APICertificate, API_ID, lambda found: found.spec != first.spec, within=200)


@pytest.mark.virtual_clock
@pytest.mark.parametrize(
    ("time", "status", "waits"),
    [
        ("{bootTimeout: 2m}", None, 120.0),
        ("{bootTimeout: 2m}", TimeStatusSpec(), 120.0),
        ("{bootTimeout: 2m}", TimeStatusSpec(synced=True), 0.0),
        ("{bootTimeout: 2m, disabled: true}", None, 0.0),
        # Without a limit it does not wait: a machine whose clock cannot be set stays reachable.
        ("{servers: [ntp.example]}", TimeStatusSpec(), 0.0),
    ],
)
async def test_the_api_waits_for_the_clock_as_long_as_is_configured(
    time: str, status: TimeStatusSpec | None, waits: float
) -> None:
    ZERO[0] = trio.current_time()
    async with running(
        RootOSController(), APICertSANsController(), APIController(Remote(), now=now, errand=in_process)
    ) as node:
        if status is not None:
            await node.put(TimeStatus, TIME_ID, status)
        await configure(node, config_text(has_key=True).replace("{type:", f"{{time: {time}, type:", 1))
        await describe(node)
        await node.eventually(APICertificate, API_ID, within=200)
        assert waits <= trio.current_time() - ZERO[0] <= waits + 61


@pytest.mark.virtual_clock
async def test_the_api_goes_on_once_the_clock_is_synchronized() -> None:
    ZERO[0] = trio.current_time()
    async with running(
        RootOSController(), APICertSANsController(), APIController(Remote(), now=now, errand=in_process)
    ) as node:
        await configure(node, config_text(has_key=True).replace("{type:", "{time: {bootTimeout: 1h}, type:", 1))
        await describe(node)
        await trio.sleep(300)
        assert node.state.find(APICertificate, API_ID) is None
        await node.put(TimeStatus, TIME_ID, TimeStatusSpec(synced=True))
        await node.eventually(APICertificate, API_ID, within=1)


@pytest.mark.virtual_clock
async def test_an_authority_that_cannot_be_used_is_none() -> None:
    other = new_authority(START)
    text = config_text(has_key=True).replace(encode_pem(AUTHORITY.key), encode_pem(other.key))
    async with running(RootOSController()) as node:
        await configure(node, text)
        await trio.testing.wait_all_tasks_blocked()
        assert node.state.find(OSRoot, OS_ROOT_ID) is None
        await configure(node, config_text(has_key=True))
        root = await node.eventually(OSRoot, OS_ROOT_ID)
        assert AUTHORITY.key.decode() not in repr(root)
        assert "abc" not in repr(root)


def known(sans: CertSANSpec) -> set[str]:
    return {*sans.ips, *sans.dns_names}


def names(certificate: str) -> tuple[str, ...]:
    return certificate_of(certificate.encode()).dns_names


@pytest.mark.virtual_clock
async def test_a_node_that_gets_the_key_or_loses_it_acts_for_others_or_no_longer() -> None:
    ZERO[0] = trio.current_time()
    remote = Remote()
    remote.is_reachable = True
    async with running(
        RootOSController(), APICertSANsController(), APIController(remote, now=now, errand=in_process)
    ) as node:
        await describe(node)
        for has_key in (False, True, False):

            def acts(found: Resource[APICertificateSpec], has_key: bool = has_key) -> bool:
                return bool(found.spec.client.key) is has_key

            await configure(node, config_text(has_key=has_key))
            await node.eventually(APICertificate, API_ID, acts)


@pytest.mark.virtual_clock
async def test_without_an_api_that_listens_no_certificate_is_issued() -> None:
    ZERO[0] = trio.current_time()
    remote = Remote()
    remote.is_reachable = True
    for has_key in (False, True):
        async with running(*controllers(remote)) as node:
            await describe(node)
            text = config_text(has_key=has_key)
            await configure(node, text.partition("---")[0])
            await node.eventually(OSRoot, OS_ROOT_ID)
            await trio.sleep(200)
            assert node.state.find(APICertificate, API_ID) is None
            assert remote.calls == 0
            if has_key:
                await configure(node, text)
                first = await node.eventually(APICertificate, API_ID)
                await configure(node, text.partition("---")[0])
                await node.gone(APICertificate, API_ID)
                await configure(node, text)
                assert (await node.eventually(APICertificate, API_ID)).spec == first.spec


@pytest.mark.virtual_clock
async def test_a_certificate_stays_in_use_while_no_process_can_issue_the_next() -> None:
    ZERO[0] = trio.current_time()
    broken = [True]

    async def errand(function: str, request: bytes) -> bytes:
        if broken[0]:
            raise ErrandError("this program was installed again while it ran: restart it")
        return await in_process(function, request)

    api = APIController(Remote(), now=now, errand=errand)
    async with running(RootOSController(), APICertSANsController(), api) as node:
        await describe(node)
        await configure(node, config_text(has_key=True))
        await trio.sleep(100)
        assert node.state.find(APICertificate, API_ID) is None
        broken[0] = False
        first = await node.eventually(APICertificate, API_ID, within=100)
        broken[0] = True
        await trio.sleep(13 * 3600)
        assert node.state.get(APICertificate, API_ID).spec == first.spec
        broken[0] = False
        await node.eventually(APICertificate, API_ID, lambda found: found.spec != first.spec, within=200)


@pytest.mark.virtual_clock
async def test_whom_the_configuration_does_not_trust_any_more_is_out_before_the_next_certificate_is_issued() -> None:
    ZERO[0] = trio.current_time()
    may_go_on = [trio.Event()]
    may_go_on[0].set()

    async def errand(function: str, request: bytes) -> bytes:
        await may_go_on[0].wait()
        return await in_process(function, request)

    other, third = new_authority(START), new_authority(START)
    api = APIController(Remote(), now=now, errand=errand)
    async with running(RootOSController(), APICertSANsController(), api) as node:
        await describe(node)
        text = config_text(has_key=True)
        accepting = text.replace("certSANs:", f"acceptedCAs: [{{crt: {encode_pem(other.certificate)}}}], certSANs:")
        await configure(node, accepting)
        await node.eventually(APICertificate, API_ID, lambda found: len(found.spec.accepted_cas) == 2)
        may_go_on[0] = trio.Event()
        # One fewer, and another name, for which there is no certificate yet.
        await configure(node, text.replace("api.example", "other.example"))
        await node.eventually(APICertificate, API_ID, lambda found: len(found.spec.accepted_cas) == 1)
        assert "api.example" in names(node.state.get(APICertificate, API_ID).spec.server.crt)
        may_go_on[0].set()
        await node.eventually(APICertificate, API_ID, lambda found: "other.example" in names(found.spec.server.crt))
        may_go_on[0] = trio.Event()
        for old, new in ((AUTHORITY.certificate, third.certificate), (AUTHORITY.key, third.key)):
            text = text.replace(encode_pem(old), encode_pem(new))
        await configure(node, text)
        await node.gone(APICertificate, API_ID)
        may_go_on[0].set()
        last = await node.eventually(APICertificate, API_ID)
        assert last.spec.accepted_cas == (third.certificate.decode(),)


@pytest.mark.virtual_clock
async def test_a_change_of_the_configuration_does_not_wait_for_a_control_plane_that_does_not_answer() -> None:
    ZERO[0] = trio.current_time()
    other, hangs, asked = new_authority(START), [False], []

    class Hanging(Remote):
        async def issue(self, root: OSRootSpec, sans: CertSANSpec, control_planes: Sequence[str]) -> KeyPair:
            asked.append((root.token, sans.fqdn))
            if hangs[0]:
                await trio.sleep_forever()
            return await super().issue(root, sans, control_planes)

    remote = Hanging()
    remote.is_reachable = True
    async with running(*controllers(remote)) as node:
        await describe(node)
        text = config_text(has_key=False)
        accepting = text.replace("certSANs:", f"acceptedCAs: [{{crt: {encode_pem(other.certificate)}}}], certSANs:")
        await configure(node, accepting)
        await node.eventually(APICertificate, API_ID, lambda found: len(found.spec.accepted_cas) == 2)
        await node.settled()
        hangs[0] = True
        asked.clear()
        await node.put(HostnameStatus, HOSTNAME_ID, HostnameStatusSpec(hostname="two", domainname="example"))
        await trio.sleep(1)
        # A change of names alone does not have it begin again.
        await node.put(HostnameStatus, HOSTNAME_ID, HostnameStatusSpec(hostname="three", domainname="example"))
        await trio.sleep(1)
        assert asked == [("abc", "two.example")]
        await configure(node, text.replace("abc", "def"))
        await trio.sleep(1)
        assert len(node.state.get(APICertificate, API_ID).spec.accepted_cas) == 1
        assert asked[1:] == [("def", "three.example")]
        await configure(node, text.partition("---")[0])
        await trio.sleep(1)
        assert node.state.find(APICertificate, API_ID) is None
        await configure(node, text)
        await trio.sleep(1)
        hangs[0] = False
        await configure(node, text.replace("abc", "ghi"))
        found = await node.eventually(APICertificate, API_ID, lambda found: "three" in names(found.spec.server.crt)[-1])
        assert asked[-1] == ("ghi", "three.example")
        assert len(found.spec.accepted_cas) == 1


@pytest.mark.virtual_clock
async def test_what_could_not_be_issued_is_not_tried_with_each_change() -> None:
    ZERO[0] = trio.current_time()
    tried: list[float] = []

    async def errand(_function: str, _request: bytes) -> bytes:
        tried.append(trio.current_time())
        raise ErrandError("this program was installed again while it ran: restart it")

    remote = Remote()
    api = APIController(remote, now=now, errand=errand)
    async with running(RootOSController(), APICertSANsController(), api) as node:
        for has_key in (True, False):
            await configure(node, config_text(has_key=has_key))
            for number in range(1, 121):
                address = NodeAddressSpec(addresses=(f"10.0.0.{number if has_key else 1}/24",))
                await node.put(NodeAddress, ACCUMULATIVE_ADDRESSES_ID, address)
                await node.put(HostnameStatus, HOSTNAME_ID, HostnameStatusSpec(hostname="one"))
                await node.put(TimeStatus, TIME_ID, TimeStatusSpec(synced=bool(number % 2)))
                await trio.sleep(1)
        # The processes once a minute whatever changes; the control planes also for each other name that is asked for.
        assert len(tried) in (2, 3)
        assert 2 <= remote.calls <= 4
