"""The typed specs of everything a node knows, one package or module per family."""
