"""Operators: loops that run on a link and write specs for it, such as DHCP clients. `base` has their interface."""
