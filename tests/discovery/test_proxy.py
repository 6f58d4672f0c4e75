"""Which proxy a connection takes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodespan.discovery.endpoint_url import DialAddress
from nodespan.discovery.proxy import ProxyError, bypasses, proxy_for

TLS = DialAddress("discovery.example.org:443")
PLAIN = DialAddress("discovery.example.org:80", insecure=True)
PROXY = "http://proxy.example.org:3128"


@pytest.mark.parametrize(
    ("target", "environment", "proxy"),
    [
        (TLS, {}, None),
        (TLS, {"https_proxy": PROXY}, PROXY),
        (TLS, {"HTTPS_PROXY": PROXY}, PROXY),
        (TLS, {"https_proxy": PROXY, "HTTPS_PROXY": "http://other:1"}, PROXY),
        (TLS, {"https_proxy": "", "HTTPS_PROXY": PROXY}, PROXY),
        (TLS, {"https_proxy": "proxy.example.org:3128"}, PROXY),
        (TLS, {"https_proxy": "http://user:p%40ss@proxy:3128"}, "http://user:p%40ss@proxy:3128"),
        (TLS, {"https_proxy": "socks5://u:word@proxy:1080"}, "socks5://u:word@proxy:1080"),
        (TLS, {"https_proxy": "socks5h://proxy"}, "socks5h://proxy"),
        (TLS, {"http_proxy": PROXY}, None),
        (PLAIN, {"http_proxy": PROXY}, PROXY),
        (PLAIN, {"https_proxy": PROXY}, None),
        (TLS, {"https_proxy": PROXY, "no_proxy": ".example.org"}, None),
        (TLS, {"https_proxy": PROXY, "NO_PROXY": "example.org"}, None),
        (TLS, {"https_proxy": PROXY, "no_proxy": "example.com"}, PROXY),
        (DialAddress("[fd00::1]:443"), {"https_proxy": PROXY, "no_proxy": "fd00::/8"}, None),
        (DialAddress("127.0.0.1:443"), {"https_proxy": PROXY}, None),
    ],
)
def test_the_proxy_of_a_connection(target: DialAddress, environment: dict[str, str], proxy: str | None) -> None:
    assert proxy_for(target, environment) == proxy


@pytest.mark.parametrize("url", ["socks4://u:word@p:1", "https://u:word@p:1", "http://u:word@p:99999", "http://"])
def test_an_unusable_proxy_is_reported_without_its_password(url: str) -> None:
    with pytest.raises(ProxyError, match="https_proxy") as refused:
        proxy_for(TLS, {"https_proxy": url})
    assert "word" not in str(refused.value)


@pytest.mark.parametrize(
    ("no_proxy", "host", "bypassed"),
    [
        ("", "example.org", False),
        ("*", "example.org", True),
        ("*", "192.0.2.1", True),
        ("example.org", "example.org", True),
        ("example.org", "a.b.example.org", True),
        ("example.org", "notexample.org", False),
        (".example.org", "example.org", False),
        (".example.org", "a.example.org", True),
        ("*.example.org", "a.example.org", True),
        ("EXAMPLE.org.", "a.Example.ORG.", True),
        ("other, example.org ,", "example.org", True),
        ("example.org:443", "example.org", True),
        ("example.org:80", "example.org", False),
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.10", False),
        ("192.0.2.1:443", "192.0.2.1", True),
        ("192.0.2.1:80", "192.0.2.1", False),
        ("10.0.0.0/8", "10.255.0.1", True),
        ("10.0.0.0/8", "11.0.0.1", False),
        ("10.0.0.7/8", "10.255.0.1", True),
        ("10.0.0.0/8", "ten.example.org", False),
        ("2001:db8::7", "2001:db8::7", True),
        ("[2001:db8::7]:443", "2001:db8:0::7", True),
        ("[2001:db8::7]:80", "2001:db8::7", False),
        ("fd00::/8", "fd12::1", True),
        ("fd00::/8", "fe80::1", False),
        (".1", "192.0.2.1", False),
        ("nonsense/99", "example.org", False),
        ("", "localhost", True),
        ("", "127.8.9.1", True),
        ("", "::1", True),
    ],
)
def test_no_proxy_entries_are_matched(no_proxy: str, host: str, bypassed: bool) -> None:
    assert bypasses(host, 443, no_proxy) is bypassed


@given(st.text(max_size=40))
def test_any_text_is_a_list(no_proxy: str) -> None:
    assert bypasses("discovery.example.org", 443, no_proxy) in (True, False)
