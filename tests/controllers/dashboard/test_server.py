"""dashboard.ServerController: the dashboard in the agent, by its configuration: with a token, and with mutual TLS."""

import datetime
import ssl
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from ipaddress import ip_address
from pathlib import Path

import pytest
import trio
from cryptography.hazmat.primitives import serialization

from nodespan.controllers.config.loading import load
from nodespan.controllers.dashboard.server import PROBLEM_ID, TOKEN_FILE, ServerController, kept_token
from nodespan.controllers.secrets.authority import issue_client, issue_server, load_key, new_authority
from nodespan.controllers.secrets.key_pair import KeyPair
from nodespan.resources.config import MACHINE_CONFIG_ID, MachineConfig
from nodespan.resources.network import NetworkProblem, network_problem_id
from nodespan.runtime.plugins import AgentAccess, at_once
from nodespan.runtime.testing import Node, running
from tests.controllers.api.nodes import new_address

PORT = 9080
NOW = datetime.datetime.now(datetime.UTC)
PROBLEM = network_problem_id(MachineConfig.name, PROBLEM_ID)


@asynccontextmanager
async def server(directory: Path) -> AsyncIterator[Node]:
    """The controller, in an agent whose socket answers nobody."""
    access = AgentAccess(
        version="1.2.3",
        socket=directory / "agent.sock",
        state=None,  # type: ignore[arg-type]  # it asks over the socket
        state_methods=lambda _authorize: {},
        edges=tuple,
        actions={},
        settled=at_once,
    )
    async with running(ServerController(access, directory)) as node:
        yield node


async def configure(node: Node, dashboard: str) -> None:
    loaded = load(f"apiVersion: nodespan.dev/v1alpha1\nkind: NodespanConfig\ndashboard: {dashboard}\n")
    assert not loaded.errors, loaded.errors
    await node.put(MachineConfig, MACHINE_CONFIG_ID, loaded.config)


async def fetch(address: str, path: str, context: ssl.SSLContext | None = None, *, host: str = "localhost") -> bytes:
    """An answer over a connection of its own, once something listens there."""
    while True:
        try:
            stream: trio.abc.Stream = await trio.open_tcp_stream(address, PORT)
            break
        except OSError:
            await trio.sleep(0.05)
    if context is not None:
        stream = trio.SSLStream(stream, context, server_hostname="localhost", https_compatible=True)
    async with stream:
        await stream.send_all(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        data = b""
        while part := await stream.receive_some(65536):
            data += part
        return data


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


async def test_it_listens_while_the_configuration_says_so(tmp_path: Path) -> None:
    address = new_address()
    async with server(tmp_path) as node:
        await configure(node, f"{{listen: '{address}:{PORT}', hosts: [dash.example.org]}}")
        assert status(await fetch(address, "/")) == 401
        token = await trio.Path(tmp_path / TOKEN_FILE).read_text()
        assert stat.S_IMODE((tmp_path / TOKEN_FILE).stat().st_mode) == 0o600
        assert b"set-cookie" in await fetch(address, f"/?token={token.strip()}")
        assert status(await fetch(address, "/", host="dash.example.org")) == 401
        assert status(await fetch(address, "/", host="evil.example")) == 421
        await configure(node, "{}")
        await node.settled()
        with pytest.raises(OSError, match="failed"):
            await trio.open_tcp_stream(address, PORT)


async def test_an_address_that_is_taken_is_a_problem_until_it_is_free(tmp_path: Path) -> None:
    address = new_address()
    (listener,) = await trio.open_tcp_listeners(PORT, host=address)
    async with server(tmp_path) as node:
        async with listener:
            await configure(node, f"{{listen: '{address}:{PORT}'}}")
            problem = await node.eventually(NetworkProblem, PROBLEM)
            reason = "Address already in use"
            assert problem.spec.message == f"the dashboard cannot listen at {address}:{PORT}: {reason}"
        await node.gone(NetworkProblem, PROBLEM)
        assert status(await fetch(address, "/")) == 401


async def test_with_certificates_it_lets_in_clients_with_a_role(tmp_path: Path) -> None:
    address, ours, other = new_address(), new_authority(NOW), new_authority(NOW)
    files = written(tmp_path, "server", issue_server(ours, "dash", [ip_address(address)], ["localhost"], NOW))
    (tmp_path / "ca.crt").write_bytes(ours.certificate)
    async with server(tmp_path) as node:
        paths = f"cert: {files[0]}, key: {files[1]}, ca: {tmp_path / 'ca.crt'}"
        await configure(node, f"{{listen: '{address}:{PORT}', {paths}}}")
        for role, expected in (("os:admin", 503), ("os:reader", 503), ("os:none", 401)):
            context = client(ours, *written(tmp_path, role, issue_client(ours, [role], NOW)))
            # 503: may ask, but this agent does not answer.
            assert status(await fetch(address, "/api/graph", context)) == expected
        stranger = written(tmp_path, "stranger", issue_client(other, ["os:admin"], NOW))
        for context in (client(ours), client(ours, *stranger)):
            # With TLS 1.3 a client learns of it when it reads: by an error, or by the end of the connection.
            answer = b""
            with suppress(trio.BrokenResourceError):
                answer = await fetch(address, "/", context)
            assert answer == b""
        assert not (tmp_path / TOKEN_FILE).exists()


async def test_files_that_cannot_be_used_are_a_problem(tmp_path: Path) -> None:
    async with server(tmp_path) as node:
        await configure(node, f"{{listen: '0.0.0.0:{PORT}', cert: /none/a, key: /none/b, ca: /none/c}}")
        problem = await node.eventually(NetworkProblem, PROBLEM)
        assert "/none/a: No such file or directory" in problem.spec.message


def test_the_token_stays_over_restarts(tmp_path: Path) -> None:
    token = kept_token(tmp_path / "token")
    assert kept_token(tmp_path / "token") == token
    (tmp_path / "token").write_text("\n")
    assert kept_token(tmp_path / "token") not in ("", token)


def written(directory: Path, name: str, pair: KeyPair) -> tuple[Path, Path]:
    """The files of a certificate and its key."""
    files = directory / f"{name}.crt", directory / f"{name}.key"
    files[0].write_bytes(pair.certificate)
    # Their own form of Ed25519 keys is not what OpenSSL reads.
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    files[1].write_bytes(load_key(pair.key).private_bytes(*form))
    return files


def client(authority: KeyPair, cert: Path | None = None, key: Path | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=authority.certificate.decode())
    if cert is not None:
        context.load_cert_chain(cert, key)
    return context
