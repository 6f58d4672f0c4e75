"""Giving links other names, and further ones, over rtnetlink. All calls block and raise OSError."""

import errno

from pyroute2.netlink import NLM_F_CREATE, NLM_F_EXCL, rtnl

from nodespan.kernel.rtnetlink import AF_UNSPEC, Kernel, nest, zero_terminated

_IFNAME = 3
_PROP_LIST = 52
_ALT_IFNAME = 53

_ANY_TYPE = 0


def rename_link(kernel: Kernel, index: int, name: str, *, is_alt_name: bool) -> None:
    """Give a link another name. `is_alt_name`: it has this as a further one, which it cannot have at the same time.

    EEXIST: there is another link of the name. EBUSY: the link is up, and the kernel renames only such as are down.
    """
    if is_alt_name:
        remove_alt_name(kernel, index, name)
    try:
        kernel.change(rtnl.RTM_NEWLINK, 0, (AF_UNSPEC, _ANY_TYPE, index, 0, 0), zero_terminated(_IFNAME, name))
    except OSError:
        if is_alt_name:
            add_alt_name(kernel, index, name)
        raise


def add_alt_name(kernel: Kernel, index: int, name: str) -> None:
    """Give a link a further name. EEXIST: some link has it, as its name or as a further one."""
    flags = NLM_F_CREATE | NLM_F_EXCL
    kernel.change(rtnl.RTM_NEWLINKPROP, flags, (AF_UNSPEC, _ANY_TYPE, index, 0, 0), _alt_name(name))


def remove_alt_name(kernel: Kernel, index: int, name: str) -> None:
    """Take a further name away; one that is not there is no error."""
    try:
        kernel.change(rtnl.RTM_DELLINKPROP, 0, (AF_UNSPEC, _ANY_TYPE, index, 0, 0), _alt_name(name))
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise


def _alt_name(name: str) -> bytes:
    return nest(_PROP_LIST, zero_terminated(_ALT_IFNAME, name))
