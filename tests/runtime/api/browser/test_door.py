"""Who may come in: tokens, cookies, certificates, and the names that a server is called by."""

import pytest

from nodespan.runtime.api.browser.door import (
    CertificateDoor,
    Rights,
    TokenDoor,
    comes_from_elsewhere,
    host_name,
    host_names,
    new_token,
)
from nodespan.runtime.api.pages import Request

DOOR = TokenDoor(token="right", name="session")


def request(target: str = "/", certificate: bytes | None = None, **headers: str) -> Request:
    fields = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return Request(method="GET", target=target, headers=fields, certificate=certificate)


@pytest.mark.parametrize(
    ("field", "name"),
    [
        ("localhost:8080", "localhost"),
        ("LocalHost", "localhost"),
        ("localhost.", "localhost"),
        ("[::1]:9080", "::1"),
        ("127.0.0.1", "127.0.0.1"),
        ("evil.example:80", "evil.example"),
        ("user@localhost", ""),
        ("localhost/../x", ""),
        ("localhost\\evil", "localhost\\evil"),
        ("[::1", ""),
        ("", ""),
    ],
)
def test_the_name_of_a_host_field_is_without_its_port(field: str, name: str) -> None:
    assert host_name(field) == name


def test_only_names_of_this_server_are_answered() -> None:
    for host in ("localhost:1", "127.0.0.1:9080", "[::1]:9080"):
        assert DOOR.is_for_us(request(host=host))
    for host in ("evil.example", "127.0.0.1.evil.example", "localhost, evil.example", ""):
        assert not DOOR.is_for_us(request(host=host))
    named = TokenDoor(token="right", hosts=host_names(["dash.example.org", "fd00::1"]))
    assert named.is_for_us(request(host="dash.example.org"))
    assert named.is_for_us(request(host="[fd00::1]:80"))


def test_a_token_opens_a_session_that_is_not_the_token() -> None:
    cookie = DOOR.session(request("/?token=right"))
    assert cookie is not None
    assert "right" not in cookie
    assert cookie.endswith("; Path=/; HttpOnly; SameSite=Strict")
    assert DOOR.rights(request(cookie=cookie.partition(";")[0])) is Rights.ALL
    assert DOOR.rights(request(cookie=f"other=x; {cookie.partition(';')[0]}; more=y")) is Rights.ALL


@pytest.mark.parametrize(
    "target", ["/", "/?token=", "/?token=wrong", "/?token=right%00", "/?Token=right", "/?" + "a&" * 99]
)
def test_other_tokens_open_none(target: str) -> None:
    assert DOOR.session(request(target)) is None


def test_a_token_in_the_authorization_field_is_enough() -> None:
    assert DOOR.rights(request(authorization="Bearer right")) is Rights.ALL
    for wrong in ("Bearer wrong", "Basic right", "right", "Bearer", "Bearer \udcff"):
        assert DOOR.rights(request(authorization=wrong)) is None


def test_a_cookie_of_another_token_or_name_gives_no_rights() -> None:
    other = TokenDoor(token="other", name="session").session(request("/?token=other"))
    assert other is not None
    for cookie in (other, "session=right", "session=", "session"):
        assert DOOR.rights(request(cookie=cookie.partition(";")[0])) is None


def test_certificates_have_the_rights_that_are_found_for_them() -> None:
    door = CertificateDoor(find_rights={b"admin": Rights.ALL, b"reader": Rights.READER}.get, names=host_names(["one"]))
    assert door.rights(request(certificate=b"admin")) is Rights.ALL
    assert door.rights(request(certificate=b"reader")) is Rights.READER
    assert door.rights(request(certificate=b"other")) is door.rights(request()) is None
    assert door.session(request("/?token=right")) is None
    assert door.is_for_us(request(host="one:443"))
    assert door.is_for_us(request(host="192.0.2.1"))
    assert not door.is_for_us(request(host="two"))


def test_browsers_say_which_requests_other_sites_have_caused() -> None:
    assert [comes_from_elsewhere(request(sec_fetch_site=site)) for site in ("same-origin", "none", "")] == [False] * 3
    assert comes_from_elsewhere(request(sec_fetch_site="cross-site"))
    assert comes_from_elsewhere(request(sec_fetch_site="same-site"))


def test_tokens_differ() -> None:
    assert len({new_token() for _ in range(10)}) == 10
