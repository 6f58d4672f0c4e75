"""Clusters for trying things out, in network namespaces of one machine, and the configurations of real ones."""
