"""Renames links and sets their alternative names, over rtnetlink. All calls block and raise OSError."""

import errno

from nodespan.kernel import rtnl
from nodespan.kernel.rtnetlink import AF_UNSPEC, RtnlSocket, nest, zero_terminated
from nodespan.kernel.rtnl import NLM_F_CREATE, NLM_F_EXCL

_IFNAME = 3
_PROP_LIST = 52
_ALT_IFNAME = 53

_ANY_TYPE = 0


def rename_link(kernel: RtnlSocket, index: int, name: str, *, is_alt_name: bool) -> None:
    """Rename a link. `is_alt_name`: the new name is an alternative name of it, which has to be removed first.

    EEXIST: another link has the name. EBUSY: the link is up, and the kernel renames only links that are down.
    """
    if is_alt_name:
        remove_alt_name(kernel, index, name)
    try:
        kernel.change(rtnl.RTM_NEWLINK, 0, (AF_UNSPEC, _ANY_TYPE, index, 0, 0), zero_terminated(_IFNAME, name))
    except OSError:
        if is_alt_name:
            add_alt_name(kernel, index, name)
        raise


def add_alt_name(kernel: RtnlSocket, index: int, name: str) -> None:
    """Add an alternative name. EEXIST: some link has it, as its name or as an alternative one."""
    flags = NLM_F_CREATE | NLM_F_EXCL
    kernel.change(rtnl.RTM_NEWLINKPROP, flags, (AF_UNSPEC, _ANY_TYPE, index, 0, 0), _alt_name(name))


def remove_alt_name(kernel: RtnlSocket, index: int, name: str) -> None:
    """Remove an alternative name; a missing one is no error."""
    try:
        kernel.change(rtnl.RTM_DELLINKPROP, 0, (AF_UNSPEC, _ANY_TYPE, index, 0, 0), _alt_name(name))
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise


def _alt_name(name: str) -> bytes:
    return nest(_PROP_LIST, zero_terminated(_ALT_IFNAME, name))
