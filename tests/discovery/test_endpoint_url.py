"""From URLs to what is dialled."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodespan.discovery.endpoint_url import DialAddress, EndpointURLError, parse_endpoint_url, redirected
from tests.support.vectors import cases


@pytest.mark.parametrize("case", cases("discovery_url"))
def test_known_urls(case: dict[str, Any]) -> None:
    if case["address"] is None:
        with pytest.raises(EndpointURLError, match="write it like"):
            parse_endpoint_url(case["url"])
    else:
        assert parse_endpoint_url(case["url"]) == DialAddress(case["address"], case["insecure"])


@given(st.text())
def test_any_text_is_a_url_or_an_error(text: str) -> None:
    for prefix in ("", "https://", "http://["):
        try:
            parse_endpoint_url(prefix + text)
        except EndpointURLError:
            continue


@pytest.mark.parametrize(
    ("endpoint", "address"),
    [
        ("new.example.com:443", "new.example.com:443"),
        ("192.0.2.1:3000", "192.0.2.1:3000"),
        ("[2001:db8::1]:3000", "[2001:db8::1]:3000"),
        *(
            (text, None)
            for text in ("new.example.com", "unix:/run/x", "a:b", "//x:1", "x:1/y", "user@x:1", ":1", "x:0")
        ),
    ],
)
@pytest.mark.parametrize("insecure", [False, True])
def test_a_redirect_keeps_to_tls_or_plain_text(endpoint: str, address: str | None, insecure: bool) -> None:
    current = DialAddress("old.example.com:443", insecure)
    if address is None:
        with pytest.raises(EndpointURLError, match="redirects"):
            redirected(current, endpoint)
    else:
        assert redirected(current, endpoint) == DialAddress(address, insecure)


def test_the_host_has_no_port_or_brackets() -> None:
    assert DialAddress("[::1]:80").host == "::1"
    assert DialAddress("name:80").host == "name"
