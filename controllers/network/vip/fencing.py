"""Until when the kernel may have a virtual IP, so that no two nodes ever have it at the same time.

Theory. The lease at etcd ends, at the earliest, `ttl` after the last renewal was sent; only then can another node be
elected. Two clocks end before that, independently:

    sent                                   valid_until          sent + ttl
     |--------------------------------------------|--------- margin ---|
     the agent: removes the address               ^ here
     the kernel, if the agent is stopped: whole seconds from the last write on, and then up to KERNEL_SLACK late

The kernel counts the lifetime of an address in whole seconds and looks at most once a second. So it is given the
remaining time, rounded down, less what leaves it room to be late. Measured over some dozens of expirations, while other
addresses came and went: 0.01 to 0.5 seconds late, never early.

No jump of the wall clock changes either. While the machine sleeps, the agent's clock runs on and the kernel's count
stands still: there the agent, which wakes with the machine, removes the address.
"""

from nodespan.etcd import margin

# How late the kernel may be in removing an expired address, in seconds.
KERNEL_SLACK = 1.1


def kernel_deadline(valid_until: float, ttl: float) -> float:
    """Until when the kernel may keep the address, if a lease of this TTL is valid until that moment."""
    return min(valid_until, valid_until + margin(ttl) - KERNEL_SLACK)
