"""Virtual IPs that a cloud routes: the elected node has the cloud's API lead the address to it."""
