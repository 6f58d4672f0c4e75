"""Virtual IPs at clouds, against servers of the tests' own."""

import json
import os
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from nodespan.controllers.common.http_client import Answer, FetchError, Request
from nodespan.controllers.common.web_access import WebAccess
from nodespan.controllers.network.vip.clouds.api import (
    ATTEMPTS,
    CloudAPI,
    CloudError,
    Dialect,
    Failure,
    NotPermittedError,
    field,
    metadata,
    no_permit,
    optional,
)
from nodespan.controllers.network.vip.clouds.cloud import Cloud, cloud_of
from nodespan.controllers.network.vip.clouds.endpoints import Endpoints
from nodespan.controllers.network.vip.clouds.hcloud import HCloud, _id
from nodespan.controllers.network.vip.clouds.token import TokenError, read_token
from nodespan.resources.network import VIPEquinixMetalSpec, VIPHCloudSpec, VIPOperatorSpec
from tests.support.certificates import Authority
from tests.support.clouds import AUTHORITY, TOKEN, Clouds, FloatingIP, Network, Server, serving

ALIAS = "192.168.9.1"


def at_hetzner(**servers: list[str]) -> Clouds:
    """Servers `s1` and so on in network 33, with these alias IPs."""
    made = {int(name[1:]): Server({33: list(aliases)}) for name, aliases in servers.items()}
    networks = {32: Network("10.0.0.0/16"), 33: Network("192.168.0.0/16")}
    return Clouds(device="4711", servers=made, networks=networks)


def trusting(directory: Path) -> Callable[[], WebAccess]:
    """The authority of the clouds in this directory."""
    file = directory / AUTHORITY
    return lambda: WebAccess(trust=str(file), digest=file.read_text())


@asynccontextmanager
async def hcloud(clouds: Clouds, directory: Path, ip: str = ALIAS, token: str = TOKEN) -> AsyncIterator[Cloud]:
    async with serving(clouds, directory) as endpoints:
        vip = VIPOperatorSpec(ip=ip, gratuitous_arp=False, hcloud=VIPHCloudSpec(api_token=token))
        cloud = cloud_of(vip, endpoints, trusting(directory), random.Random(1))
        assert cloud is not None
        yield cloud


@asynccontextmanager
async def equinix_metal(clouds: Clouds, directory: Path, ip: str = "198.51.100.9") -> AsyncIterator[Cloud]:
    async with serving(clouds, directory) as endpoints:
        vip = VIPOperatorSpec(ip=ip, gratuitous_arp=False, equinix_metal=VIPEquinixMetalSpec(api_token=TOKEN))
        cloud = cloud_of(vip, endpoints, trusting(directory), random.Random(1))
        assert cloud is not None
        yield cloud


# Hetzner Cloud.


async def test_an_alias_ip_goes_from_one_server_to_another_and_the_others_stay(tmp_path: Path) -> None:
    clouds = at_hetzner(s1=["192.168.5.5", ALIAS], s2=[], s3=["192.168.7.7"], s4711=["10.1.1.1"])
    async with hcloud(clouds, tmp_path) as cloud:
        await cloud.resolve()
        assert not await cloud.is_ours()
        await cloud.acquire(no_permit)
        assert clouds.changes() == [
            'POST /v1/servers/1/actions/change_alias_ips {"network": 33, "alias_ips": ["192.168.5.5"]}',
            'POST /v1/servers/4711/actions/change_alias_ips {"network": 33, "alias_ips": ["10.1.1.1", "192.168.9.1"]}',
        ]
        assert await cloud.is_ours()
        await cloud.acquire(no_permit)
        assert clouds.changes() == []
        await cloud.release()
        assert clouds.changes() == [
            'POST /v1/servers/4711/actions/change_alias_ips {"network": 33, "alias_ips": ["10.1.1.1"]}'
        ]
        await cloud.release()
        assert clouds.changes() == []
        assert clouds.servers[1].aliases == {33: ["192.168.5.5"]}


