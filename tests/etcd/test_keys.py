"""Keys of resources: one for each address, and nothing else is one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodespan.etcd.keys import MAX_KEY, key_of, pointer_of, root_of
from nodespan.runtime.resource import Pointer

ROOT = root_of("/nodespan")
part = st.text(max_size=20)


@given(part, part, part)
def test_a_key_leads_back_to_its_resource(namespace: str, type: str, id: str) -> None:
    pointer: Pointer[object] = Pointer(namespace, type, id)
    key = key_of(ROOT, pointer)
    assert pointer_of(ROOT, key) == pointer
    assert key.count(b"/") == 4
    assert key.isascii()


def test_keys_can_be_read() -> None:
    pointer: Pointer[object] = Pointer("network", "LinkStatuses.net.talos.dev", "a b/ü;,?$&+=:@-_.~")
    expected = b"/nodespan/network/LinkStatuses.net.talos.dev/a%20b%2F%C3%BC%3B%2C%3F$&+=:@-_.~"
    assert key_of(ROOT, pointer) == expected


@pytest.mark.parametrize("prefix", ["/a/b", "a/b", "/a/b/", "//a//b"])
def test_a_prefix_has_one_form(prefix: str) -> None:
    assert root_of(prefix) == b"/a/b/"


@pytest.mark.parametrize("prefix", ["", "/", "//"])
def test_a_state_has_a_prefix(prefix: str) -> None:
    with pytest.raises(ValueError, match="prefix of keys"):
        root_of(prefix)


@pytest.mark.parametrize("rest", [b"a", b"a/b", b"a/b/c/d", b"a/b/%63", b"a/b/%2f", b"a/b/c d", b"a/b/\xff", b"a/b/%"])
def test_other_keys_are_refused(rest: bytes) -> None:
    with pytest.raises(ValueError, match="it is"):
        pointer_of(ROOT, ROOT + rest)


def test_a_key_has_a_bound() -> None:
    with pytest.raises(ValueError, match="too long"):
        key_of(ROOT, Pointer("n", "t", "i" * MAX_KEY))
    with pytest.raises(ValueError, match="it is"):
        pointer_of(ROOT, ROOT + b"n/t/" + b"i" * MAX_KEY)
