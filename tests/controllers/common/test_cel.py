"""The expressions of LinkAliasConfig."""

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodespan.controllers.common.cel import ExpressionError, parse
from nodespan.resources.network import VLAN, BondMaster, LinkStatusSpec, OperationalState
from nodespan.resources.network.enums import BondMode
from nodespan.resources.network.link import WireguardPeerStatus, WireguardStatus

LINK = LinkStatusSpec(
    index=2,
    alt_names=("enp0s3", "ens3"),
    hardware_addr="00:1a:2b:00:00:01",
    permanent_addr="00:1a:2b:00:00:01",
    mtu=1500,
    operational_state=OperationalState.UP,
    bus_path="0000:00:03.0",
    pci_id="1AF4:1000",
    driver="virtio_net",
    link_state=True,
    speed_mbit=1000,
)

TRUE = [
    'link.driver == "virtio_net"',
    "link.driver == 'virtio_net'",
    'glob("00:1a:2b:*", mac(link.permanent_addr))',
    'mac(link.permanent_addr) == "00:1a:2b:00:00:01"',
    'link.driver == "virtio_net" && glob("00:1a:2b:*", mac(link.permanent_addr))',
    'link.driver == "e1000" || link.driver.startsWith("virtio")',
    'link.driver != "e1000" && !link.driver.endsWith("x")',
    '!(link.driver == "e1000" || link.kind == "bond")',
    "!!link.link_state",
    "link.link_state == true",
    "link.type == 1",
    "link.operational_state == 6",
    "link.mtu >= 1500u && link.mtu < 9000u && link.speed_megabits > -1",
    "link.speed_megabits == 1000",
    '"ens3" in link.alt_names',
    'link.driver in ["e1000", "virtio_net"]',
    "link.hardware_addr == link.permanent_addr",
    'link.pciid.contains("AF4:")',
    'link.bus_path.matches("^0000:0[0-9]:")',
    r"link.bus_path.matches(r'\.0$')",
    "size(link.alt_names) == 2",
    "link.driver.size() == 10",
    '"\\x41\\u0042" == "AB"',
    "true || false && false",
    " link . driver  ==  'virtio_net' ",
]

# What the originals offer beyond comparisons.
FULL = [
    'link.pciid == "1AF4:1000"',
    "link.mtu == 1500u && link.mtu < 9000u",
    "link.mtu == 0x5DCu",
    "int(link.mtu) == 1500",
    "uint('7') == 7u",
    "string(link.mtu) == '1500'",
    "size(link.hardware_addr) == 6",
    r"link.hardware_addr == b'\x00\x1a\x2b\x00\x00\x01'",
    'link.link_state ? link.driver == "virtio_net" : false',
    '(link.mtu > 9000u ? "jumbo" : "plain") == "plain"',
    'link.alt_names.exists(n, n.startsWith("ens"))',
    'link.alt_names.all(n, n.contains("s"))',
    'link.alt_names.exists_one(n, n == "ens3")',
    'size(link.alt_names.filter(n, n.startsWith("enp"))) == 1',
    '"yes" in link.alt_names.map(n, n == "ens3" ? "yes" : "no")',
    '["a", "b"].exists(x, ["b"].exists(y, x == y))',
    "!has(link.vlan) && !has(link.alias) && has(link.driver)",
    "link.vlan.vid == 0u",
    "!link.bridge_master.stp.enabled",
    "link.bond_master.mode == 0 && link.wireguard.listen_port == 0",
]


@pytest.mark.parametrize("text", FULL)
def test_the_expressions_of_the_originals_are_understood(text: str) -> None:
    assert parse(text).matches(LINK)


def test_messages_inside_a_link_are_read() -> None:
    vlan = LinkStatusSpec(kind="vlan", vlan=VLAN(vlan_id=5), bond_master=BondMaster(miimon=100, mode=BondMode.of(4)))
    assert parse("has(link.vlan) && link.vlan.vid == 5u").matches(vlan)
    assert parse("link.bond_master.mii_mon == 100u && link.bond_master.mode == 4").matches(vlan)


