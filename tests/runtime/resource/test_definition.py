"""Names of types, what is derived from them, which specs are refused, and the registry."""

from typing import Any

import attrs
import pytest

from nodespan.runtime.errors import RegistrationError
from nodespan.runtime.resource import (
    Kind,
    Namespace,
    NamespaceSpec,
    Phase,
    Pointer,
    PrintColumn,
    Registry,
    ResourceDefinition,
    ResourceType,
    definition_resource,
    kind_of,
)
from nodespan.runtime.resource.definition import check_type_name, define


@attrs.frozen
class LinkSpec:
    mtu: int = 1500


NAME_PATTERN = '"^[A-Z][A-Za-z0-9-]+$"'
SUFFIX_PATTERN = '"^[a-z][a-z0-9-]+(\\\\.[a-z][a-z0-9-]+)*$"'


@pytest.mark.parametrize(
    ("type", "error"),
    [
        ("", "missing suffix"),
        ("Links", "missing suffix"),
        (".", "name is empty"),
        (".net.example.com", "name is empty"),
        ("Links.", "suffix is empty"),
        ("links.net", "name should be in CamelCase"),
        ("123.net", "name should be in CamelCase"),
        ("linkStatuses.net", f"name doesn't match {NAME_PATTERN}"),
        ("Link_Statuses.net", f"name doesn't match {NAME_PATTERN}"),
        ("Línks.net", f"name doesn't match {NAME_PATTERN}"),
        ("L.net", f"name doesn't match {NAME_PATTERN}"),
        ("Links.Net", f"suffix doesn't match {SUFFIX_PATTERN}"),
        ("Links.n", f"suffix doesn't match {SUFFIX_PATTERN}"),
        ("Links.net.", f"suffix doesn't match {SUFFIX_PATTERN}"),
        ("Links.net.e", f"suffix doesn't match {SUFFIX_PATTERN}"),
        ("Links.net\n", f"suffix doesn't match {SUFFIX_PATTERN}"),
    ],
)
def test_the_first_rule_that_a_name_breaks_is_reported(type: str, error: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        check_type_name(type)
    assert str(caught.value) == error
    with pytest.raises(RegistrationError) as wrapped:
        define(type, default_namespace="default")
    assert str(wrapped.value) == f"resource type {type!r}: {error}"


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("Link", "name should be plural: end it in s, or declare singular="),
        ("Hardware", "name should be plural: end it in s, or declare singular="),
        *(
            (name, f"the singular of {name} is not certain: declare singular=")
            for name in (
                *("Statuses", "Boxes", "Quizzes", "Caches", "Bushes", "Identities", "Heroes", "Knives"),
                *("Address", "Status", "Analysis", "Alias"),
            )
        ),
    ],
)
def test_a_singular_that_an_s_does_not_tell_must_be_declared(name: str, error: str) -> None:
    with pytest.raises(RegistrationError) as caught:
        define(f"{name}.net", default_namespace="default")
    assert str(caught.value) == f"resource type '{name}.net': {error}"
    assert define(f"{name}.net", singular="Given", default_namespace="default").display_type == "Given"


def test_a_singular_is_a_name_itself() -> None:
    with pytest.raises(RegistrationError, match=r"singular 'link status' doesn't match"):
        define("LinkStatuses.net", singular="link status", default_namespace="default")


@pytest.mark.parametrize(
    ("name", "singular"),
    [
        ("Links", "Link"),
        ("Routes", "Route"),
        ("Services", "Service"),
        ("CPUs", "CPU"),
        ("NfTablesChains", "NfTablesChain"),
    ],
)
def test_a_plural_that_only_adds_an_s_has_its_singular(name: str, singular: str) -> None:
    assert define(f"{name}.net", default_namespace="default").display_type == singular


@pytest.mark.parametrize("type", ["Links.net", "Links.net.example.com", "L2s.net", "Net-Links.a1-b.cd", "Hardware.hw"])
def test_a_name_that_breaks_none_is_split_at_its_first_dot(type: str) -> None:
    name, suffix = check_type_name(type)
    assert f"{name}.{suffix}" == type
    assert "." not in name


@pytest.mark.parametrize(
    ("type", "explicit", "display_type", "aliases", "all_aliases"),
    [
        (
            "LinkStatuses.net.talos.dev",
            "link links",
            "LinkStatus",
            "link links linkstatus ls",
            "linkstatuses linkstatuses.net linkstatuses.net.talos link links linkstatus ls",
        ),
        (
            "ResourceDefinitions.meta.cosi.dev",
            "api-resources",
            "ResourceDefinition",
            "api-resources resourcedefinition rd rds",
            (
                "resourcedefinitions resourcedefinitions.meta resourcedefinitions.meta.cosi "
                "api-resources resourcedefinition rd rds"
            ),
        ),
        (
            "Namespaces.meta.cosi.dev",
            "ns",
            "Namespace",
            "ns namespace",
            "namespaces namespaces.meta namespaces.meta.cosi ns namespace",
        ),
        (
            "NodeAddresses.net.talos.dev",
            "",
            "NodeAddress",
            "nodeaddress na nas",
            "nodeaddresses nodeaddresses.net nodeaddresses.net.talos nodeaddress na nas",
        ),
        (
            "DNSUpstreams.net.talos.dev",
            "",
            "DNSUpstream",
            "dnsupstream dnsu dnsus",
            "dnsupstreams dnsupstreams.net dnsupstreams.net.talos dnsupstream dnsu dnsus",
        ),
        (
            "AddressSpecs.net.talos.dev",
            "addressspec",
            "AddressSpec",
            "addressspec addressspec as",
            "addressspecs addressspecs.net addressspecs.net.talos addressspec addressspec as",
        ),
        ("Links.net", "", "Link", "link", "links link"),
    ],
)
def test_short_names_are_derived(type: str, explicit: str, display_type: str, aliases: str, all_aliases: str) -> None:
    definition = define(type, singular=display_type, default_namespace="default", aliases=explicit.split())
    assert definition.display_type == display_type
    assert definition.aliases == tuple(aliases.split())
    assert definition.all_aliases == tuple(all_aliases.split())


