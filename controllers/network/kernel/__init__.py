"""The rim: how the network is read from the kernel, the drivers and the buses. The rules are elsewhere."""
