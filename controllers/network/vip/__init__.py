"""Virtual IPs: one of several nodes, elected at etcd, holds an address."""
