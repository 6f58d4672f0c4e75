"""What is read of a UPnP router, and what a hostile one cannot have this node do."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodespan.controllers.kubespan.mapping import bounded_xml, upnp
from nodespan.controllers.kubespan.mapping.bounded_xml import XmlError
from nodespan.controllers.kubespan.mapping.mapping import MappingError, UnsupportedError
from nodespan.controllers.kubespan.mapping.upnp import SERVICES, Connection, UpnpFaultError

GATEWAY = "192.0.2.1"
URL = f"http://{GATEWAY}:5000/rootDesc.xml"


def service(kind: str, control: str) -> str:
    return f"<service><serviceType>{kind}</serviceType><controlURL>{control}</controlURL></service>"


def description(*services: str, base: str = "") -> bytes:
    below = "".join(services)
    return (
        f'<?xml version="1.0"?><root xmlns="urn:schemas-upnp-org:device-1-0">{base}<device><deviceList><device>'
        f"<serviceList>{below}</serviceList></device></deviceList></device></root>"
    ).encode()


@pytest.mark.parametrize(
    ("answer", "url"),
    [
        (f"HTTP/1.1 200 OK\r\nST: x\r\nLocation:{URL}\r\n\r\n", URL),
        (f"HTTP/1.0 200 OK\r\nLOCATION: {URL}", URL),
        (f"NOTIFY * HTTP/1.1\r\nLOCATION: {URL}\r\n\r\n", None),
        ("HTTP/1.1 200 OK\r\n\r\n", None),
        ("HTTP/1.1 200 OK\r\nLOCATION: http://192.0.2.2/x\r\n\r\n", None),
        ("HTTP/1.1 200 OK\r\nLOCATION: http://192.0.2.1.example.org/x\r\n\r\n", None),
        ("HTTP/1.1 200 OK\r\nLOCATION: http://a@192.0.2.1/x\r\n\r\n", None),
        ("HTTP/1.1 200 OK\r\nLOCATION: https://192.0.2.1/x\r\n\r\n", None),
        ("HTTP/1.1 200 OK\r\nLOCATION: file:///etc/shadow\r\n\r\n", None),
        ("HTTP/1.1 200 OK\r\nLOCATION: http://192.0.2.1:99999/x\r\n\r\n", None),
        ("HTTP/1.1 200 OK\r\nLOCATION: http://[x/\r\n\r\n", None),
        (f"HTTP/1.1 200 OK\r\nLOCATION: http://{GATEWAY}/{'x' * 600}\r\n\r\n", None),
    ],
)
def test_only_a_description_at_the_router_itself_is_read(answer: str, url: str | None) -> None:
    assert upnp.location(answer.encode(), GATEWAY) == url


def test_a_description_names_the_services_that_make_mappings() -> None:
    newer, older, dsl = SERVICES
    found = upnp.connections(
        description(service("urn:x:Layer3Forwarding:1", "/l3"), service(dsl, "/ppp"), service(newer, " /ip ")),
        URL,
        GATEWAY,
    )
    assert found == (
        Connection(newer, f"http://{GATEWAY}:5000/ip"),
        Connection(dsl, f"http://{GATEWAY}:5000/ppp"),
    )
    base = f"<URLBase>http://{GATEWAY}:7000/base/</URLBase>"
    (relative,) = upnp.connections(description(service(older, "ctl"), base=base), URL, GATEWAY)
    assert relative.url == f"http://{GATEWAY}:7000/base/ctl"


@pytest.mark.parametrize(
    "encoding", ["utf-8", "iso-8859-1", "gb2312", "shift_jis", "big5", "utf-32", "foo", "zlib", "idna", "punycode"]
)
def test_the_encoding_that_a_router_names_is_not_heeded(encoding: str) -> None:
    declared = f'<?xml version="1.0" encoding="{encoding}"?>'.encode()
    text = description(service(SERVICES[0], "/ctl"), base="<friendlyName>\u8def\u7531\u5668</friendlyName>")
    text = text.replace(b'<?xml version="1.0"?>', declared)
    for data in (text, b"\xef\xbb\xbf" + text, text.replace("\u8def".encode(), b"\xc2\xb7")):
        (found,) = upnp.connections(data, URL, GATEWAY)
        assert found.url == f"http://{GATEWAY}:5000/ctl"


def test_a_router_cannot_have_another_machine_called() -> None:
    elsewhere = description(service(SERVICES[0], "http://10.0.0.1/admin"))
    with pytest.raises(UnsupportedError):
        upnp.connections(elsewhere, URL, GATEWAY)
    base = "<URLBase>http://10.0.0.1/</URLBase>"
    (found,) = upnp.connections(description(service(SERVICES[0], "/ctl"), base=base), URL, GATEWAY)
    assert found.url == f"http://{GATEWAY}:5000/ctl"


def test_a_call_is_escaped() -> None:
    headers, body = upnp.call(SERVICES[0], "AddPortMapping", {"NewDescription": "<&>", "NewPort": 7})
    assert headers["SOAPAction"] == f'"{SERVICES[0]}#AddPortMapping"'
    root = bounded_xml.parse(body)
    assert (root.value("NewDescription"), root.value("NewPort")) == ("<&>", "7")


def envelope(inner: str) -> bytes:
    return f'<s:Envelope xmlns:s="x"><s:Body>{inner}</s:Body></s:Envelope>'.encode()


def test_an_answer_has_values_or_a_code() -> None:
    answer = envelope("<u:GetXResponse xmlns:u='y'><NewA> 1 </NewA></u:GetXResponse>")
    assert upnp.result(200, answer, "GetX", ("NewA", "NewB")) == {"NewA": "1", "NewB": ""}
    fault = "<s:Fault><detail><UPnPError><errorCode>{}</errorCode></UPnPError></detail></s:Fault>"
    for text, code in (("718", 718), ("9" * 5000, 501), ("-1", 501), ("", 501), ("²", 501)):
        with pytest.raises(UpnpFaultError) as error:
            upnp.result(500, envelope(fault.format(text)), "GetX", ())
        assert (error.value.code, error.value.is_certain) == (code, True)
    for status, body in ((404, answer), (200, envelope("")), (200, b"<html>"), (200, b"")):
        with pytest.raises(MappingError) as unclear:
            upnp.result(status, body, "GetX", ())
        assert not unclear.value.is_certain


def test_entities_and_depth_do_no_harm() -> None:
    laughs = b'<!DOCTYPE r [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><r>&b;</r>'
    outside = b'<!DOCTYPE r SYSTEM "http://10.0.0.1/x"><r/>'
    for data in (laughs, outside):
        with pytest.raises(XmlError, match="document type"):
            bounded_xml.parse(data)
    for data in (b"<a>" * 40 + b"</a>" * 40, b"<r>" + b"<a/>" * 4001 + b"</r>"):
        with pytest.raises(XmlError, match="too many"):
            bounded_xml.parse(data)


@given(st.binary(max_size=200) | st.text(alphabet="<>/ab&;!?='", max_size=60).map(str.encode))
def test_any_bytes_are_xml_or_refused(data: bytes) -> None:
    with contextlib.suppress(XmlError):
        bounded_xml.parse(data)
