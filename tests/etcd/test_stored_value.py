"""Values of resources at etcd: whatever is written is read back, and nothing else is read."""

import contextlib
import json
import string
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodespan.etcd.stored_value import MAX_VALUE, UnknownTypeError, ValueCodec, ValueUnreadableError, token_of
from nodespan.runtime.resource import Metadata, Phase, Resource, ResourceType
from nodespan.runtime.state.sealing import Seal, SealError

TOKEN = b"0123456789abcdef"


@attrs.frozen
class NoteSpec:
    """A text, a number and a blob."""

    text: str = ""
    number: int = 0
    blob: bytes = b""
    parts: tuple[str, ...] = ()


Note = ResourceType("Notes.test.nodespan.dev", NoteSpec, namespace="default")
Secret = ResourceType("Secrets.test.nodespan.dev", NoteSpec, namespace="default", sensitive=True)


def no_key() -> Seal:
    raise SealError("there is no key")


def codec(seal: Seal | None = None) -> ValueCodec:
    made = ValueCodec(no_key if seal is None else lambda: seal)
    made.learn(Note)
    made.learn(Secret)
    return made


text = st.text(max_size=8)
specs = st.builds(NoteSpec, text, st.integers(-(2**40), 2**40), st.binary(max_size=8), st.lists(text).map(tuple))


@given(
    specs,
    text,
    st.sampled_from(Phase),
    st.dictionaries(text, text, max_size=3),
    st.lists(text, unique=True, max_size=3).map(tuple),
)
def test_what_is_written_is_read_back(
    spec: NoteSpec, owner: str, phase: Phase, labels: dict[str, str], finalizers: tuple[str, ...]
) -> None:
    metadata = Metadata(*Note.kind, "a", 7, owner, phase, 1, 2, labels, labels, finalizers)
    resource = Resource(metadata, spec)
    value = codec().encode(resource, TOKEN)
    read = codec().decode(resource.pointer, 7, value)
    assert read == resource
    assert (read.metadata.created, read.metadata.updated) == (1, 2)
    assert token_of(value) == TOKEN
    assert value.isascii()
    json.loads(value)


def test_secrets_are_bound_to_key_place_and_version() -> None:
    one, other = Seal(bytes(32)), Seal(bytes(31) + b"\1")
    secret = Resource(Metadata(*Secret.kind, "a", 1), NoteSpec("hidden"))
    value = codec(one).encode(secret, TOKEN)
    assert b"hidden" not in value
    assert codec(one).decode(secret.pointer, 1, value) == secret
    elsewhere = Secret.kind.pointer("b")
    for seal, pointer, version in ((other, secret.pointer, 1), (one, elsewhere, 1), (one, secret.pointer, 2)):
        with pytest.raises(ValueUnreadableError, match="changed, moved, or sealed with another key"):
            codec(seal).decode(pointer, version, value)
    with pytest.raises(ValueUnreadableError, match="no key"):
        codec().decode(secret.pointer, 1, value)
    with pytest.raises(SealError):
        codec().encode(secret, TOKEN)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(string.printable, max_size=3),
        lambda inner: (
            st.lists(inner, max_size=2)
            | st.dictionaries(st.sampled_from(("owner", "spec", "text", "parts")), inner, max_size=3)
        ),
        max_leaves=6,
    ),
    st.sampled_from(("owner", "phase", "created", "updated", "labels", "annotations", "finalizers", "spec")),
)
def test_any_json_in_any_field_is_read_or_refused(nonsense: Any, field: str) -> None:
    fields: dict[str, Any] = {"nodespan": 1, "write": TOKEN.decode()}
    fields |= {"owner": "", "phase": "running", "created": 1, "updated": 1, "spec": {}}
    fields[field] = nonsense
    value = json.dumps(fields, separators=(",", ":")).encode()
    # Any other error than this one would end the view of everything.
    with contextlib.suppress(ValueUnreadableError):
        read = codec().decode(Note.kind.pointer("a"), 1, value)
        assert isinstance(read.spec, NoteSpec)


@given(st.binary(max_size=64))
def test_other_bytes_are_refused(value: bytes) -> None:
    with pytest.raises(ValueUnreadableError, match="not written by nodespan"):
        codec().decode(Note.kind.pointer("a"), 1, value)
    assert token_of(value) == b""


def test_refusals_have_a_reason_and_no_content() -> None:
    pointer = Note.kind.pointer("a")
    head = b'{"nodespan":1,"write":"0123456789abcdef",'
    with pytest.raises(ValueUnreadableError, match="format 2"):
        codec().decode(pointer, 1, head.replace(b"1", b"2", 1))
    with pytest.raises(ValueUnreadableError, match="bytes"):
        codec().decode(pointer, 1, head + b" " * MAX_VALUE)
    with pytest.raises(UnknownTypeError):
        codec().decode(pointer._replace(type="Strangers.test.nodespan.dev"), 1, head)
    rest = b'"owner":"","phase":"running","created":1,"updated":1,"spec":{"number":"hidden"}'
    with pytest.raises(ValueUnreadableError, match="NoteSpec") as refusal:
        codec().decode(pointer, 1, head + rest + b"}")
    assert "hidden" not in str(refusal.value)
    with pytest.raises(ValueError, match="register_types"):
        codec().encode(Resource(Metadata("n", "Strangers.test.nodespan.dev", "a"), NoteSpec()), TOKEN)
