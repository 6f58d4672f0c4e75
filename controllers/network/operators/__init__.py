"""Operators: what runs on a link and wants things of the network for it. `base` is what they have in common."""
