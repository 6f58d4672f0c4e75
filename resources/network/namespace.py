"""The namespaces of the network family."""

# Merged specs and statuses.
NAMESPACE = "network"
# Unmerged specs of each layer.
CONFIG_NAMESPACE = "network-config"
