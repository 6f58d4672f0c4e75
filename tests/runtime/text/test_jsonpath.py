"""JSONPath templates: what each construct finds, how results are printed, and what is refused where."""

import contextlib
import datetime
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodespan.runtime.text.jsonpath import JSONPathError
from nodespan.runtime.text.jsonpath import compile as compile_template

LINK = {
    "alias": "net0",
    "kind": "",
    "linkState": True,
    "down": False,
    "mtu": 1500,
    "ratio": 0.5,
    "whole": 2.0,
    "nothing": None,
    "addresses": ["10.0.0.1/8", "fd00::1/64", "10.0.0.2/8"],
    "empty": [],
    "emptyMap": {},
    "bond": {"mode": "lacp", "members": {"b": 1, "a": [True, None, "<&>"]}},
    "labels": {"app.kubernetes.io/name": "x", "plain": "y", "a": {"b": "nested"}},
    "peers": [
        {"name": "one", "port": 1, "up": True, "tags": ["x"], "nested": {"name": "inner"}},
        {"name": "two", "port": 2, "up": False, "tags": []},
        {"port": 3, "tags": ["y", "z"]},
    ],
    "matrix": [[1, 2], [3, 4]],
    "created": datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC),
    "day": datetime.date(2026, 1, 2),
    "unicode": "größe ✓",
}

