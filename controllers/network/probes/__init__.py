"""Probes: what the node has to reach for its network to count as ready."""
