"""Names of the VLANs of a device."""

import hashlib

_LONGEST_BASE = 10
_HEAD, _DIGITS = 4, 6


def vlan_link_name(base: str, vlan_id: int) -> str:
    """`eth0.100`; a base that is too long is replaced by its beginning and some digits of its SHA-256."""
    if len(base.encode()) > _LONGEST_BASE:
        base = base[:_HEAD] + hashlib.sha256(base.encode()).hexdigest()[:_DIGITS]
    return f"{base}.{vlan_id}"
