"""The one error that packets from the network can cause."""


class MalformedError(ValueError):
    """A packet, or a part of one, that violates the protocol; the text names the part."""
