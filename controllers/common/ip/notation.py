"""Addresses as texts of a configuration: None for what is not one, instead of an error."""

import ipaddress

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IpInterface = ipaddress.IPv4Interface | ipaddress.IPv6Interface


def parse_ip(text: str) -> IpAddress | None:
    """The address, None if the text is not an address. One with a zone (`fe80::1%eth0`) is not accepted."""
    try:
        return None if "%" in text else ipaddress.ip_address(text)
    except ValueError:
        return None


def parse_cidr(text: str) -> IpInterface | None:
    """The address with its prefix length, None if the text is not one. Host bits may be set; no netmasks."""
    address, _, length = text.partition("/")
    if parse_ip(address) is None or not (length.isascii() and length.isdecimal()):
        return None
    try:
        return ipaddress.ip_interface(text)
    except ValueError:
        return None
