"""Port mappings at the router: the messages of PCP, NAT-PMP and UPnP IGD, who sends them, and the record."""