def test_a_member_of_a_bond_is_known_by_its_own_address() -> None:
    member = LinkStatusSpec(hardware_addr="02:00:00:00:00:99", permanent_addr="00:1a:2b:00:00:01", slave_kind="bond")
    assert parse('mac(link.hardware_addr) == "00:1a:2b:00:00:01"').matches(member)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("link.vlan == 5", "has fields of its own"),
        ("link.vlan.id == 5", "has no field 'id'"),
        ("link.link_state ? 1 : 'a'", "one is a int, the other a string"),
        ("link.alt_names.exists(link, true)", "expected a new name"),
        ("link.alt_names.exists(n, n) && n == 'a'", "expected a bool in exists"),
        ("link.alt_names.all(n, true) && n == 'a'", "is not known"),
    ],
)
def test_mistakes_in_them_are_found(text: str, message: str) -> None:
    with pytest.raises(ExpressionError, match=message):
        parse(text)


def test_what_cannot_be_computed_is_an_error_and_no_crash() -> None:
    with pytest.raises(ExpressionError):
        parse("int(link.driver) == 1").matches(LINK)


# The standard of the language, each true.
STANDARD = [
    # The keys of a map.
    "{true: 1, false: 2}.exists(key, key) && {true: 1}.all(key, key == true)",
    "1 in {dyn(1): 2} && true in {dyn(true): 2} && {true: 1}.map(key, !key) == [false]",
    # Arithmetic.
    "1 + 2 * 3 == 7 && (1 + 2) * 3 == 9 && 7 - 2 - 1 == 4",
    "7 / 2 == 3 && -7 / 2 == -3 && 7 % 3 == 1 && -7 % 3 == -1",
    "7u / 2u == 3u && 7u % 4u == 3u && 2u * 3u + 1u == 7u",
    "1.5 + 1.5 == 3.0 && 3.0 / 2.0 == 1.5 && -1.5 < 0.0 && 1e3 == 1000.0 && .5 * 2.0 == 1.0",
    "1.0 / 0.0 > 1e308 && -1.0 / 0.0 < -1e308 && 0.0 / 0.0 != 0.0 / 0.0",
    "'a' + 'b' == 'ab' && b'a' + b'b' == b'ab' && [1] + [2, 3] == [1, 2, 3]",
    "-9223372036854775808 < 0 && 9223372036854775807 > 0 && 18446744073709551615u > 0u && 0x7F == 127",
    "- -1 == 1 && --1 == 1 && !!true",
    "link.mtu * 2u - 1u == 2999u && link.mtu % 10u == 0u && link.speed_megabits / 10 == 100",
    # Texts and bytes.
    r"""'\a\b\f\n\r\t\v\\\'\"\?\`' != '' && '\101\x42\u0043\U00000044' == 'ABCD'""",
    r"""b'\xff\377' == b'\377\xff' && size(b'\xff') == 1 && size('\xff') == 1 && b'ü' == bytes('ü')""",
    r"""r'\d' == '\\d' && R"a'b" == "a'b" && br'\x' == b'\\x' && r'\'  == '\\'""",
    "'''a\n'b''' == \"\"\"a\n'b\"\"\" // a comment",
    "'a' < 'b' && b'a' < b'b' && false < true && 'ab'.size() == size('ab')",
    "matches('e1000', '^e[0-9]+$') && 'X710'.matches('(?i)x710') && 'ab'.matches(r'\\Aab\\z')",
    # Conversions.
    "int('-5') == -5 && int(5u) == 5 && int(5.9) == 5 && int(-5.9) == -5 && uint(5.9) == 5u && uint('5') == 5u",
    "double('1.5') == 1.5 && double(1) == 1.0 && double(1u) == 1.0 && bool('true') && !bool('0')",
    "string(1.0) == '1' && string(1.5) == '1.5' && string(true) == 'true' && string(5u) == '5' && string(b'a') == 'a'",
    "type(1) == int && type(1u) == uint && type('') == string && type(int) == type && type(1u) != int",
    "type(null) == null_type && type([]) == list && type({}) == map && type(1.0) == double && type(b'') == bytes",
    # Lists and maps.
    "[1, 2, 3][1] == 2 && [1, 2,].size() == 2 && 2 in [1, 2] && !(5 in [1, 2]) && [] == []",
    "{'a': 1, 'b': 2}['b'] == 2 && {'a': 1}.a == 1 && 'a' in {'a': 1} && size({1: 'x', 2: 'y'}) == 2",
    "has({'a': 1}.a) && !has({'a': 1}.b) && {'a': {'b': [5]}}.a.b[0] == 5 && {true: 1}[true] == 1",
    "[1, 2, 3].map(x, x * 2) == [2, 4, 6] && [1, 2, 3].map(x, x > 1, x + 1) == [3, 4]",
    "[1, 2, 3].filter(x, x % 2 == 1) == [1, 3] && [1, 2].existsOne(x, x == 1) && !['a', 'a'].exists_one(x, x == 'a')",
    "{'a': 1, 'b': 2}.all(k, k < 'c') && {'a': 1}.exists(k, k == 'a') && {'b': 1}.map(k, k) == ['b']",
    "[[1, 2], [3]].exists(l, l.exists(x, x == 3)) && [1, 2].map(x, [3, 4].map(y, x * y)) == [[3, 4], [6, 8]]",
    "[1, 'a', true][1] == 'a' && dyn(1) == 1.0 && dyn(1u) == 1 && dyn('1') != 1 && dyn(true) != 1",
    # What decides need not wait for what cannot be computed.
    "true || 1 / 0 == 1",
    "1 / 0 == 1 || true",
    "!(false && 1 / 0 == 1) && !(1 / 0 == 1 && false)",
    "[0, 1].exists(x, 1 / x == 1) && ![0, 2].all(x, 1 / x == 1)",
    "(true ? 1 : 1 / 0) == 1 && (false ? 'a' : true ? 'b' : 'c') == 'b'",
    # Time.
    "duration('1h30m') == duration('5400s') && duration('1.5s') + duration('500ms') == duration('2s')",
    "duration('-90s').getMinutes() == -1 && duration('90m').getHours() == 1",
    "duration('1.25s').getMilliseconds() == 250 && duration('1.25s').getSeconds() == 1",
    "string(duration('90m')) == '5400s' && string(duration('-1.5s')) == '-1.5s' && duration('1us') > duration('1ns')",
    "timestamp('2026-08-01T12:30:15.25Z') + duration('1h') == timestamp('2026-08-01T13:30:15.250Z')",
    "timestamp('2026-08-01T12:00:00+02:00') - timestamp('2026-08-01T09:00:00Z') == duration('1h')",
    "timestamp('2026-08-01T23:30:15.25Z').getFullYear() == 2026 && timestamp(0).getMonth() == 0",
    "timestamp('2026-08-01T23:30:15.25Z').getDate() == 1 && timestamp('2026-08-01T00:00:00Z').getDayOfMonth() == 0",
    "timestamp('2026-08-02T00:00:00Z').getDayOfWeek() == 0 && timestamp('2026-02-01T00:00:00Z').getDayOfYear() == 31",
    "timestamp('2026-08-01T23:30:15.25Z').getHours('+02:00') == 1 && timestamp(0).getMinutes('-00:30') == 30",
    "timestamp('2026-08-01T23:30:15.25Z').getSeconds() == 15 && timestamp(1).getMilliseconds() == 0",
    "string(timestamp(0)) == '1970-01-01T00:00:00Z' && int(timestamp('1970-01-02T00:00:00Z')) == 86400",
    # Messages.
    "link.vlan == link.vlan && link.vlan != null && type(link) != int && !has(link.wireguard.peers)",
    "link.wireguard.peers.size() == 0 && link.bond_master.arpip_targets.all(t, size(t.ip) == 4)",
    ".link.mtu == 1500u && has(link.mtu) && !has(link.master_index)",
]

