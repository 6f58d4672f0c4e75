"""Structures over addresses and prefixes: ranges, covers, indexes, blocks. Pure."""