def test_without_automatic_aliases_there_are_the_explicit_ones() -> None:
    definition = define(
        "LinkStatuses.net",
        singular="LinkStatus",
        default_namespace="default",
        aliases=["links", "ls"],
        skip_automatic_aliases=True,
    )
    assert definition.aliases == definition.all_aliases == ("links", "ls")
    assert definition.display_type == "LinkStatus"
    assert definition.skip_automatic_aliases


def test_the_meta_types_are_as_the_ecosystem_knows_them() -> None:
    assert Namespace.kind == Kind("meta", "Namespaces.meta.cosi.dev")
    assert Namespace.definition.print_columns == ()
    assert ResourceDefinition.kind == Kind("meta", "ResourceDefinitions.meta.cosi.dev")
    assert ResourceDefinition.definition.print_columns == (PrintColumn("Aliases", "{.aliases[:]}"),)
    resource = definition_resource(ResourceDefinition)
    assert resource.pointer == Pointer("meta", "ResourceDefinitions.meta.cosi.dev", "resourcedefinitions.meta.cosi.dev")
    assert resource.spec is ResourceDefinition.definition


# Declarations.


def test_a_declaration_makes_resources_of_its_type() -> None:
    link = ResourceType(
        "LinkSpecs.net.example.com", LinkSpec, namespace="network", columns={"MTU": ".mtu"}, sensitive=True
    )
    assert link.name == "LinkSpecs.net.example.com"
    assert link.is_sensitive
    assert link.definition.sensitivity == "sensitive"
    assert link.definition.print_columns == (PrintColumn("MTU", ".mtu"),)
    assert kind_of(link) == kind_of(link.kind) == Kind("network", link.name)
    assert link.within("other") == Kind("other", link.name)
    assert link.pointer("eth0") == Pointer("network", link.name, "eth0")

    resource = link.new("eth0", LinkSpec(mtu=9000), labels={"a": "b"}, annotations={"c": "d"})
    assert resource.pointer == link.pointer("eth0")
    assert resource.metadata.version is None
    assert resource.metadata.phase is Phase.RUNNING
    assert resource.metadata.labels == {"a": "b"}
    assert resource.metadata.annotations == {"c": "d"}
    assert link.new("eth0", LinkSpec(), namespace="other").kind == link.within("other")
    assert link.new("eth0", LinkSpec(), namespace="").metadata.namespace == ""


def test_a_type_is_not_sensitive_unless_it_says_so() -> None:
    link = ResourceType("LinkSpecs.net.example.com", LinkSpec, namespace="network")
    assert not link.is_sensitive
    assert link.definition.sensitivity == ""


@attrs.define
class Changeable:
    mtu: int = 1500


class Plain:
    mtu: int = 1500


def _with_field(type: Any) -> type[Any]:
    return attrs.make_class("Holder", {"routes": attrs.field(type=type)}, frozen=True)


@pytest.mark.parametrize("spec_class", [Changeable, Plain, dict, int])
def test_a_spec_class_that_can_change_is_refused(spec_class: type[Any]) -> None:
    with pytest.raises(RegistrationError, match=f"{spec_class.__name__} must be immutable"):
        ResourceType("LinkSpecs.net", spec_class, namespace="network")


@pytest.mark.parametrize(
    "type",
    [list, dict, set, list[str], dict[str, str], set[str], list[str] | None, tuple[list[str], ...], bytearray],
)
def test_a_field_that_can_change_in_place_is_refused(type: Any) -> None:
    with pytest.raises(RegistrationError, match=r"Holder\.routes"):
        ResourceType("LinkSpecs.net", _with_field(type), namespace="network")


@pytest.mark.parametrize("type", [str, str | None, tuple[str, ...], frozenset[int], tuple[LinkSpec, ...], Any, None])
def test_a_field_that_cannot_change_is_fine(type: Any) -> None:
    assert ResourceType("LinkSpecs.net", _with_field(type), namespace="network").name == "LinkSpecs.net"


def test_a_subclass_of_a_frozen_class_is_frozen() -> None:
    @attrs.frozen
    class Special(LinkSpec):
        speed: int = 0

    assert ResourceType("LinkSpecs.net", Special, namespace="network").spec_class is Special


# The registry.


def test_a_registry_knows_its_types_and_those_of_the_meta_namespace() -> None:
    link = ResourceType("LinkSpecs.net", LinkSpec, namespace="network")
    registry = Registry([link])
    assert registry.find("LinkSpecs.net") is link
    assert registry.find("Unheards.of") is None
    assert list(registry) == [Namespace, ResourceDefinition, link]
    assert Namespace.spec_class is NamespaceSpec


def test_a_name_is_registered_once() -> None:
    link = ResourceType("LinkSpecs.net", LinkSpec, namespace="network")
    registry = Registry([link, link])
    with pytest.raises(RegistrationError, match=r"'LinkSpecs\.net' is already registered"):
        registry.add(ResourceType("LinkSpecs.net", LinkSpec, namespace="network"))
    assert registry.find("LinkSpecs.net") is link