async def test_two_virtual_ips_of_one_server_keep_each_other(tmp_path: Path) -> None:
    clouds = at_hetzner(s4711=["10.1.1.1"])
    other = "192.168.9.2"
    async with hcloud(clouds, tmp_path) as first:
        vip = VIPOperatorSpec(ip=other, hcloud=VIPHCloudSpec(api_token=TOKEN))
        second = cloud_of(vip, clouds.endpoints(), trusting(tmp_path))
        assert second is not None
        for change in (lambda cloud: cloud.acquire(no_permit), lambda cloud: cloud.release()):
            async with trio.open_nursery() as nursery:
                for cloud in (first, second):
                    await cloud.resolve()
                    nursery.start_soon(change, cloud)
            has = {ALIAS, other} & set(clouds.servers[4711].aliases[33])
            assert has in ({ALIAS, other}, set())
            assert "10.1.1.1" in clouds.servers[4711].aliases[33]
        assert clouds.servers[4711].aliases == {33: ["10.1.1.1"]}


async def test_two_servers_take_an_address_in_turn(tmp_path: Path) -> None:
    clouds = at_hetzner(s1=[], s2=[])
    clouds.device = "1"
    async with hcloud(clouds, tmp_path) as first:
        await first.resolve()
        await first.acquire(no_permit)
        clouds.device = "2"
        endpoints = clouds.endpoints()
        vip = VIPOperatorSpec(ip=ALIAS, hcloud=VIPHCloudSpec(api_token=TOKEN))
        second = cloud_of(vip, endpoints, trusting(tmp_path))
        assert second is not None
        await second.resolve()
        await second.acquire(no_permit)
        assert (await first.is_ours(), await second.is_ours()) == (False, True)
        # It was taken from the first already: letting go of it touches nothing of the second.
        await first.release()
        assert await second.is_ours()
        await first.acquire(no_permit)
        assert (await first.is_ours(), await second.is_ours()) == (True, False)
        await first.release()
        await second.acquire(no_permit)
        await second.release()
        assert [server.aliases for server in clouds.servers.values()] == [{33: []}, {33: []}]


@pytest.mark.parametrize(("ip", "listed"), [("203.0.113.7", "203.0.113.7"), ("2001:db8:1::1", "2001:db8:1::/64")])
async def test_a_public_address_is_a_floating_ip(tmp_path: Path, ip: str, listed: str) -> None:
    clouds = at_hetzner(s4711=[])
    clouds.floating = {number: FloatingIP(f"203.0.113.{number}") for number in (1, 2, 3)} | {9: FloatingIP(listed, 5)}
    async with hcloud(clouds, tmp_path, ip) as cloud:
        await cloud.resolve()
        await cloud.acquire(no_permit)
        assert clouds.changes() == ['POST /v1/floating_ips/9/actions/assign {"server": 4711}']
        assert await cloud.is_ours()
        await cloud.acquire(no_permit)
        await cloud.release()
        assert clouds.changes() == []
        clouds.floating[9].server = 5
        assert not await cloud.is_ours()


async def test_a_floating_ip_that_is_not_there_is_named(tmp_path: Path) -> None:
    async with hcloud(at_hetzner(s4711=[]), tmp_path, "203.0.113.7") as cloud:
        await cloud.resolve()
        with pytest.raises(CloudError, match=r'error assigning "203\.0\.113\.7" to server 4711 in network 0'):
            await cloud.acquire(no_permit)


async def test_a_private_address_needs_a_private_network(tmp_path: Path) -> None:
    clouds = at_hetzner()
    clouds.servers[4711] = Server()
    async with hcloud(clouds, tmp_path) as cloud:
        with pytest.raises(CloudError, match="no private network is assigned to the server"):
            await cloud.resolve()
    # In none of the networks: then it may be a floating IP.
    clouds.servers[4711] = Server({32: []})
    clouds.floating = {7: FloatingIP(ALIAS)}
    async with hcloud(clouds, tmp_path) as cloud:
        await cloud.resolve()
        await cloud.acquire(no_permit)
        assert clouds.floating[7].server == 4711


