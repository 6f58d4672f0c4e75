"""The controllers of a node, one per module, with the pure rules beside them."""
