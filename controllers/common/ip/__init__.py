"""Structures over addresses and prefixes. Pure: no I/O, no clock.

Which one to use:

    ranges      one family, addresses as pairs of integers. For matches of the packet filter, which take intervals.
                `blocks` computes with it.
    blocks      `IPSet`, an immutable set of addresses of both families with |, - and `overlaps`, and the fewest
                prefixes that cover it. For allowed IPs: what a peer claims, without what it excludes.
    prefix_map  `PrefixMap`, mutable: a value per prefix; which keys contain a prefix, and which it contains. `index`
                and `cover` are built on it.
    index       `PrefixIndex`, mutable: which holders have a prefix that overlaps a given one. A lookup costs what it
                finds. For many holders of which few change.
    cover       `PrefixCover`, mutable: the prefixes of many owners that no other prefix contains, kept up to date by
                each change. For interval sets of nftables, whose elements must not overlap.
"""