async def test_a_machine_of_another_cloud_and_a_wrong_token_are_named(tmp_path: Path) -> None:
    clouds = at_hetzner(s4711=[])
    async with hcloud(clouds, tmp_path, token="wrong") as cloud:
        clouds.failures = [(404, None)]
        with pytest.raises(CloudError, match="metadata service of Hetzner Cloud answers 404: is this one of its"):
            await cloud.resolve()
        clouds.failures = [(200, "me")]
        with pytest.raises(CloudError, match="does not tell the number"):
            await cloud.resolve()
        with pytest.raises(CloudError, match="GET servers/4711: 401: unauthorized: unable to authenticate"):
            await cloud.resolve()


# Equinix Metal.


async def test_an_elastic_ip_is_taken_away_then_assigned(tmp_path: Path) -> None:
    clouds = Clouds(device="device-1", assignments={"old": ("198.51.100.9", "device-0"), "x": ("198.51.100.3", "d")})
    async with equinix_metal(clouds, tmp_path) as cloud:
        await cloud.resolve()
        assert not await cloud.is_ours()
        await cloud.acquire(no_permit)
        assert clouds.changes() == [
            "DELETE /metal/v1/ips/old",
            'POST /metal/v1/devices/device-1/ips {"address": "198.51.100.9"}',
        ]
        assert clouds.assignments == {"x": ("198.51.100.3", "d"), "assignment-1": ("198.51.100.9", "device-1")}
        assert await cloud.is_ours()
        await cloud.acquire(no_permit)
        assert clouds.changes() == []
        # Another node took it: what is released then is ours only, which is gone.
        clouds.assignments = {"theirs": ("198.51.100.9", "device-2")}
        assert not await cloud.is_ours()
        await cloud.release()
        assert clouds.changes() == ["DELETE /metal/v1/ips/assignment-1"]
        await cloud.release()
        assert clouds.changes() == []
        assert clouds.assignments == {"theirs": ("198.51.100.9", "device-2")}


async def test_ids_that_would_lead_elsewhere_are_refused(tmp_path: Path) -> None:
    clouds = Clouds(device="../../projects")
    async with equinix_metal(clouds, tmp_path) as cloud:
        with pytest.raises(CloudError, match="is not an id"):
            await cloud.resolve()
        assert len(clouds.asked) == 1


# The API.


def failure(content: object) -> Failure:
    return Failure(code=str(optional(content, str, "code") or "")) if isinstance(content, dict) else Failure()


class Answers:
    """Answers in their order, and when each was asked for."""

    def __init__(self, *answers: Answer | FetchError | None) -> None:
        self.left = list(answers)
        self.times: list[float] = []
        self.requests: list[Request] = []
        self.proxies: list[str] = []

    async def __call__(self, request: Request, tls: object, *, proxy: str = "") -> Answer:
        self.times.append(trio.current_time())
        self.proxies.append(proxy)
        self.requests.append(request)
        answer = self.left.pop(0)
        if answer is None:
            await trio.sleep_forever()
        if isinstance(answer, FetchError):
            raise answer
        assert answer is not None
        return answer


def api(answers: Answers, token: str = TOKEN, access: Callable[[], WebAccess] = WebAccess) -> CloudAPI:
    dialect = Dialect(name="the cloud", authorize=lambda token: {}, failure=failure, again_codes=("conflict",))
    return CloudAPI("http://192.0.2.1", token, dialect, access=access, random=None, fetch=answers)


OK = Answer(status=200, body=b'{"a": 1}')
BUSY = Answer(status=409, body=json.dumps({"code": "conflict"}).encode())


@pytest.mark.virtual_clock
@pytest.mark.parametrize(
    ("answers", "waits"),
    [
        ((OK,), []),
        ((BUSY, OK), [1.0]),
        ((Answer(status=502), Answer(status=504), FetchError("reset"), OK), [1.0, 2.0, 4.0]),
        ((None, OK), [11.0]),
    ],
)
async def test_failures_that_may_pass_are_tried_again(
    answers: tuple[Answer | FetchError | None, ...], waits: list[float]
) -> None:
    asked = Answers(*answers)
    assert await api(asked).get("x") == {"a": 1}
    assert [after - before for before, after in zip(asked.times, asked.times[1:], strict=False)] == waits


