"""nodespan: a resource-controller runtime, and a node agent with the networking layers of Talos Linux on it."""
