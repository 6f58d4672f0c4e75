"""From the configuration to unmerged specs of the network: a controller per kind of spec, its functions beside it."""
