"""The discovery service: stores the encrypted records of clusters, which it cannot read."""
