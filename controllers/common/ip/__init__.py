"""Structures over addresses and prefixes. Pure: no I/O, no clock.

Which one to use:

    ranges   one family, addresses as pairs of integers. For matches of the packet filter, which take intervals.
             `blocks` computes with it.
    blocks   `IPSet`, an immutable set of addresses of both families with |, - and `overlaps`, and the fewest prefixes
             that cover it. For allowed IPs: what a peer claims, without what it excludes.
    index    `PrefixIndex`, mutable: which holders have a prefix that overlaps a given one. A lookup costs what it
             finds. For many holders of which few change.
    cover    `PrefixCover`, mutable: the prefixes of many owners that no other prefix contains, kept up to date by each
             change. For interval sets of nftables, whose elements must not overlap.

`index` and `cover` both keep sorted prefixes and count lengths, but for different questions: an index answers for
overlap in either direction and keeps the holders, a cover keeps which prefixes are outermost.
"""