# What has the right types and cannot be computed, at the mark.
IMPOSSIBLE = [
    ("1 in {‸dyn([1]): 2}", "cannot be the key of a map"),
    ("{‸dyn({}): 1} == {}", "cannot be the key of a map"),
    ("1 ‸/ 0 == 1", "division by zero"),
    ("1 ‸% 0 == 1", "division by zero"),
    ("9223372036854775807 ‸+ 1 == 1", "does not fit into an int"),
    ("-9223372036854775808 ‸- 1 == 1", "does not fit into an int"),
    ("‸-(-9223372036854775808) == 1", "does not fit into an int"),
    ("1u ‸- 2u == 1u", "does not fit into a uint"),
    ("‸uint(-1) == 1u", "does not fit into a uint"),
    ("‸int(1e30) == 1", "does not fit into an int"),
    ("‸int('1_0') == 1", "is not a whole number"),
    ("‸bool('yes')", "neither true nor false"),
    ("‸string(b'\\xff') == ''", "not a text"),
    ("‸duration('1x') == duration('1s')", "is not a duration"),
    ("‸timestamp('2026-13-01T00:00:00Z') == timestamp(0)", "is not a time"),
    ("timestamp(0).‸getHours('Nowhere/At/All') == 1", "is not a time zone"),
    ("timestamp(0).‸getHours('/etc/hosts') == 1", "is not a time zone"),
    ("[1][‸5] == 1", "there is no item 5"),
    ("{'a': 1}[‸'b'] == 1", "there is no item"),
    ("{'a': 1}.‸b == 1", "has no field 'b'"),
    ("‸{'a': 1, 'a': 2} == {}", "twice"),
    ("dyn('a') ‸+ 1 == 2", "+ is not for string and int"),
    ("dyn(link).‸nothing == 1", "has no field 'nothing'"),
    ("link.driver.‸matches(link.kind + '[')", "invalid pattern"),
]


