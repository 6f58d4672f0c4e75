"""Where a state on etcd keeps a resource: `PREFIX/NAMESPACE/TYPE/ID`, each part escaped as in a URL.

So the keys of a namespace, and those of a kind, have a prefix in common, and `etcdctl get --prefix` can be read. The
characters that stay as they are, are those that the originals leave; an id keeps its case and may hold anything.
"""

from urllib.parse import quote, unquote_to_bytes

from nodespan.runtime.resource import Pointer

_SAFE = "-_.~$&+=:@"
# Longer keys are refused, although etcd would accept them.
MAX_KEY = 8 << 10


def root_of(prefix: str) -> bytes:
    """The beginning of all keys of a state; the prefix is like `/nodespan`. Raises ValueError."""
    parts = [part for part in prefix.split("/") if part]
    if not parts:
        raise ValueError(f"{prefix!r} is not a prefix of keys: write it like /nodespan")
    return f"/{'/'.join(parts)}/".encode()


def key_of(root: bytes, pointer: Pointer[object]) -> bytes:
    """The key of a resource. Raises ValueError for one that is too long."""
    key = root + "/".join(map(_escaped, pointer)).encode()
    if len(key) > MAX_KEY:
        raise ValueError(f"the key of {pointer.type} with an id of {len(pointer.id)} characters is too long for etcd")
    return key


def pointer_of(root: bytes, key: bytes) -> Pointer[object]:
    """The resource that a key is of. Raises ValueError for a key that `key_of` does not make."""
    parts = key.removeprefix(root).split(b"/")
    if len(key) > MAX_KEY or len(parts) != 3:
        raise ValueError("it is not NAMESPACE/TYPE/ID")
    pointer: Pointer[object] = Pointer(*(unquote_to_bytes(part).decode(errors="surrogateescape") for part in parts))
    if key_of(root, pointer) != key:
        raise ValueError("it is escaped in another way than such keys are")
    return pointer


def _escaped(text: str) -> str:
    return quote(text, safe=_SAFE, errors="surrogateescape")
