"""The trust of the node's API: its authority, the names it is for, its certificate."""
