"""The namespaces of the network family."""

# Everything about the network that is merged or seen.
NAMESPACE = "network"
# What each source wants, before the layers are merged.
CONFIG_NAMESPACE = "network-config"
