"""What the kernel's answers about WireGuard devices mean."""

import datetime
from base64 import b64encode
from socket import AF_INET, AF_INET6, inet_pton
from typing import Any

from nodespan.kernel.wireguard.genl import read_device
from nodespan.kernel.wireguard.status import status_of
from nodespan.resources.network import WireguardPeerStatus, WireguardStatus
from tests.kernel.messages import wireguard

OWN, FIRST, SECOND, SECRET = (b64encode(bytes([fill] * 32)).decode() for fill in (1, 2, 3, 4))


def peer(key: str, *attributes: tuple[str, Any]) -> dict[str, Any]:
    return {"attrs": [("WGPEER_A_PUBLIC_KEY", key), ("WGPEER_A_PRESHARED_KEY", SECRET), *attributes]}


def allowed(*prefixes: tuple[int, str, int]) -> tuple[str, Any]:
    return (
        "WGPEER_A_ALLOWEDIPS",
        [
            {
                "attrs": [
                    ("WGALLOWEDIP_A_FAMILY", family),
                    ("WGALLOWEDIP_A_IPADDR", inet_pton(family, address)),
                    ("WGALLOWEDIP_A_CIDR_MASK", length),
                ]
            }
            for family, address, length in prefixes
        ],
    )


DEVICE = (
    ("WGDEVICE_A_IFNAME", "wg0"),
    ("WGDEVICE_A_PRIVATE_KEY", SECRET),
    ("WGDEVICE_A_PUBLIC_KEY", OWN),
    ("WGDEVICE_A_LISTEN_PORT", 51820),
    ("WGDEVICE_A_FWMARK", 0x20),
)
V4 = (AF_INET, "192.0.2.0", 24)
V6 = (AF_INET6, "2001:db8::", 32)


def test_a_device_is_read_with_its_peers_sorted() -> None:
    answer = wireguard(
        *DEVICE,
        (
            "WGDEVICE_A_PEERS",
            [
                peer(SECOND, ("WGPEER_A_ENDPOINT", {"addr": "2001:db8::5", "port": 2})),
                peer(
                    FIRST,
                    ("WGPEER_A_ENDPOINT", {"addr": "192.0.2.7", "port": 51820}),
                    ("WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL", 25),
                    allowed(V4, V6),
                ),
            ],
        ),
    )
    assert status_of(read_device([answer])) == WireguardStatus(
        public_key=OWN,
        listen_port=51820,
        firewall_mark=0x20,
        peers=(
            WireguardPeerStatus(
                public_key=FIRST,
                endpoint="192.0.2.7:51820",
                persistent_keepalive_interval=datetime.timedelta(seconds=25),
                allowed_ips=("192.0.2.0/24", "2001:db8::/32"),
            ),
            WireguardPeerStatus(public_key=SECOND, endpoint="[2001:db8::5]:2"),
        ),
    )


def test_a_peer_split_over_two_messages_is_one() -> None:
    messages = [
        wireguard(*DEVICE, ("WGDEVICE_A_PEERS", [peer(FIRST, allowed(V4))])),
        wireguard(("WGDEVICE_A_IFNAME", "wg0"), ("WGDEVICE_A_PEERS", [peer(FIRST, allowed(V6)), peer(SECOND)])),
    ]
    peers = status_of(read_device(messages)).peers
    assert [(each.public_key, each.allowed_ips) for each in peers] == [
        (FIRST, ("192.0.2.0/24", "2001:db8::/32")),
        (SECOND, ()),
    ]


def test_no_secret_is_in_a_status() -> None:
    device = read_device([wireguard(*DEVICE, ("WGDEVICE_A_PEERS", [peer(FIRST)]))])
    assert SECRET not in repr(device)
    assert SECRET not in repr(status_of(device))


def test_a_device_without_a_key_is_empty() -> None:
    assert status_of(read_device([wireguard(("WGDEVICE_A_IFNAME", "wg0"))])) == WireguardStatus()
