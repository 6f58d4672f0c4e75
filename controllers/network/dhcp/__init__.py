"""DHCP clients: the protocols without any I/O, the leases they get, and the operators that run them on links."""
