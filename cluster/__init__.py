"""Test clusters in network namespaces of one machine, and configurations for real clusters."""