RENDERED = [
    # text and braces
    ("", ""),
    ("plain text", "plain text"),
    ("alias", "alias"),
    ("a {.alias} b", "a net0 b"),
    ("{.alias}{.mtu}", "net01500"),
    ("{.alias} {.mtu}", "net0 1500"),
    ("}", "}"),
    # bare paths
    (".alias", "net0"),
    (".bond.mode", "lacp"),
    ("$.alias", "net0"),
    ("@.alias", "net0"),
    ("[ 'alias' ]", "net0"),
    # scalars
    ("{.kind}", ""),
    ("{.linkState} {.down}", "true false"),
    ("{.mtu} {.ratio} {.whole}", "1500 0.5 2"),
    ("{.nothing}", "<nil>"),
    ("{.unicode}", "größe ✓"),
    ("{.created}", '"2026-01-02T03:04:05Z"'),
    ("{.day}", '"2026-01-02T00:00:00Z"'),
    # lists and maps
    ("{.addresses}", '["10.0.0.1/8","fd00::1/64","10.0.0.2/8"]'),
    ("{.empty} {.emptyMap}", "[] {}"),
    ("{.bond}", r'{"members":{"a":[true,null,"\u003c\u0026\u003e"],"b":1},"mode":"lacp"}'),
    ("{.matrix}", "[[1,2],[3,4]]"),
    # children
    ("{.bond.mode}", "lacp"),
    ("{ .bond.mode }", "lacp"),
    ("{.bond .mode}", "lacp"),
    ("{$.bond.mode} {@.bond.mode}", "lacp lacp"),
    ("{['alias']} {.bond['mode']}", "net0 lacp"),
    ('{["alias"]}', "net0"),
    (r"{.labels.app\.kubernetes\.io/name}", "x"),
    (r"{.labels['app\.kubernetes\.io/name']}", "x"),
    ("{.labels['a.b']}", "nested"),
    ("{.labels.*}", 'x y {"b":"nested"}'),
    ("{.addresses.*}", "10.0.0.1/8 fd00::1/64 10.0.0.2/8"),
    ("{.addresses[*]}", "10.0.0.1/8 fd00::1/64 10.0.0.2/8"),
    ("{.peers[*].name}", "one two"),
    ("{.peers.*.name}", "one two"),
    ("{.matrix[*][0]}", "1 3"),
    ("{.matrix[*][*]}", "1 2 3 4"),
    ("{.alias.*}", ""),
    ("{.bond.}", r'{"members":{"a":[true,null,"\u003c\u0026\u003e"],"b":1},"mode":"lacp"}'),
    ("{.addresses.[0]}", "10.0.0.1/8"),
    # recursive descent
    ("{..mode}", "lacp"),
    ("{..name}", "one inner two"),
    ("{.peers..name}", "one inner two"),
    ("{.peers..port}", "1 2 3"),
    # index and slice
    ("{.addresses[0]}", "10.0.0.1/8"),
    ("{.addresses[-1]}", "10.0.0.2/8"),
    ("{.addresses[0:2]}", "10.0.0.1/8 fd00::1/64"),
    ("{.addresses[1:]}", "fd00::1/64 10.0.0.2/8"),
    ("{.addresses[:1]}", "10.0.0.1/8"),
    ("{.addresses[-2:]}", "fd00::1/64 10.0.0.2/8"),
    ("{.addresses[:-1]}", "10.0.0.1/8 fd00::1/64"),
    ("{.addresses[::2]}", "10.0.0.1/8 10.0.0.2/8"),
    ("{.addresses[:]}", "10.0.0.1/8 fd00::1/64 10.0.0.2/8"),
    ("{.addresses[1:1]}", ""),
    ("{.empty[:]}", ""),
    ("{.empty[*]}", ""),
    ("{.nothing[0]}{.nothing[:]}", ""),
    # union
    ("{.addresses[0,2]}", "10.0.0.1/8 10.0.0.2/8"),
    ("{['alias','mtu']}", "net0 1500"),
    ("{['alias', 'mtu']}", "net0 1500"),
    ("{.addresses[0:1,-1]}", "10.0.0.1/8 10.0.0.2/8"),
    ("{.peers[*]['name','port']}", "one two 1 2 3"),
    # filter
    ('{.peers[?(@.name=="two")].port}', "2"),
    ("{.peers[?(@.name=='two')].port}", "2"),
    ('{.peers[?( @.name == "two" )].port}', "2"),
    ('{.peers[?(@.name!="two")].port}', "1"),
    ("{.peers[?(@.port<2)].port}", "1"),
    ("{.peers[?(@.port<=2)].port}", "1 2"),
    ("{.peers[?(@.port>1.5)].port}", "2 3"),
    ("{.peers[?(@.port>=2)].port}", "2 3"),
    ("{.peers[?(2<@.port)].port}", "3"),
    ('{.peers[?(@.name<"p")].port}', "1"),
    ("{.peers[?(@.up==true)].port}", "1"),
    ("{.peers[?(@.up==false)].port}", "2"),
    ('{.peers[?(@.name=~"^t")].port}', "2"),
    (r"{.addresses[?(@=~'^10\.0\.')]}", "10.0.0.1/8 10.0.0.2/8"),
    ("{.peers[?(@.name)].port}", "1 2"),
    ("{.peers[?(@.tags[0])].port}", "1 3"),
    ("{.addresses[?(@[0])]}", ""),
    ("{.peers[?(@.nested.name)].port}", "1"),
    ('{.peers[?(@.name==@.nested.name)].port}{.peers[?(@.port!="1")].port}', "1 2 3"),
    ('{.peers[?(@.port=="1")].port}{.peers[?(@.port<"2")].port}{.peers[?(@.port=~"1")].port}', ""),
    ('{.matrix[?(@[?(@==4)])]}{.peers[?(@.name==")")].port}', "[3,4]"),
    # range
    ('{range .peers[*]}{.port}:{.name}{"\\n"}{end}', "1:one\n2:two\n3:\n"),
    ("{range .matrix[*]}<{range [*]}({@}){end}>{end}", "<(1)(2)><(3)(4)>"),
    ("{range .empty[*]}{.x}{end}done", "done"),
    # literals
    ('{"text"}{\'more\'}{"\\t|\\"|\\u00e9"}', 'textmore\t|"|é'),
    ("{1} {-2} {+3} {1.50} {true} {false}", "1 -2 3 1.5 true false"),
]

