"""Asking for what hangs on a link that is gone: a link may go at any time, also between two questions."""

from pyroute2.netlink import rtnl

from nodespan.kernel.rtnetlink import open_rtnl_socket
from nodespan.kernel.saved_objects import on_link

GONE = 2**31 - 1


def test_nothing_hangs_on_a_link_that_is_gone() -> None:
    with open_rtnl_socket(None, strict=True) as kernel:
        assert on_link(kernel, GONE, 0.0) == ()
        assert list(kernel.dump_matching(rtnl.RTM_GETADDR, (0, 0, 0, 0, GONE))) == []
        assert kernel.link(GONE) is None
        # The connection is in step afterwards.
        assert on_link(kernel, 1, 0.0)
