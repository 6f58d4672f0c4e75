"""Why an API has no certificate, or cannot serve with the one it has, is a problem that names the reason."""

import contextlib
import datetime
import itertools
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from pathlib import Path

import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.x509.oid import NameOID

from nodespan.controllers.api.server import ServerController
from nodespan.controllers.config.loading import load
from nodespan.controllers.secrets.api import APIController, Issuer
from nodespan.controllers.secrets.authority import issue_server, load_certificate, load_key, new_key
from nodespan.controllers.secrets.cert_sans import APICertSANsController
from nodespan.controllers.secrets.errors import IssuerError
from nodespan.controllers.secrets.key_pair import KeyPair, encode_pem
from nodespan.controllers.secrets.os_root import RootOSController
from nodespan.resources.config import MACHINE_CONFIG_ID, MachineConfig
from nodespan.resources.network import NetworkProblem, Severity, network_problem_id
from nodespan.resources.runtime import TIME_ID, TimeStatus, TimeStatusSpec
from nodespan.resources.secrets import API_ID, OS_ROOT_ID, APICertificate, CertSANSpec, OSRoot, OSRootSpec
from nodespan.runtime.api.tls import check_handshake, server_context
from nodespan.runtime.controller import Controller
from nodespan.runtime.pem import standard_key
from nodespan.runtime.plugins import AgentAccess
from nodespan.runtime.process.errand import Errand, ErrandAccidentError, ErrandError
from nodespan.runtime.state import MemoryState
from nodespan.runtime.system_roots import TrustError
from nodespan.runtime.testing.kit import Node, running
from tests.controllers.api.nodes import APINode, new_address
from tests.support.errands import in_process

NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)
TOKEN = "abcdef.0123456789abcdef"
WITHOUT_AUTHORITY = network_problem_id(OSRoot.name, OS_ROOT_ID)
WITHOUT_CERTIFICATE = network_problem_id(OSRoot.name, API_ID)
NOT_SERVED = network_problem_id(APICertificate.name, API_ID)
REPLACED = "this program was installed again while it ran: restart it"
PrivateKey = ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def authority(
    key: PrivateKey, *, is_ca: bool = True, expires: datetime.datetime = NOW + 30 * DAY, has_key_id: bool = True
) -> KeyPair:
    name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "test")])
    builder = x509.CertificateBuilder(
        name, name, key.public_key(), x509.random_serial_number(), NOW - 9 * DAY, expires
    ).add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
    if has_key_id:
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    is_edwards = isinstance(key, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey)
    certificate = builder.sign(key, None if is_edwards else hashes.SHA256())
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return KeyPair(certificate.public_bytes(serialization.Encoding.PEM), key.private_bytes(*form))


GOOD = authority(ed25519.Ed25519PrivateKey.generate())
# 96 bits of security; like RSA of 1024 bits, which takes longer to make, below what OpenSSL asks for.
SHORT = authority(ec.generate_private_key(ec.SECP192R1()))


class Refusing:
    """A control plane that says what it was sent, and much."""

    async def issue(self, root: OSRootSpec, sans: CertSANSpec, control_planes: Sequence[str]) -> KeyPair:
        await trio.lowlevel.checkpoint()
        raise IssuerError(f"no control plane issues a certificate: {root.token} is wrong" + "!" * 5000)


class WithoutKeyIdentifier:
    """A control plane that issues as Go does for an authority that does not identify its key."""

    def __init__(self, issuing: KeyPair) -> None:
        self.issuing = issuing
        self.calls = 0

    async def issue(self, root: OSRootSpec, sans: CertSANSpec, control_planes: Sequence[str]) -> KeyPair:
        await trio.lowlevel.checkpoint()
        self.calls += 1
        signer, issuer = load_key(self.issuing.key), load_certificate(self.issuing.certificate)
        assert isinstance(signer, ed25519.Ed25519PrivateKey)
        key, pem = new_key()
        names = [*(x509.DNSName(name) for name in sans.dns_names), *(x509.IPAddress(ip_address(ip)) for ip in sans.ips)]
        certificate = (
            x509.CertificateBuilder(issuer.subject, x509.Name([]), key.public_key(), 1 << 60, NOW - DAY, NOW + 3 * DAY)
            .add_extension(x509.SubjectAlternativeName(names), critical=True)
            .sign(signer, None)
        )
        return KeyPair(certificate.public_bytes(serialization.Encoding.PEM), pem)


async def configure(
    node: Node, ca: KeyPair | None, *, listen: str = "127.0.0.1:50000", key: bytes | None = None
) -> None:
    private = ca.key if key is None and ca is not None else key
    line = f", ca: {{crt: {encode_pem(ca.certificate)}, key: {encode_pem(private or b'')}}}" if ca is not None else ""
    api = f"---\n{{apiVersion: nodespan.dev/v1alpha1, kind: NodespanConfig, api: {{listen: '{listen}'}}}}\n"
    loaded = load(f"machine: {{type: worker, token: {TOKEN}{line}}}\n{api if listen else ''}")
    assert not loaded.errors, loaded.errors
    await node.put(MachineConfig, MACHINE_CONFIG_ID, loaded.config)


