"""The virtual IPs of a node share their clients of etcd."""

from pathlib import Path

import pytest

from nodespan.controllers.network.vip.clients import EtcdClients, make_client
from nodespan.etcd import EndpointError, TLSFilesError
from nodespan.resources.config.nodespan import EtcdSettings

ONE = EtcdSettings(endpoints=("http://192.0.2.1:2379",))
TWO = EtcdSettings(endpoints=("http://192.0.2.2:2379", "http://192.0.2.3:2379"))


async def test_those_with_the_same_settings_share_a_client() -> None:
    clients = EtcdClients()
    async with clients.client(ONE) as first:
        async with clients.client(ONE) as second, clients.client(TWO) as other:
            assert first is second
            assert other is not first
            assert other.endpoints == TWO.endpoints
        async with clients.client(ONE) as third:
            assert third is first
    async with clients.client(ONE) as later:
        assert later is not first


async def test_unusable_settings_are_reported_and_not_kept(tmp_path: Path) -> None:
    clients = EtcdClients()
    missing = EtcdSettings(endpoints=("https://192.0.2.1:2379",), ca=str(tmp_path / "no.crt"))
    for _ in range(2):
        with pytest.raises(TLSFilesError, match=r"no\.crt"):
            async with clients.client(missing):
                pass
    with pytest.raises(EndpointError):
        make_client(EtcdSettings(endpoints=("ftp://192.0.2.1",)))
