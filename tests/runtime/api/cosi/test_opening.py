"""Remote states by their URLs, on a socket and over mutual TLS."""

import importlib
import ssl
import tomllib
from pathlib import Path

import pytest
import structlog
import trio

from nodespan.runtime.api.cosi.opening import open_state
from nodespan.runtime.api.cosi.service import LIMITS, StateService
from nodespan.runtime.api.grpc import Server, Service
from nodespan.runtime.api.tls import ServerCertificate
from nodespan.runtime.codec.messages import SpecMessages
from nodespan.runtime.errors import StateOpenError, UnavailableError
from nodespan.runtime.state import MemoryState
from nodespan.runtime.state.opening import GROUP, StateOptions
from nodespan.runtime.state.remote import RemoteState
from tests.runtime.api.cosi.client import Thing, ThingSpec, serving
from tests.support.certificates import Authority
from tests.support.deadlines import PATIENCE

ROOT = Path(__file__).parents[4]


def test_the_schemes_are_offered() -> None:
    points = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"][GROUP]
    for scheme in ("unix", "https", "http"):
        module, _, attribute = points[scheme].partition(":")
        assert getattr(importlib.import_module(module), attribute) is open_state


async def test_a_url_opens_the_state_on_a_socket(tmp_path: Path) -> None:
    async with serving(tmp_path / "s") as served:
        with trio.fail_after(PATIENCE):
            async with open_state(f"unix:{tmp_path / 's'}", StateOptions(state_dir=tmp_path, types=(Thing,))) as state:
                await state.create(Thing.new("a", ThingSpec("x")))
        assert served.state.get(Thing, "a").spec.name == "x"


async def test_a_state_on_another_machine_is_reached_with_certificates_of_one_authority(tmp_path: Path) -> None:
    authority, stranger = Authority("test"), Authority("stranger")
    log = structlog.get_logger()
    context = ServerCertificate(*authority.issue(tmp_path, "localhost"), log).context()
    context.load_verify_locations(cadata=authority.pem.decode())
    context.verify_mode = ssl.CERT_REQUIRED
    shown: set[bytes | None] = set()
    state = MemoryState()
    await state.create(Thing.new("a", ThingSpec("far")))

    def visible(call: object) -> MemoryState:
        shown.add(call.peer.certificate)  # type: ignore[attr-defined]  # a call has one
        return state

    types = {Thing.name: ThingSpec}
    service = StateService(visible, messages=SpecMessages(), find_type=types.get, log=log)
    server = Server(Service(methods=service.methods(), log=log, limits=LIMITS))
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    url = f"https://localhost:{listeners[0].socket.getsockname()[1]}"
    for name, issuer in (("own", authority), ("other", stranger)):
        (tmp_path / f"{name}-ca").write_bytes(issuer.pem)
        issuer.issue(tmp_path, name)
    settings = {"ca": "own-ca", "cert": "own.crt", "key": "own.key"}

    async with trio.open_nursery() as nursery:

        async def serve(*, task_status: trio.TaskStatus[None]) -> None:
            await server.serve(listeners, tls=lambda: context, grace=0, task_status=task_status)

        await nursery.start(serve)
        with trio.fail_after(PATIENCE):
            async with open_state(url, StateOptions(state_dir=tmp_path, settings=settings)) as remote:
                assert isinstance(remote, RemoteState)
                await remote.follow(Thing)
                assert remote.get(Thing, "a").spec.name == "far"
            assert None not in shown
            assert len(shown) == 1
            # Neither side takes a certificate of another authority.
            for wrong in ({**settings, "ca": "other-ca"}, {**settings, "cert": "other.crt", "key": "other.key"}):
                with pytest.raises(StateOpenError, match="localhost"):
                    async with open_state(url, StateOptions(state_dir=tmp_path, settings=wrong)):
                        pass
        nursery.cancel_scope.cancel()


async def test_what_cannot_be_opened_says_why(tmp_path: Path) -> None:
    cases = {
        f"unix:{tmp_path / 'nobody'}": {},
        "https://": {},
        "https://192.0.2.1:1": {"ca": "missing"},
        "http://192.0.2.1:1": {"colour": "red"},
    }
    for url, settings in cases.items():
        with trio.fail_after(PATIENCE), pytest.raises(StateOpenError):
            async with open_state(url, StateOptions(state_dir=tmp_path, settings=settings)):
                pass


async def test_one_that_waits_is_open_before_it_can_be_reached(tmp_path: Path) -> None:
    with trio.fail_after(PATIENCE):
        async with open_state(f"unix:{tmp_path / 's'}", StateOptions(state_dir=tmp_path, wait=True)) as state:
            with pytest.raises(UnavailableError):
                await state.create(Thing.new("a", ThingSpec()))
            outage = state.outage("test")
            assert outage is not None
            assert not outage.is_loaded
            async with serving(tmp_path / "s"):
                await state.until_available("test")
                await state.create(Thing.new("a", ThingSpec()))
