"""The discovery service: stores what the nodes of a cluster exchange, and cannot read any of it."""
