"""Until when the kernel may have a virtual IP, so that no two nodes ever have it at one time.

Theory. The lease at etcd ends, at the earliest, `ttl` after the last renewal was sent; only then can another node be
elected. Three things end before that, each by itself:

    sent                                   valid_until          sent + ttl
     |--------------------------------------------|--------- margin ---|
     the agent: takes the address away            ^ here
     the kernel, if the agent is stopped: whole seconds from the last write on, and then up to KERNEL_SLACK late

The kernel counts the life of an address in whole seconds and looks at most once a second, so it is given what is left
rounded down, and of that only what leaves it room to be late. Measured over some dozens of ends, with other addresses
coming and going to disturb it: 0.01 to 0.5 seconds late, never early.

Both clocks go on while the machine sleeps or its wall clock jumps, except for the kernel's count, which stands still in
sleep: there the agent, which wakes with the machine, is what takes the address away.
"""

from nodespan.etcd import margin

# How late the kernel may be in removing an address whose time is over, in seconds.
KERNEL_SLACK = 1.1


def kernel_deadline(valid_until: float, ttl: float) -> float:
    """Up to when the kernel may be told to keep the address, given until when a lease of this TTL is valid."""
    return min(valid_until, valid_until + margin(ttl) - KERNEL_SLACK)
