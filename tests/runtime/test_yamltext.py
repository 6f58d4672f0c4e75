"""The YAML text of plain data and of resources, and that it reads back as what was written."""

import math
import textwrap
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from nodespan.runtime.codec.yamltext import dump, dump_resource


def load(text: str) -> Any:
    return YAML(typ="safe", pure=True).load(text)


def load_1_1(text: str) -> Any:
    reader = YAML(typ="safe", pure=True)
    reader.version = (1, 1)
    return reader.load(text)


PLAIN = [
    "up",
    "ff:ff:ff:ff:ff:ff",
    "00:50:56:8e:8f:e4",
    "8086:10FB",
    "6.8.0",
    "192.168.0.10",
    "192.168.0.10/24",
    "fd00::1/64",
    "UP,BROADCAST,RUNNING",
    "82599ES 10-Gigabit SFI/SFP+ Network Connection",
    "enp1s0/192.168.0.15/32",
    "yEs",
    "nullable",
    "-foo",
    "a#b",
    "a:b",
    "it's",
    'say "x"',
    "a [b] {c}",
    "größe ✓ 😀",
    "12:61",
    "1.2.3",
    "0xyz",
]
TAKEN_FOR_SOMETHING_ELSE = [
    "",
    "~",
    "null",
    "Null",
    "true",
    "False",
    "yes",
    "No",
    "on",
    "OFF",
    "y",
    "n",
    "1",
    "-1",
    "+1",
    "0",
    "1_000",
    "0777",
    "0o17",
    "0b1",
    "0x10fb",
    "0x800003df",
    "1.5",
    "1.",
    ".5",
    "1e3",
    "1.5e+3",
    ".inf",
    "-.Inf",
    ".nan",
    "0000:01:00.0",
    "00:50:56",
    "00:50:56:12:34:56",
    "0:00:1",
    "12:30",
    "2026-01-02",
    "2026-01-02T03:04:05Z",
    "2026-1-2 3:04:05.5 +01:00",
    "<<",
    "=",
    "-_",
]
SINGLE_QUOTED = [
    "- a",
    "-",
    "? a",
    ": a",
    "#a",
    "a #b",
    "a: b",
    "a:",
    " a",
    "a ",
    " ",
    "[a",
    "]",
    "{a",
    "&a",
    "*a",
    "!a",
    "|",
    ">",
    "'a'",
    '"a"',
    "%a",
    "@a",
    "`a",
    "---",
    "... a",
    ",",
]
ESCAPED = {
    "a\tb": r'"a\tb"',
    "\x1b[31m": r'"\x1b[31m"',
    "\x00\x7f\x85": r'"\0\x7f\x85"',
    "a\r\nb": r'"a\r\nb"',
    "\u2028": r'"\u2028"',
    "\ufeff": r'"\ufeff"',
    "\n": r'"\n"',
    "a \nb": r'"a \nb"',
    'tab\t "\\"': r'"tab\t \"\\\""',
}


@pytest.mark.parametrize("text", PLAIN)
def test_text_that_every_reader_takes_for_text_is_plain(text: str) -> None:
    assert dump({"k": text}) == f"k: {text}\n"
    assert load(dump({text: text})) == load_1_1(dump({text: text})) == {text: text}


@pytest.mark.parametrize("text", TAKEN_FOR_SOMETHING_ELSE)
def test_text_that_some_reader_takes_for_another_type_is_in_double_quotes(text: str) -> None:
    assert dump({"k": text}) == f'k: "{text}"\n'
    assert load(dump({text: text})) == load_1_1(dump({text: text})) == {text: text}


@pytest.mark.parametrize("text", SINGLE_QUOTED)
def test_text_that_the_syntax_does_not_allow_plain_is_in_single_quotes(text: str) -> None:
    quoted = text.replace("'", "''")
    assert dump({"k": text}) == f"k: '{quoted}'\n"
    assert load(dump({text: text})) == load_1_1(dump({text: text})) == {text: text}


