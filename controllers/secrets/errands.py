"""What is issued and checked by the process of an errand, which loads the library for it: see `issuing`.

Requests and answers are JSON: texts, and PEM as texts.
"""

import datetime
import json
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

from nodespan.controllers.secrets import authority
from nodespan.controllers.secrets.errors import CertificateError
from nodespan.controllers.secrets.key_pair import KeyPair, check_pair
from nodespan.runtime.process.errand_runner import ErrandRefusedError


def issue(request: bytes) -> bytes:
    """A server's certificate for names and addresses, and one of a client with roles, by an authority and its key."""

    def answer(given: dict[str, Any]) -> dict[str, Any]:
        pair = KeyPair(given["authority"]["crt"].encode(), given["authority"]["key"].encode())
        now = datetime.datetime.fromisoformat(given["now"])
        addresses = map(ip_address, given["addresses"])
        server = authority.issue_server(pair, given["name"], addresses, given["names"], now)
        client = authority.issue_client(pair, given["roles"], now, authority.SERVER_LIFETIME)
        return {"server": _texts(server), "client": _texts(client)}

    return _answered(request, answer)


def prepare(request: bytes) -> bytes:
    """A request for a server's certificate for names and addresses, and its key."""

    def answer(given: dict[str, Any]) -> dict[str, Any]:
        asked, key = authority.new_request(given["name"], map(ip_address, given["addresses"]), given["names"])
        return {"request": asked.decode(), "key": key.decode()}

    return _answered(request, answer)


def check(request: bytes) -> bytes:
    """Refused unless a key belongs to its certificate, and that is signed by the authority."""

    def answer(given: dict[str, Any]) -> dict[str, Any]:
        certificate = given["crt"].encode()
        check_pair(KeyPair(certificate, given["key"].encode()))
        authority.check_issued(given["authority"].encode(), certificate)
        return {}

    return _answered(request, answer)


def _answered(request: bytes, answer: Callable[[dict[str, Any]], dict[str, Any]]) -> bytes:
    try:
        return json.dumps(answer(json.loads(request))).encode()
    except CertificateError as error:
        raise ErrandRefusedError(str(error)) from error


def _texts(pair: KeyPair) -> dict[str, str]:
    return {"crt": pair.certificate.decode(), "key": pair.key.decode()}
