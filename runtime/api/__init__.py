"""How the outside reads the state: the local socket and the metrics page."""
