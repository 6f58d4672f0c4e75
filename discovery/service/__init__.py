"""The discovery service: keeps what the nodes of a cluster tell each other, and cannot read any of it."""
