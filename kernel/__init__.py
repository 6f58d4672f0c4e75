"""Talks to the kernel and knows no controller: netlink, mirrors, links, addresses, routes, nft, WireGuard."""