MISSING = ["{.absent}", ".absent", "{.bond.absent.deeper}", "{.alias.deeper}", "{.nothing.deeper}", "{..absent}"]
UNFIT = [
    ("{.empty[0]}", 9, "out of range"),
    ("{.addresses[3]}", 13, "out of range"),
    ("{.addresses[-4]}", 13, "out of range"),
    ("{.addresses[0:9]}", 13, "out of range"),
    ("{.addresses[2:1]}", 13, "out of range"),
    ("{.alias[0]}", 9, "a list is needed"),
    ("{.bond[*]}", 8, "a list is needed"),
    ("{.mtu[:]}", 7, "a list is needed"),
    ("{.bond[?(@.x)]}", 7, "a list is needed"),
    ("{.nothing[?(@.x)]}", 10, "a list is needed"),
    ("{.peers[?(@.tags[*]=='y')]}", 8, "one value"),
]
MALFORMED = [
    ("{", 2, "the end"),
    ("text {.a", 9, "the end"),
    ("{.a]}", 4, "unexpected ']'"),
    ("{alias}", 2, "'.alias'"),
    ("{#}", 2, "unexpected '#'"),
    ("{.a{.b}}", 4, "unexpected '{'"),
    ("{....a}", 4, "two `..`"),
    ("{.a[}", 5, "expected an index"),
    ("{.a[]}", 5, "expected an index"),
    ("{.a[x]}", 5, "expected an index"),
    ("{.a[0}", 6, "expected `]`"),
    ("{.a[0,]}", 7, "expected an index"),
    ("{.a['']}", 5, "empty name"),
    ("{.a['b}", 5, "expected an index"),
    ("{.a[::0]}", 5, "must be positive"),
    ("{.a[::-1]}", 5, "must be positive"),
    ("{.a[1:2:3:4]}", 10, "expected `]`"),
    ("{.a[99999999999999999999]}", 23, "expected `]`"),
    ("{.a[?(]}", 7, "expected a path"),
    ("{.a[?()]}", 7, "expected a path"),
    ("{.a[?(@.b]}", 10, "expected `)`"),
    ("{.a[?(@.b)}", 11, "expected `]`"),
    ("{.a[?(@.b==)]}", 12, "expected a path"),
    ("{.a[?(@.b=1)]}", 10, "expected `)`"),
    ("{.a[?(@.b=~1)]}", 12, "regular expression"),
    ("{.a[?(@.b=~'(')]}", 12, "regular expression"),
    ('{"open}', 2, "expected `}`"),
    ('{"\\q"}', 2, "unknown escape"),
    ('{"a" "b"}', 6, "expected `}`"),
    ("{end}", 1, "without a `range`"),
    ("{range .a[*]}{.b}", 1, "without an `{end}`"),
    (".a}", 3, "unexpected '}'"),
    (".a b", 4, "unexpected 'b'"),
    ("{" + ".a[?(@" * 40, 6 * 32 + 4, "nested too deeply"),
    ("{range .a}" * 40, 10 * 32 + 1, "nested too deeply"),
]


@pytest.mark.parametrize(("expression", "text"), RENDERED)
def test_a_template_renders(expression: str, text: str) -> None:
    assert compile_template(expression).render(LINK, allow_missing=True) == text


@pytest.mark.parametrize("expression", MISSING)
def test_a_missing_key_prints_nothing_where_that_is_allowed_and_is_an_error_elsewhere(expression: str) -> None:
    template = compile_template(expression)
    assert template.render(LINK, allow_missing=True) == ""
    with pytest.raises(JSONPathError, match="is not found"):
        template.render(LINK, allow_missing=False)
    with pytest.raises(JSONPathError, match="is not found"):
        template.find(LINK, allow_missing=False)


