"""Chains and sets of the packet filter, kept in the agent's own table."""
