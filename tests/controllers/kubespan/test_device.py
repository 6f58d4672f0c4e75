"""What a reading of the device is made of, without a device."""

import datetime
from collections.abc import Mapping

import attrs
import pytest
import trio

from nodespan.controllers.kubespan import device as module
from nodespan.controllers.kubespan.device import ObservedPeers, WireguardDevice
from nodespan.controllers.kubespan.peer_state import ObservedPeer
from nodespan.kernel.net_counts import NetCounts, Traffic
from nodespan.kernel.wireguard.device import DeviceState, PeerConfig, PeerState

SEEN = datetime.datetime(2026, 11, 29, 12, tzinfo=datetime.UTC)


def _peer(key: str, received: int = 0) -> PeerState:
    config = PeerConfig(public_key=key, endpoint="192.0.2.2:51820")
    return PeerState(config=config, last_handshake_time=SEEN, receive_bytes=received, transmit_bytes=7)


def test_what_a_device_shows_unchanged_is_the_same_object() -> None:
    peers, same, other = ObservedPeers(), _peer("same"), _peer("other")
    first = peers.of(DeviceState(peers={"same": same, "other": other}))
    expected = ObservedPeer(endpoint="192.0.2.2:51820", last_handshake=SEEN.timestamp(), received=0, sent=7)
    assert first == {"same": expected, "other": expected}
    second = peers.of(DeviceState(peers={"same": same, "other": _peer("other", 92), "new": _peer("new")}))
    assert second["same"] is first["same"]
    assert second["other"] == attrs.evolve(expected, received=92)
    assert peers.of(None) == {}
    # What is gone is not remembered.
    assert peers.of(DeviceState(peers={"same": same}))["same"] is not first["same"]


@pytest.mark.parametrize("is_userspace", [False, True])
async def test_datagrams_count_for_a_device_of_a_process_alone(
    monkeypatch: pytest.MonkeyPatch, *, is_userspace: bool
) -> None:
    monkeypatch.setattr(module, "_read", lambda _: (DeviceState(peers={"key": _peer("key")}), is_userspace))
    monkeypatch.setattr(NetCounts, "datagrams", lambda _: 12)
    device = WireguardDevice()
    assert (await device.read()).keys() == {"key"}
    assert device.datagrams() == (12 if is_userspace else 0)


async def test_what_a_sandbox_hides_may_have_come_at_any_time(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: NetCounts) -> int:
        raise PermissionError

    monkeypatch.setattr(module, "_read", lambda _: (None, True))
    monkeypatch.setattr(NetCounts, "datagrams", refuse)
    device = WireguardDevice()
    await device.read()
    assert device.datagrams() != device.datagrams()


@pytest.mark.parametrize(
    ("is_process", "carried", "is_quiet"),
    [
        (False, Traffic(), True),
        (False, Traffic(3, 2, 3 * 32, 2 * 16), True),
        (False, Traffic(3, 2, 3 * 32 + 148, 2 * 16), False),
        (True, Traffic(), True),
        # A user's packet of this size.
        (True, Traffic(1, 0, 32, 0), False),
    ],
)
async def test_keepalives_are_no_traffic_where_the_kernel_counts_them(
    monkeypatch: pytest.MonkeyPatch, is_process: bool, carried: Traffic, is_quiet: bool
) -> None:
    monkeypatch.setattr(module, "_read", lambda _: (None, is_process))
    device = WireguardDevice()
    await device.read()
    assert device.was_quiet(Traffic(), carried) is is_quiet


@pytest.mark.parametrize("failure", [None, PermissionError("not yours")])
async def test_a_reading_that_is_compared_tells_what_differs_and_what_failed(
    monkeypatch: pytest.MonkeyPatch, failure: OSError | None
) -> None:
    read: list[Mapping[str, ObservedPeer]] = []

    def reading(_: object) -> tuple[DeviceState, bool]:
        if failure is not None:
            raise failure
        return DeviceState(peers={"key": PeerState(config=PeerConfig(public_key="key"), receive_bytes=7)}), False

    def differs(peers: Mapping[str, ObservedPeer]) -> bool:
        read.append(peers)
        return False

    monkeypatch.setattr(module, "_read", reading)
    found = trio.Event()
    WireguardDevice().look(differs, found.set)
    await found.wait()
    assert read == ([] if failure else [{"key": ObservedPeer(received=7)}])
