"""Links whose names are not text, in the kernel: what reaches a link by its name reaches just that one."""

import os

import pytest

from nodespan.controllers.network.dhcp.dhcp_sockets import open_transport4, open_transport6
from nodespan.kernel.changes.link_alias import AliasChange, set_aliases
from nodespan.kernel.changes.link_names import add_alt_name, remove_alt_name
from nodespan.kernel.hardware.ethtool import open_ethtool
from nodespan.kernel.links import list_links
from nodespan.kernel.packets.arp import ArpSocket
from nodespan.kernel.packets.ndisc import NdiscSocket
from nodespan.kernel.rtnetlink import open_rtnl_socket
from tests.support.netns import namespace

pytestmark = pytest.mark.needs_link("veth", "bridge")

ONE, OTHER = b"\xffa", b"\xfea"
MAC = "02:00:00:00:77:01"


async def test_links_whose_names_are_not_text_are_reached_each_by_its_own() -> None:
    with namespace() as inside:
        netns = str(inside.path)
        for name, kind in ((ONE, "bridge"), (OTHER, "veth")):
            inside.run("ip", "link", "add", os.fsdecode(name), "type", kind)
            inside.run("ip", "link", "set", os.fsdecode(name), "up")
        with open_rtnl_socket(netns) as kernel:
            links = {link.name: link.status.index for link in list_links(kernel).values()}
            assert {"\\xffa", "\\xfea"} <= links.keys()
            with open_ethtool(netns) as ethtool:
                assert [ethtool.read(name).driver for name in ("\\xffa", "\\xfea")] == ["bridge", "veth"]
            # An alias and another name of bytes, as they are put back.
            (result,) = set_aliases(kernel, [AliasChange(index=links["\\xffa"], alias="up\\xfflink")]).values()
            assert result.error is None
            add_alt_name(kernel, links["\\xffa"], "alt\\xff")
            found = {link.name: link.status for link in list_links(kernel).values()}["\\xffa"]
            assert (found.alias, found.alt_names) == ("up\\xfflink", ("alt\\xff",))
            remove_alt_name(kernel, links["\\xffa"], "alt\\xff")
        for neighbours in (ArpSocket, NdiscSocket):
            with neighbours("\\xffa", bytes.fromhex(MAC.replace(":", "")), netns) as opened:
                opened.announce(bytes([192, 0, 2, 1]) if neighbours is ArpSocket else bytes(15) + b"\x01")
        async with open_transport6("\\xffa", links["\\xffa"], netns):
            pass
        with pytest.raises(OSError, match="not text, so DHCPv4 cannot run there: rename the link"):
            async with open_transport4("\\xffa", "ff:ff:ff:ff:ff:ff", netns):
                pass