@pytest.mark.parametrize("text", STANDARD)
def test_the_standard_of_the_language(text: str) -> None:
    assert parse(text).matches(LINK)


@pytest.mark.parametrize(("marked", "message"), IMPOSSIBLE)
def test_what_cannot_be_computed_is_an_error_with_its_position(marked: str, message: str) -> None:
    expression = parse(marked.replace("‸", ""))
    with pytest.raises(ExpressionError) as caught:
        expression.matches(LINK)
    assert message in caught.value.message
    assert caught.value.position == marked.index("‸")


def test_the_peers_of_a_tunnel_are_read() -> None:
    peer = WireguardPeerStatus(
        public_key="key",
        endpoint="192.0.2.1:51820",
        persistent_keepalive_interval=datetime.timedelta(seconds=25),
        allowed_ips=("10.0.0.0/8", "fd00::/64"),
    )
    bond = BondMaster(arp_ip_targets=("192.0.2.7",), primary="eth1", miimon=100)
    link = LinkStatusSpec(
        wireguard=WireguardStatus(public_key="own", listen_port=51820, peers=(peer,)), bond_master=bond
    )
    for text in (
        "has(link.wireguard) && has(link.wireguard.peers) && link.wireguard.listen_port == 51820",
        "link.wireguard.peers.exists(p, p.public_key == 'key' && p.endpoint.startsWith('192.0.2.1:'))",
        "link.wireguard.peers[0].persistent_keepalive_interval == duration('25s')",
        "link.wireguard.peers.map(p, size(p.allowed_ips)) == [2]",
        r"link.wireguard.peers[0].allowed_ips[0].ip == b'\x0a\x00\x00\x00'",
        "link.wireguard.peers.all(p, p.allowed_ips.exists(n, n.prefix_length == 64))",
        "link.wireguard.private_key == '' && link.wireguard.peers[0].preshared_key == ''",
        r"link.bond_master.arpip_targets[0].ip == b'\xc0\x00\x02\x07' && link.bond_master.primary == 'eth1'",
        "link.bond_master.up_delay + link.bond_master.mii_mon == 100u",
    ):
        assert parse(text).matches(link), text


def test_long_expressions_are_computed_and_endless_ones_are_refused() -> None:
    assert parse("1" + " + 1" * 1000 + " == 1001").matches(LINK)
    assert parse(" && ".join(["true"] * 1000)).matches(LINK)
    assert parse("-" * 1000 + "1 == 1").matches(LINK)
    with pytest.raises(ExpressionError, match="too long"):
        parse("1" + " + 1" * 5000 + " == 1")
    with pytest.raises(ExpressionError, match="nested too deeply"):
        parse("dyn([])" + "[0]" * 100 + " == 1")
    items = f"[{', '.join('1' * 100)}]"
    with pytest.raises(ExpressionError, match="too many steps"):
        parse(f"{items}.all(a, {items}.all(b, {items}.all(c, a == b)))").matches(LINK)


FALSE = [
    "false",
    "(true || false) && false",
    'link.driver == "virtio"',
    'glob("00:1A:*", mac(link.permanent_addr))',
    '"eth0" in link.alt_names',
    "link.driver in []",
]

