"""The other network managers of a machine: which links they hold, and how each lets go."""
