"""What goes wrong in a build, in words."""


class BuildError(Exception):
    """A package cannot be built; the text says why and what to do."""
