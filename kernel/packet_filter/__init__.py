"""nftables, through the `nft` command."""