# The character at which the mistake is has the mark before it.
MISTAKES = [
    (".‸'text' == 'text'", "expected a name after the dot"),
    (".‸[1] == [1]", "expected a name after the dot"),
    ("‸", "expected a value"),
    ("‸link.driver", "must be true or false"),
    ("link.‸drvier == 'x'", "no field"),
    ("link.‸permanentAddr == 'x'", "did you mean 'permanent_addr'"),
    ("‸link", "has fields of its own"),
    ("‸eth0 == 'x'", "is not known"),
    ("link.driver ‸== 5", "cannot compare string with int"),
    ("link.permanent_addr ‸== '00:1a:2b:00:00:01'", "mac() makes it a text"),
    ("link.alt_names ‸< link.alt_names", "no order"),
    ("glob(‸link.permanent_addr, 'x')", "takes a string here"),
    ("‸glob('x')", "takes 2 values, 1 are given"),
    ("link.driver.‸lower() == 'x'", "no method"),
    ("link.driver.matches(‸'[')", "invalid pattern"),
    ("link.driver.matches(‸'(?=x)')", "no look-around"),
    ("link.driver.matches(‸'(x)\\\\1')", "no back references"),
    ("‸1 && true", "expected a bool of &&"),
    ("!‸link.driver", "expected a bool after !"),
    ("‸1 in link.alt_names", "expected a string before in"),
    ("'a' in ‸link.driver", "expected a list or a map after in"),
    ("(true‸", "expected ')'"),
    ("true ‸true", "expected the end"),
    ("link.driver == ‸'x", "has no end"),
    ("true ‸& false", "no meaning"),
    ("link.mtu ‸+ 1 == 2u", "+ is not for uint and int"),
    ("link.mtu ‸== 1500", "cannot compare uint with int: write 1500u"),
    ("link.type ‸== 1u", "cannot compare int with uint: write 1"),
    ("link.mtu ‸== link.type", "int() makes a uint an int"),
    ("1.0 ‸== 1", "cannot compare double with int"),
    ("‸-link.mtu == 1u", "- is not for uint"),
    ("1 ‸% 2.0 == 1.0", "% is not for int and double"),
    ("[1][‸'a'] == 1", "expected a int in brackets"),
    ("link.mtu‸[0] == 1", "has no items"),
    ("link.‸pci_id == 'x'", "did you mean 'pciid'"),
    ("link.wireguard.peers.all(p, p.‸key == 'x')", "a peer has no field 'key'"),
    ("has(‸link)", "is for a field"),
    ("has((‸link.vlan))", "is for a field"),
    ("link.alt_names.all(‸size, true)", "a new name"),
    ("‸link.driver.all(x, true)", "for lists and maps"),
    ("timestamp('2026-01-01T00:00:00Z').‸getYear() == 1", "no method of a timestamp, there are getFullYear"),
    ("{‸1.5: 2} == {}", "cannot be the key"),
    ("b'‸\\u0041' == b''", "for texts, not for bytes"),
    ("'‸\\uD800' == ''", "is not a character"),
    ("‸9223372036854775808 == 1", "too large"),
    ("18446744073709551616‸u == 1u".replace("18446744073709551616‸u", "‸18446744073709551616u"), "too large"),
    ("true ? ‸1 : 'a'".replace("‸1 : 'a'", "1 : ‸'a'"), "one is a int"),
    ("link.kind == '‸\\q'", "has no meaning in a text"),
    ("link.speed_megabits == ‸-true", "- is not for bool"),
    ("link.mtu == ‸" + "9" * 30, "too large"),
    ("(" * 50 + "‸" + "(" * 50, "nested too deeply"),
]


@pytest.mark.parametrize("text", TRUE)
def test_true_expressions(text: str) -> None:
    assert parse(text).matches(LINK)


@pytest.mark.parametrize("text", FALSE)
def test_false_expressions(text: str) -> None:
    assert not parse(text).matches(LINK)


@pytest.mark.parametrize(("marked", "message"), MISTAKES)
def test_an_invalid_expression_is_refused_with_a_position(marked: str, message: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse(marked.replace("‸", ""))
    assert message in caught.value.message
    assert caught.value.position == marked.index("‸")


PIECES = [
    "link",
    ".mtu",
    ".driver",
    "1",
    "1u",
    "1.5",
    "'a'",
    "b'a'",
    "[",
    "]",
    "(",
    ")",
    "{",
    "}",
    ":",
    "?",
    ",",
    "+",
    "-",
]
PIECES += [
    "*",
    "/",
    "%",
    "==",
    "<",
    "&&",
    "||",
    "!",
    " in ",
    "has(",
    ".map(x,",
    "x",
    "duration('1s')",
    "null",
    "dyn(",
    "size(",
]


@given(st.lists(st.sampled_from(PIECES), max_size=20).map("".join))
def test_any_parts_are_an_expression_or_an_error(text: str) -> None:
    assert outcome(text)


@given(st.text(alphabet="link.driv()[]{}&|!=<>\"'\\ ,-+*/%u0in", max_size=40))
def test_any_text_is_an_expression_or_an_error(text: str) -> None:
    assert outcome(text)


def outcome(text: str) -> bool:
    """Whether reading a text, and asking about a link what was read, ends as it should."""
    try:
        expression = parse(text)
    except ExpressionError as error:
        return 0 <= error.position <= len(text)
    try:
        return expression.matches(LINK) in (True, False)
    except ExpressionError as error:
        return 0 <= error.position <= len(text)
