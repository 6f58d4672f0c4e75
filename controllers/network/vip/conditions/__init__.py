"""The health checks that must hold before a node may own a virtual IP."""
