"""Peers of WireGuard devices, and endpoints that are given by name."""