@pytest.mark.virtual_clock
async def test_only_so_many_times_and_not_what_will_not_pass() -> None:
    asked = Answers(*[BUSY] * 9)
    with pytest.raises(CloudError, match="the cloud: GET x: 409: conflict"):
        await api(asked).get("x")
    assert len(asked.times) == ATTEMPTS
    asked = Answers(Answer(status=403, reason="Forbidden", body=b"<html>"))
    with pytest.raises(CloudError, match="the cloud: POST x: 403 Forbidden"):
        await api(asked).post("x", {}, no_permit)
    assert len(asked.times) == 1


async def test_requests_go_through_the_proxy_of_the_environment_at_that_moment() -> None:
    asked = Answers(OK, OK, OK)
    variables = [("http_proxy=http://192.0.2.3:3128",), ("HTTP_PROXY=http://192.0.2.4:1", "NO_PROXY=192.0.2.1"), ()]
    through = api(asked, access=lambda: WebAccess(variables=variables.pop(0)))
    for _ in range(3):
        await through.get("x")
    assert asked.proxies == ["http://192.0.2.3:3128", "", ""]
    # The metadata service tells who asks by where the request comes from.
    asked = Answers(OK)
    await metadata(
        "http://192.0.2.1/", "x", access=WebAccess(variables=("http_proxy=http://192.0.2.3:1",)), fetch=asked
    )
    assert asked.proxies == [""]


@pytest.mark.virtual_clock
async def test_a_proxy_that_becomes_known_during_a_call_is_used_by_its_next_attempt() -> None:
    asked = Answers(BUSY, FetchError("no route"), OK)
    known = [WebAccess(), WebAccess(), WebAccess(variables=("http_proxy=http://192.0.2.3:3128",))]
    assert await api(asked, access=lambda: known.pop(0)).get("x") == {"a": 1}
    assert asked.proxies == ["", "", "http://192.0.2.3:3128"]


@pytest.mark.virtual_clock
async def test_a_proxy_that_is_none_is_named_without_its_password() -> None:
    asked = Answers()
    bad = WebAccess(variables=("http_proxy=ftp://user:secret@x",))
    with pytest.raises(CloudError, match="names a proxy that cannot be used") as caught:
        await api(asked, access=lambda: bad).get("x")
    assert "secret" not in str(caught.value)
    assert asked.requests == []


async def test_authorities_that_come_later_count_from_the_next_request_on(tmp_path: Path) -> None:
    clouds = at_hetzner(s4711=[])
    async with serving(clouds, tmp_path) as endpoints:
        (tmp_path / "other.crt").write_bytes(Authority("other").pem)
        access = [WebAccess(trust=str(tmp_path / "other.crt")), WebAccess(trust=str(tmp_path / "nowhere"))]
        now = access[0]
        vip = VIPOperatorSpec(ip=ALIAS, gratuitous_arp=False, hcloud=VIPHCloudSpec(device_id=4711, api_token=TOKEN))
        cloud = cloud_of(vip, endpoints, lambda: now)
        assert cloud is not None
        for now, said in zip(access, ("its certificate is refused", "authorities cannot be read"), strict=True):
            with pytest.raises(CloudError, match=said):
                await metadata(endpoints.hcloud_metadata, "x", access=now)
        now = WebAccess(trust=str(tmp_path / AUTHORITY))
        await cloud.resolve()
        await cloud.acquire(no_permit)
        assert clouds.servers[4711].aliases[33] == [ALIAS]


def server_with(*aliases: str) -> Answer:
    server = {"id": 4711, "private_net": [{"network": 33, "alias_ips": list(aliases)}]}
    return Answer(status=200, body=json.dumps({"servers": [server]}).encode())