@pytest.mark.parametrize(("text", "quoted"), ESCAPED.items())
def test_text_with_control_characters_is_escaped(text: str, quoted: str) -> None:
    assert dump({"k": text}) == f"k: {quoted}\n"
    assert load(dump({text: text})) == load_1_1(dump({text: text})) == {text: text}


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ({}, "{}\n"),
        ([], "[]\n"),
        ((), "[]\n"),
        ("x", "x\n"),
        (None, "null\n"),
        (True, "true\n"),
        (-1, "-1\n"),
        (0.5, "0.5\n"),
        (2.0, "2.0\n"),
        (1e20, "1.0e+20\n"),
        (math.inf, ".inf\n"),
        (-math.inf, "-.inf\n"),
        (math.nan, ".nan\n"),
        ({"b": 1, "a": {}}, "b: 1\na: {}\n"),
        ({1: None, False: [], "no": "off"}, '1: null\nfalse: []\n"no": "off"\n'),
        (["a", ["b", ["c"], {}], []], "- a\n- - b\n  - - c\n  - {}\n- []\n"),
        ({"a": {"b": {"c": 1}}}, "a:\n    b:\n        c: 1\n"),
        ({"a": ["b", "c"]}, "a:\n    - b\n    - c\n"),
        (
            {"peers": [{"key": "k", "allowedIPs": ["10.0.0.0/8"], "port": {"lo": 1}}, {"key": "l"}]},
            "peers:\n    - key: k\n      allowedIPs:\n        - 10.0.0.0/8\n      port:\n        lo: 1\n    - key: l\n",
        ),
    ],
)
def test_data_is_written_in_blocks(data: object, text: str) -> None:
    assert dump(data) == text


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ({"k": "a\nb\n"}, "k: |\n    a\n    b\n"),
        ({"k": "a\nb"}, "k: |-\n    a\n    b\n"),
        ({"k": "a\n\n\n", "l": 1}, "k: |+\n    a\n\n\nl: 1\n"),
        ({"k": "a\n\n  b: #c\n"}, "k: |\n    a\n\n      b: #c\n"),
        ({"k": "  a\nb\n"}, "k: |4\n      a\n    b\n"),
        ({"k": "\n  a\n"}, "k: |4\n\n      a\n"),
        ({"k": {"l": "a\nb"}}, "k:\n    l: |-\n        a\n        b\n"),
        (["a\nb", " a\nb"], "- |-\n  a\n  b\n- |2-\n   a\n  b\n"),
        ([{"k": " a\nb"}], "- k: |2-\n     a\n    b\n"),
        ({"k": "\ta\n\tb\n"}, "k: |\n    \ta\n    \tb\n"),
        ("a\nb\n", "|\n    a\n    b\n"),
        (" a\nb\n", '" a\\nb\\n"\n'),
        ({"a\nb": 1}, '"a\\nb": 1\n'),
    ],
)
def test_text_of_several_lines_is_a_literal_block(data: object, text: str) -> None:
    assert dump(data) == text
    assert load(text) == load_1_1(text) == data


def test_a_key_beyond_what_the_syntax_allows_before_a_colon_is_written_explicitly() -> None:
    data = {"k" * 2000: {"a": 1}, "l" * 2000: 2}
    assert dump(data) == f"? {'k' * 2000}\n:\n    a: 1\n? {'l' * 2000}\n: 2\n"
    assert load(dump(data)) == data


@pytest.mark.parametrize("data", [b"bytes", {"a": {1}}, [object], {("a",): 1}])
def test_what_is_not_plain_data_is_refused(data: object) -> None:
    with pytest.raises(TypeError, match="plain data"):
        dump(data)


METADATA: dict[str, Any] = {
    "namespace": "ns",
    "type": "typ",
    "id": "id",
    "version": 3,
    "owner": "FooController",
    "phase": "running",
    "created": "2021-06-23T19:22:29Z",
    "updated": "2021-06-23T20:22:29Z",
}


def test_a_resource_reads_as_the_originals_write_it() -> None:
    metadata = METADATA | {"labels": {"app": "foo"}, "annotations": {"ttl": "1h"}, "finalizers": ["a1", "a2"]}
    assert dump_resource(metadata, True) == textwrap.dedent(  # noqa: FBT003
        """\
        metadata:
            namespace: ns
            type: typ
            id: id
            version: 3
            owner: FooController
            phase: running
            created: 2021-06-23T19:22:29Z
            updated: 2021-06-23T20:22:29Z
            labels:
                app: foo
            annotations:
                ttl: 1h
            finalizers:
                - a1
                - a2
        spec: true
        """
    )


