"""Names of hosts as they are given to the resolver of the system."""

# RFC 1035, 2.3.4.
_LONGEST_LABEL = 63


def for_lookup(host: str) -> str | bytes:
    """The name, or address, as `getaddrinfo` takes it.

    It converts texts by IDNA, of whatever characters, and loads 0.3 MB for that at the first one, an address, too: some
    ten milliseconds of the loop. Texts of ASCII stay as they are under IDNA, if their labels are not too long or empty.
    Others are left to it, as they are or with its UnicodeError.
    """
    labels = host.removesuffix(".").split(".")
    if host.isascii() and all(0 < len(label) <= _LONGEST_LABEL for label in labels):
        return host.encode()
    return host