def controllers(errand: Errand = in_process, issuer: Issuer | None = None) -> tuple[Controller, ...]:
    return RootOSController(), APICertSANsController(), APIController(issuer or Refusing(), errand=errand)


def offered(state: MemoryState) -> AgentAccess:
    """What a server needs of an agent, which nobody asks anything here."""

    async def settled(_within: float) -> bool:
        await trio.lowlevel.checkpoint()
        return True

    return AgentAccess(
        version="1.2.3",
        socket=Path("agent.sock"),
        state=state,
        state_methods=lambda _authorize: {},
        edges=tuple,
        actions={},
        settled=settled,
    )


@pytest.mark.parametrize(
    ("key", "is_ca", "expires", "reason"),
    [
        (ed25519.Ed25519PrivateKey.generate, True, NOW + DAY, ""),
        (lambda: rsa.generate_private_key(65537, 2048), True, NOW + DAY, ""),
        # The clock may be set later.
        (ed25519.Ed25519PrivateKey.generate, True, NOW - DAY, ""),
        (lambda: rsa.generate_private_key(65537, 1024), True, NOW + DAY, "key too (small|weak)"),
        (lambda: ec.generate_private_key(ec.SECP192R1()), True, NOW + DAY, "key too (small|weak)"),
        (ed25519.Ed25519PrivateKey.generate, False, NOW + DAY, "clients refuse the server's certificate"),
    ],
)
def test_a_handshake_in_memory_says_whether_a_certificate_serves(
    key: Callable[[], PrivateKey], *, is_ca: bool, expires: datetime.datetime, reason: str
) -> None:
    issuing = authority(key(), is_ca=is_ca, expires=expires)
    pair = issue_server(issuing, "one", (), ("one",), NOW - 8 * DAY)
    # The server looks at the authority only where it has it; the client always does.
    for roots in (issuing.certificate, None):
        server = server_context(pair.certificate, standard_key(pair.key), client_roots=roots)
        with pytest.raises(TrustError, match=reason) if reason else contextlib.nullcontext():
            check_handshake(server, issuing.certificate)


async def test_an_authority_that_openssl_refuses_is_a_problem_and_not_served() -> None:
    state, listen = MemoryState(), f"{new_address()}:50000"
    host, port = listen.split(":")
    async with running(*controllers(), ServerController(offered(state)), state=state) as node:
        for _ in range(2):
            await configure(node, SHORT, listen=listen)
            found = await node.eventually(NetworkProblem, NOT_SERVED)
            assert found.spec.message.endswith("with this certificate and its authority: ca key too small")
            with pytest.raises(OSError, match="failed"):
                await trio.open_tcp_stream(host, int(port))
            await configure(node, GOOD, listen=listen)
            await node.gone(NetworkProblem, NOT_SERVED)
            await APINode(node, host, {}).listens()
        assert not node.state.list(NetworkProblem)


@pytest.mark.virtual_clock
@pytest.mark.parametrize(
    ("ca", "key", "id", "reason"),
    [
        (None, None, WITHOUT_AUTHORITY, "machine.ca is missing"),
        (GOOD, b"x", WITHOUT_AUTHORITY, "machine.ca holds no private key, or a damaged one"),
        (GOOD, SHORT.key, WITHOUT_AUTHORITY, "machine.ca holds a key that does not belong to the certificate"),
        (KeyPair(b"x"), None, WITHOUT_AUTHORITY, "machine.ca holds no certificate, or a damaged one"),
        (
            authority(ed448.Ed448PrivateKey.generate()),
            None,
            WITHOUT_CERTIFICATE,
            "the authority holds a private key of a kind that cannot sign: use Ed25519, ECDSA or RSA",
        ),
        (
            authority(ed25519.Ed25519PrivateKey.generate(), expires=NOW - DAY),
            None,
            WITHOUT_CERTIFICATE,
            "the authority's certificate has expired",
        ),
    ],
)
async def test_why_no_certificate_is_issued_is_a_problem_until_it_can_be(
    ca: KeyPair | None, key: bytes | None, id: str, reason: str
) -> None:
    async with running(*controllers()) as node:
        await configure(node, ca, key=key)
        found = await node.eventually(NetworkProblem, id)
        assert found.spec.message.startswith("api.listen is set, but ")
        assert reason in found.spec.message
        assert [each.id for each in node.state.list(NetworkProblem)] == [id]
        # Without an API nobody uses the authority.
        await configure(node, ca, key=key, listen="")
        await node.gone(NetworkProblem, id)
        await configure(node, ca, key=key)
        await node.eventually(NetworkProblem, id)
        await configure(node, GOOD)
        await node.eventually(APICertificate, API_ID)
        await node.gone(NetworkProblem, id)
        assert not node.state.list(NetworkProblem)


