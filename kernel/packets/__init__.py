"""ARP and neighbour discovery: who has an address, and the announcement that this machine has it."""
