"""The announcement of an address."""

from controllers.network.kernel.arp import frame


def test_an_announcement_asks_for_its_own_address() -> None:
    mac, address = bytes.fromhex("020000000007"), bytes([192, 0, 2, 1])
    assert frame(address, mac).hex() == (
        "ffffffffffff02000000000708060001080006040001020000000007c0000201020000000007c0000201"
    )