def test_a_link_status_reads_as_the_originals_write_it() -> None:
    metadata = {
        "namespace": "network",
        "type": "LinkStatuses.net.talos.dev",
        "id": "enp1s0",
        "version": 3,
        "owner": "network.LinkStatusController",
        "phase": "running",
        "created": "2026-01-02T03:04:05Z",
        "updated": "2026-01-02T03:04:07Z",
        "labels": {},
        "annotations": {},
        "finalizers": (),
    }
    spec = {
        "alias": "net0",
        "altNames": ("enx0050568e8fe4",),
        "index": 2,
        "type": "ether",
        "linkIndex": 0,
        "flags": "UP,BROADCAST,RUNNING,SLAVE,MULTICAST,LOWER_UP",
        "hardwareAddr": "00:50:56:8e:8f:e4",
        "permanentAddr": "00:50:56:8e:8f:e4",
        "broadcastAddr": "ff:ff:ff:ff:ff:ff",
        "mtu": 1500,
        "queueDisc": "pfifo_fast",
        "masterIndex": 7,
        "operationalState": "up",
        "kind": "",
        "slaveKind": "bond",
        "busPath": "0000:01:00.0",
        "pciID": "8086:10FB",
        "driver": "ixgbe",
        "driverVersion": "6.8.0",
        "firmwareVersion": "0x800003df",
        "productID": "0x10fb",
        "vendorID": "0x8086",
        "product": "82599ES 10-Gigabit SFI/SFP+ Network Connection",
        "vendor": "Intel Corporation",
        "linkState": True,
        "speedMbit": 10000,
        "port": "TwistedPair",
        "duplex": "Full",
    }
    assert dump_resource(metadata, spec, head={"node": "192.168.0.10"}) == textwrap.dedent(
        """\
        node: 192.168.0.10
        metadata:
            namespace: network
            type: LinkStatuses.net.talos.dev
            id: enp1s0
            version: 3
            owner: network.LinkStatusController
            phase: running
            created: 2026-01-02T03:04:05Z
            updated: 2026-01-02T03:04:07Z
        spec:
            alias: net0
            altNames:
                - enx0050568e8fe4
            index: 2
            type: ether
            linkIndex: 0
            flags: UP,BROADCAST,RUNNING,SLAVE,MULTICAST,LOWER_UP
            hardwareAddr: 00:50:56:8e:8f:e4
            permanentAddr: 00:50:56:8e:8f:e4
            broadcastAddr: ff:ff:ff:ff:ff:ff
            mtu: 1500
            queueDisc: pfifo_fast
            masterIndex: 7
            operationalState: up
            kind: ""
            slaveKind: bond
            busPath: "0000:01:00.0"
            pciID: 8086:10FB
            driver: ixgbe
            driverVersion: 6.8.0
            firmwareVersion: "0x800003df"
            productID: "0x10fb"
            vendorID: "0x8086"
            product: 82599ES 10-Gigabit SFI/SFP+ Network Connection
            vendor: Intel Corporation
            linkState: true
            speedMbit: 10000
            port: TwistedPair
            duplex: Full
        """
    )


def test_metadata_is_untyped_and_quoted_only_where_the_syntax_demands_it() -> None:
    metadata = METADATA | {
        "id": "10",
        "version": None,
        "owner": "",
        "labels": {"z": "true", "n": "10", "empty": "", "": "a: b", "line": "a\nb"},
        "finalizers": ['"resource1', "", "yes"],
    }
    assert dump_resource(metadata, {}, head={"node": "node-1", "event": "created"}) == textwrap.dedent(
        """\
        node: node-1
        event: created
        metadata:
            namespace: ns
            type: typ
            id: 10
            version: undefined
            owner:
            phase: running
            created: 2021-06-23T19:22:29Z
            updated: 2021-06-23T20:22:29Z
            labels:
                '': 'a: b'
                empty:
                line: "a\\nb"
                n: 10
                z: true
            finalizers:
                - '"resource1'
                -
                - yes
        spec: {}
        """
    )


@pytest.mark.parametrize("key", sorted(METADATA))
def test_a_resource_without_a_needed_key_is_refused(key: str) -> None:
    with pytest.raises(KeyError, match=key):
        dump_resource({name: value for name, value in METADATA.items() if name != key}, {})


AWKWARD = st.lists(
    st.sampled_from([*"ab01:-#?'\"\\ \n\t,[]{}&*!|>%@`.+_~=eE", "\r", "\x85", "\u2028", "---", ": "])
).map("".join)
TEXT = st.one_of(st.text(st.characters()), AWKWARD)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT
DATA = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(SCALARS, inner, max_size=4),
    max_leaves=12,
)


@given(DATA)
@example(" \n\n")
@example({"a": "\n\na\n\n", "b": ["\n a\n", {"c": "\n"}]})
def test_what_is_written_reads_back_equal(data: object) -> None:
    assert load(dump(data)) == data
    assert dump(data).endswith("\n")


@given(st.dictionaries(TEXT, TEXT, max_size=4))
def test_text_reads_back_equal_in_yaml_1_1(data: dict[str, str]) -> None:
    assert load_1_1(dump(data)) == data


@given(st.dictionaries(TEXT, TEXT, max_size=4), st.lists(TEXT, max_size=3), TEXT)
def test_untyped_metadata_reads_back_as_the_same_text(labels: dict[str, str], finalizers: list[str], id: str) -> None:
    reader = YAML(typ="base", pure=True)
    read = reader.load(dump_resource(METADATA | {"id": id, "labels": labels, "finalizers": finalizers}, "spec"))
    assert read["metadata"]["id"] == id
    assert read["metadata"].get("labels", {}) == labels
    assert read["metadata"].get("finalizers", []) == finalizers
