"""How a machine becomes part of a mesh: configurations, tokens, and the commands `init`, `join` and `token`."""
