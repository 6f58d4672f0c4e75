"""From the configuration to what is wanted of the network: a controller per kind of spec, its rules beside it."""
