"""Controllers as a user would write them; each module says how to run it."""
