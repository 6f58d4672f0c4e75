"""The other network managers of a machine: which links they manage, and how each releases them."""
