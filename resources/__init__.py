"""The typed specs of all resources of a node, one package or module per family."""
