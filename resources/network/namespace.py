"""The namespace of everything about the network that is merged or seen."""

NAMESPACE = "network"