@pytest.mark.virtual_clock
async def test_lists_are_read_again_where_another_machine_was_faster() -> None:
    asked = Answers(server_with(), BUSY, server_with("192.168.9.2"), OK)
    cloud = HCloud(ALIAS, VIPHCloudSpec(device_id=4711, network_id=33, api_token=TOKEN), Endpoints(), WebAccess)
    cloud._api = api(asked)
    await cloud.acquire(no_permit)
    sent = [json.loads(request.body)["alias_ips"] for request in asked.requests if request.method == "POST"]
    assert sent == [[ALIAS], ["192.168.9.2", ALIAS]]
    # What rests on nothing that was read may be sent again.
    asked = Answers(BUSY, OK)
    await api(asked).post("x", {}, no_permit)
    assert len(asked.requests) == 2


@pytest.mark.parametrize(
    "text", [b"0", b"", b"-1", b"4711 4712", "٤".encode(), b"1" * 19, b"0" * 19 + b"1" + b"0" * 5000]
)
def test_a_number_of_a_server_is_one(text: bytes) -> None:
    with pytest.raises(CloudError, match="does not tell the number"):
        _id(text)


@pytest.mark.virtual_clock
async def test_whether_this_node_leads_is_asked_before_each_request_that_changes_something() -> None:
    asked, permits = Answers(BUSY, OK), [True, False]

    def permit() -> None:
        if not permits.pop(0):
            raise NotPermittedError

    with pytest.raises(NotPermittedError):
        await api(asked).post("x", {}, permit)
    assert (len(asked.times), permits) == (1, [])


@pytest.mark.parametrize("body", [b"<html>", b"[" * 100_000, b"\xff"])
async def test_an_answer_that_is_not_json_is_named(body: bytes) -> None:
    with pytest.raises(CloudError, match="the answer is not JSON"):
        await api(Answers(Answer(status=200, body=body))).get("x")


async def test_pages_end() -> None:
    endless = Answer(status=200, body=b'{"a": [1], "meta": {"pagination": {"next_page": 2}}}')
    with pytest.raises(CloudError, match="more than 200 pages"):
        await api(Answers(*[endless] * 300)).get_all("x", "a")


@pytest.mark.parametrize(
    ("data", "keys", "error"),
    [
        ({}, ("a",), "has no a"),
        ({"a": None}, ("a", "b"), "has no a.b"),
        ({"a": []}, ("a", "b"), "something else than a.b"),
        ([], ("a",), "something else than a"),
        ({"a": "1"}, ("a",), "a of the answer of the API is something else"),
        ({"a": True}, ("a",), "something else"),
    ],
)
def test_each_field_of_an_answer_is_checked(data: object, keys: tuple[str, ...], error: str) -> None:
    with pytest.raises(CloudError, match=error):
        field(data, int, *keys)
    assert field({"a": {"b": 5}}, int, "a", "b") == 5


# Tokens.


def test_a_token_stands_in_the_configuration_a_file_or_a_variable(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    file.chmod(0o600)
    assert read_token(TOKEN, {}) == TOKEN
    assert read_token(f"file:{file}", {}) == TOKEN
    assert read_token("env:HCLOUD_TOKEN", {"HCLOUD_TOKEN": TOKEN}) == TOKEN


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "there is no apiToken"),
        ("two words", "is no token"),
        ("a\nb: c", "is no token"),
        ("x" * 5000, "is no token"),
        ("env:HCLOUD_TOKEN", "has no HCLOUD_TOKEN"),
        ("file:relative", "is not an absolute path"),
        ("file:/nowhere/token", "cannot be read: No such file"),
    ],
)
def test_what_is_no_token_is_named_without_repeating_it(text: str, error: str) -> None:
    with pytest.raises(TokenError, match=error) as raised:
        read_token(text, {})
    assert "two words" not in str(raised.value)


def test_a_file_that_any_user_can_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(TOKEN)
    os.chmod(file, 0o644)
    with pytest.raises(TokenError, match="can be read by any user: chmod 0600"):
        read_token(f"file:{file}", {})