@pytest.mark.virtual_clock
async def test_what_another_machine_says_is_shown_in_part_and_without_the_token() -> None:
    async with running(*controllers()) as node:
        await configure(node, GOOD, key=b"")
        found = await node.eventually(
            NetworkProblem, WITHOUT_CERTIFICATE, lambda each: "no control plane issues" in each.spec.message
        )
        assert "[token] is wrong!!!" in found.spec.message
        assert TOKEN not in found.spec.message
        assert len(found.spec.message) < 400


@pytest.mark.virtual_clock
async def test_after_an_accident_of_the_process_the_first_tries_come_soon() -> None:
    tried: list[float] = []
    fails: list[ErrandError | None] = [ErrandAccidentError("killed")]

    async def errand(function: str, request: bytes) -> bytes:
        tried.append(trio.current_time())
        if fails[0] is not None:
            raise fails[0]
        return await in_process(function, request)

    async with running(*controllers(errand)) as node:
        await configure(node, GOOD)
        await trio.sleep(200)
        gaps = [later - sooner for sooner, later in itertools.pairwise(tried)]
        assert gaps[:6] == pytest.approx([1, 2, 4, 8, 16, 32], abs=0.01)
        assert all(50 <= gap <= 61 for gap in gaps[6:])
        found = node.state.get(NetworkProblem, WITHOUT_CERTIFICATE)
        assert found.spec.message == "api.listen is set, but this node cannot issue its certificate: killed"
        # What does not heal by itself waits for the next look.
        fails[0] = ErrandError(REPLACED)
        await node.eventually(
            NetworkProblem, WITHOUT_CERTIFICATE, lambda each: REPLACED in each.spec.message, within=70
        )
        before = len(tried)
        await trio.sleep(50)
        assert len(tried) == before
        fails[0] = None
        await node.eventually(APICertificate, API_ID, within=70)
        await node.gone(NetworkProblem, WITHOUT_CERTIFICATE)
        # The next accident begins with a short wait again; a rotation has nothing to serve with until then.
        fails[0], before = ErrandAccidentError("killed"), len(tried)
        other = authority(ed25519.Ed25519PrivateKey.generate())
        await configure(node, other)
        await node.eventually(NetworkProblem, WITHOUT_CERTIFICATE, within=5)
        fails[0] = None
        await node.eventually(APICertificate, API_ID, within=3)
        assert tried[before + 1] - tried[before] == pytest.approx(1, abs=0.01)


@pytest.mark.virtual_clock
async def test_a_certificate_that_cannot_be_replaced_stays_in_use_and_needs_attention() -> None:
    start, works = trio.current_time(), [True]

    async def errand(function: str, request: bytes) -> bytes:
        if not works[0]:
            raise ErrandError(REPLACED)
        return await in_process(function, request)

    def now() -> datetime.datetime:
        return NOW + datetime.timedelta(seconds=trio.current_time() - start)

    api = APIController(Refusing(), errand=errand, now=now)
    async with running(RootOSController(), APICertSANsController(), api) as node:
        await configure(node, GOOD)
        await node.eventually(APICertificate, API_ID)
        works[0] = False
        found = await node.eventually(NetworkProblem, WITHOUT_CERTIFICATE, within=13 * 3600)
        assert found.spec.severity is Severity.WARNING
        assert found.spec.message.endswith(f"cannot get a new certificate, and shows the present one: {REPLACED}")
        assert node.state.find(APICertificate, API_ID) is not None
        works[0] = True
        await node.gone(NetworkProblem, WITHOUT_CERTIFICATE, within=120)


@pytest.mark.virtual_clock
async def test_a_certificate_that_does_not_identify_its_authoritys_key_is_kept_until_the_authority_changes() -> None:
    first, second = (authority(ed25519.Ed25519PrivateKey.generate(), has_key_id=False) for _ in range(2))
    issuer = WithoutKeyIdentifier(first)
    async with running(*controllers(issuer=issuer)) as node:
        await configure(node, first, key=b"")
        issued = await node.eventually(APICertificate, API_ID)
        for number in range(10):
            await node.put(TimeStatus, TIME_ID, TimeStatusSpec(synced=bool(number % 2)))
            await trio.sleep(30)
        assert node.state.get(APICertificate, API_ID).metadata == issued.metadata
        assert issuer.calls == 1
        # Of the same name.
        issuer.issuing = second
        await configure(node, second, key=b"")
        crt = second.certificate.decode()
        await node.eventually(
            APICertificate, API_ID, lambda found: found.spec.accepted_cas == (crt,) and found.spec != issued.spec
        )
        assert issuer.calls == 2
