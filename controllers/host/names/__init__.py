"""Names of the members of the cluster: who has which, and how the programs of the machine get to know them."""
