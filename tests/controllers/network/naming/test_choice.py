"""What can be the name of a link, and when nothing is renamed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodespan.controllers.network.naming import (
    Aliases,
    NameFacts,
    PciDevice,
    choose,
    is_valid_alt_name,
    is_valid_name,
    scheme_of,
    wants_kernel_names,
)
from nodespan.resources.config.nodespan import NamingScheme


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ("eth0", True),
        ("a" * 15, True),
        ("a" * 16, False),
        ("", False),
        ("a b", False),
        ("a/b", False),
        ("a:b", False),
        ("a%b", False),
        ("ä", False),
        ("a\x7f", False),
        ("123", False),
        ("1a", True),
        (".", False),
        ("..", False),
        ("all", False),
        ("default", False),
    ],
)
def test_names_of_links(text: str, valid: bool) -> None:
    assert is_valid_name(text) == valid


def test_further_names_may_be_longer() -> None:
    assert is_valid_alt_name("a" * 127)
    assert not is_valid_alt_name("a" * 128)


@pytest.mark.parametrize(
    ("line", "off"),
    [
        ("quiet net.ifnames=0", True),
        ("net.ifnames=no", True),
        ("net.ifnames=off ro", True),
        ("net.ifnames=false", True),
        ("net.ifnames=1", False),
        ("net.ifnames=0 net.ifnames=1", False),
        ("net.ifnames", False),
        ("xnet.ifnames=0", False),
        ("", False),
    ],
)
def test_the_kernel_line_switches_renaming_off(line: str, off: bool) -> None:
    assert wants_kernel_names(line) == off


@pytest.mark.parametrize(
    ("line", "scheme"),
    [
        ("quiet", None),
        ("net.naming_scheme=v257", NamingScheme.V257),
        ("net.naming_scheme=v260 ro", NamingScheme.V260),
        ("net.naming_scheme=latest", NamingScheme.V260),
        # Between two that are known, or beyond them.
        ("net.naming_scheme=v256", NamingScheme.V255),
        ("net.naming_scheme=v238", NamingScheme.V255),
        ("net.naming_scheme=v300", NamingScheme.V260),
        ("net.naming_scheme=v258 net.naming_scheme=v255", NamingScheme.V255),
        ("net.naming_scheme=new", None),
        ("net.naming_scheme=v99999999999", None),
        ("net.naming_scheme", None),
        ("xnet.naming_scheme=v257", None),
    ],
)
def test_the_kernel_line_may_ask_for_a_scheme(line: str, scheme: NamingScheme | None) -> None:
    assert scheme_of(line) == scheme


FACTS = st.builds(
    NameFacts,
    kernel_name=st.just("eth0"),
    type=st.sampled_from((1, 32, 256, 290, 772)),
    linked_index=st.sampled_from((0, 0, 0, 5)),
    name_assign_type=st.integers(0, 5),
    device_type=st.sampled_from(("", "wlan", "wwan")),
    mac=st.sampled_from(("", "02:00:00:00:00:01", "00")),
    addr_assign_type=st.integers(-1, 3),
    phys_port_name=st.text(max_size=30),
    dev_port=st.integers(0, 300),
    parent_subsystem=st.sampled_from(("", "pci", "xen", "vio", "platform", "netdevsim", "ccw")),
    parent=st.text(max_size=12),
    pci=st.lists(
        st.builds(PciDevice, address=st.text(max_size=12) | st.just("0000:02:00.0"), acpi_index=st.integers(0, 2**24)),
        max_size=2,
    ).map(tuple),
    usb_interface=st.just("") | st.text(max_size=12) | st.just("1-1:1.0"),
    bcma_core=st.just("") | st.text(max_size=12),
    port_aliases=st.builds(Aliases, st.none() | st.integers(0, 10**9), st.none() | st.just(7)),
    device_aliases=st.builds(Aliases, st.none() | st.just(3)),
)


@given(facts=FACTS, scheme=st.sampled_from(NamingScheme), kernel_names=st.booleans())
def test_whatever_sysfs_says_the_name_is_one(facts: NameFacts, scheme: NamingScheme, kernel_names: bool) -> None:
    spec = choose(facts, scheme=scheme, kernel_names=kernel_names)
    assert is_valid_name(spec.name)
    assert all(is_valid_alt_name(name) and name != spec.name for name in spec.alt_names)
    assert len(set(spec.alt_names)) == len(spec.alt_names)
    assert bool(spec.reason) == (spec.rule in ("keep", "kernel", "none"))


@given(facts=FACTS)
def test_the_winner_is_the_candidate_of_its_rule(facts: NameFacts) -> None:
    spec = choose(facts)
    if not spec.reason:
        assert spec.name == getattr(spec, spec.rule.value)
