"""The expressions of LinkAliasConfig."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodespan.controllers.common.cel import ExpressionError, parse
from nodespan.resources.network import VLAN, BondMaster, LinkStatusSpec, OperationalState
from nodespan.resources.network.enums import BondMode

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
    "link.mtu >= 1500 && link.mtu < 9000 && link.index > -1",
    "link.speed_megabits == link.speed_mbit",
    '"ens3" in link.alt_names',
    'link.driver in ["e1000", "virtio_net"]',
    "link.hardware_addr == link.permanent_addr",
    'link.pci_id.contains("AF4:")',
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
    "link.mtu == 0x5DC",
    "int(link.mtu) == 1500",
    "uint('7') == 7u",
    "string(link.mtu) == '1500'",
    "size(link.hardware_addr) == 6",
    r"link.hardware_addr == b'\x00\x1a\x2b\x00\x00\x01'",
    'link.link_state ? link.driver == "virtio_net" : false',
    '(link.mtu > 9000 ? "jumbo" : "plain") == "plain"',
    'link.alt_names.exists(n, n.startsWith("ens"))',
    'link.alt_names.all(n, n.contains("s"))',
    'link.alt_names.exists_one(n, n == "ens3")',
    'size(link.alt_names.filter(n, n.startsWith("enp"))) == 1',
    '"yes" in link.alt_names.map(n, n == "ens3" ? "yes" : "no")',
    '["a", "b"].exists(x, ["b"].exists(y, x == y))',
    "!has(link.vlan) && !has(link.alias) && has(link.driver)",
    "link.vlan.vid == 0",
    "!link.bridge_master.stp.enabled",
    "link.bond_master.mode == 0 && link.wireguard.listen_port == 0",
]


@pytest.mark.parametrize("text", FULL)
def test_the_expressions_of_the_originals_are_understood(text: str) -> None:
    assert parse(text).matches(LINK)


def test_messages_inside_a_link_are_read() -> None:
    vlan = LinkStatusSpec(kind="vlan", vlan=VLAN(vlan_id=5), bond_master=BondMaster(miimon=100, mode=BondMode.of(4)))
    assert parse("has(link.vlan) && link.vlan.vid == 5u").matches(vlan)
    assert parse("link.bond_master.mii_mon == 100 && link.bond_master.mode == 4").matches(vlan)


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
    ("‸", "expected a value"),
    ("‸link.driver", "must be true or false"),
    ("link.‸drvier == 'x'", "no field"),
    ("link.‸permanentAddr == 'x'", "did you mean 'permanent_addr'"),
    ("link‸", "expected '.'"),
    ("‸eth0 == 'x'", "is not known"),
    ("link.driver ‸== 5", "cannot compare string with int"),
    ("link.permanent_addr ‸== '00:1a:2b:00:00:01'", "mac() makes it a text"),
    ("link.hardware_addr ‸< link.permanent_addr", "no order"),
    ("glob(‸link.permanent_addr, 'x')", "takes a string here"),
    ("‸glob('x')", "takes 2 values, 1 are given"),
    ("link.driver.‸lower() == 'x'", "no method"),
    ("link.driver.matches(‸'[')", "invalid pattern"),
    ("link.driver.matches(‸link.kind)", "written out"),
    ("‸1 && true", "expected a bool of &&"),
    ("!‸link.driver", "expected a bool after !"),
    ("‸1 in link.alt_names", "expected a string before in"),
    ("'a' in ‸link.driver", "expected a list after in"),
    ("(true‸", "expected ')'"),
    ("true ‸true", "expected the end"),
    ("link.driver == ‸'x", "has no end"),
    ("true ‸& false", "no meaning"),
    ("link.mtu ‸+ 1 == 2", "no meaning"),
    ("link.kind == '‸\\q'", "no meaning in a text"),
    ("link.mtu == -‸true", "expected a number"),
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


@given(st.text(alphabet="link.driv()[]&|!=<>\"'\\ ,-0in", max_size=40))
def test_any_text_is_an_expression_or_an_error(text: str) -> None:
    assert outcome(text)


def outcome(text: str) -> bool:
    """Whether reading a text, and asking about a link what was read, ends as it should."""
    try:
        expression = parse(text)
    except ExpressionError as error:
        return 0 <= error.position <= len(text)
    return expression.matches(LINK) in (True, False)