@pytest.mark.parametrize(("expression", "character", "reason"), UNFIT)
def test_data_that_does_not_fit_is_an_error_even_where_keys_may_be_missing(
    expression: str, character: int, reason: str
) -> None:
    with pytest.raises(JSONPathError) as raised:
        compile_template(expression).render(LINK, allow_missing=True)
    assert f"JSONPath {expression!r}, character {character}: " in str(raised.value)
    assert reason in str(raised.value)


@pytest.mark.parametrize(("expression", "character", "reason"), MALFORMED)
def test_a_malformed_expression_is_refused_at_its_place(expression: str, character: int, reason: str) -> None:
    with pytest.raises(JSONPathError) as raised:
        compile_template(expression)
    assert f"JSONPath {expression!r}, character {character}: " in str(raised.value)
    assert reason in str(raised.value)


@pytest.mark.parametrize(
    ("expression", "results"),
    [
        ("{.alias}", ["net0"]),
        ("{.bond.members}", [{"b": 1, "a": [True, None, "<&>"]}]),
        ("{.addresses}", [["10.0.0.1/8", "fd00::1/64", "10.0.0.2/8"]]),
        ("{.addresses[*]}", ["10.0.0.1/8", "fd00::1/64", "10.0.0.2/8"]),
        ("{.mtu} of {.alias}", [1500, " of ", "net0"]),
        ("{range .peers[*]}{.port}{end}", [1, 2, 3]),
        ("{.empty[*]}", []),
        ("{.peers[*].name}", ["one", "two"]),
    ],
)
def test_results_are_found_as_the_values_they_are(expression: str, results: list[object]) -> None:
    assert compile_template(expression).find(LINK, allow_missing=False) == results


def test_data_nested_beyond_reason_is_an_error_of_the_expression() -> None:
    data: list[object] = []
    for _ in range(10_000):
        data = [data]
    assert len(compile_template("{..}").find(data, allow_missing=True)) == 10_000
    with pytest.raises(JSONPathError, match="nested too deeply"):
        compile_template("{@}").render(data, allow_missing=True)


def test_importing_loads_nothing_but_the_regular_expressions() -> None:
    script = (
        "import sys, re; old = set(sys.modules); import nodespan.runtime.text.jsonpath; print(*set(sys.modules) - old)"
    )
    loaded = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout.split()
    assert {name for name in loaded if not name.startswith("nodespan")} <= {"collections.abc"}


FRAGMENTS = st.sampled_from(
    [
        *"{}[].,:*$@'\"()?=<>!~ \\-019",
        "..",
        "{.a",
        "[?(@",
        "==",
        "=~'a",
        "range ",
        "{end}",
        "true",
        "a",
        "b",
        "[*]",
        "[0]",
    ]
)
EXPRESSIONS = st.one_of(st.text(), st.lists(FRAGMENTS, max_size=12).map("".join))
KEYS = st.one_of(st.sampled_from(["a", "b", "0"]), st.text(max_size=3))
DATA = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


@given(EXPRESSIONS, DATA, st.booleans())
def test_nothing_but_the_documented_error_is_ever_raised(expression: str, data: object, allow_missing: bool) -> None:
    with contextlib.suppress(JSONPathError):
        template = compile_template(expression)
        template.find(data, allow_missing=allow_missing)
        template.render(data, allow_missing=allow_missing)


PATHS = st.lists(
    st.sampled_from(
        [".a", ".b", "['a']", ".*", "[*]", "..a", "[0]", "[-1]", "[:]", "[0,0]", "[?(@.a)]", "[?(@.a==1)]"]
    ),
    max_size=5,
).map(lambda steps: "{" + "".join(steps) + "}")


@given(PATHS, DATA)
def test_where_a_missing_key_is_no_error_allowing_it_changes_nothing(expression: str, data: object) -> None:
    template = compile_template(expression)
    try:
        strict = template.render(data, allow_missing=False)
    except JSONPathError:
        return
    assert template.render(data, allow_missing=True) == strict
