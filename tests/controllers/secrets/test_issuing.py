"""Certificates that are issued by the process of an errand, as an agent has them issued."""

import datetime

import attrs
import pytest

from nodespan.controllers.secrets.authority import check_issued, issue_server, new_authority, sign_request
from nodespan.controllers.secrets.errors import CertificateError
from nodespan.controllers.secrets.issuing import check, issue, prepare
from nodespan.controllers.secrets.key_pair import KeyPair, certificate_of, check_pair, roles_of
from nodespan.resources.secrets import CertificateAndKey, CertSANSpec
from nodespan.runtime.process.errand import errand
from tests.support.errands import in_process

NOW = datetime.datetime.now(datetime.UTC)
AUTHORITY = new_authority(NOW)
ROOT = CertificateAndKey(crt=AUTHORITY.certificate.decode(), key=AUTHORITY.key.decode())
SANS = CertSANSpec(ips=("10.0.0.1", "fd00::1"), dns_names=("one", "one.example"), fqdn="one.example")


@pytest.mark.process
async def test_a_process_issues_the_certificates_of_a_server_and_of_a_client() -> None:
    server, client = await issue(errand, ROOT, SANS, "os:impersonator", NOW)
    for pair in (server, client):
        check_pair(pair)
        check_issued(AUTHORITY.certificate, pair.certificate)
    found = certificate_of(server.certificate)
    assert (str(found.subject), found.dns_names) == ("CN=one.example", SANS.dns_names)
    assert tuple(map(str, found.addresses)) == SANS.ips
    assert found.not_after == (NOW + datetime.timedelta(hours=24)).replace(microsecond=0)
    assert roles_of(certificate_of(client.certificate)) == ("os:impersonator",)


@pytest.mark.process
async def test_a_process_makes_a_request_and_checks_what_was_issued() -> None:
    request, key = await prepare(errand, SANS)
    pair = KeyPair(sign_request(AUTHORITY, request, NOW), key)
    assert certificate_of(pair.certificate).dns_names == SANS.dns_names
    await check(errand, pair, ROOT.crt)


async def test_what_cannot_be_issued_or_used_says_why() -> None:
    for authority, sans, words in (
        (attrs.evolve(ROOT, key=""), SANS, "key is not known here"),
        (attrs.evolve(ROOT, key="x"), SANS, "holds no private key"),
        (ROOT, attrs.evolve(SANS, dns_names=("bücher",)), "cannot stand in a certificate"),
    ):
        with pytest.raises(CertificateError, match=words):
            await issue(in_process, authority, sans, "os:impersonator", NOW)
    other = issue_server(new_authority(NOW), "one", (), ("one",), NOW)
    own = issue_server(AUTHORITY, "one", (), ("one",), NOW)
    for pair, words in (
        (other, "is of another authority|cannot be used"),
        (attrs.evolve(own, key=other.key), "does not belong"),
        (attrs.evolve(own, certificate=b"x"), "holds no certificate"),
        (attrs.evolve(own, certificate=b"\xff"), "other characters"),
    ):
        with pytest.raises(CertificateError, match=words):
            await check(in_process, pair, ROOT.crt)
