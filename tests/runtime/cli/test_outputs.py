"""What `nodespan get` prints, byte for byte as the originals print it."""

import textwrap
from typing import Any

import pytest

from nodespan.resources.network import AddressStatus, LinkStatus, NodeAddress, NodeAddressSpec
from nodespan.runtime.api import protocol
from nodespan.runtime.cli.errors import CommandError
from nodespan.runtime.cli.get import make_output
from nodespan.runtime.resource import ResourceDefinition, definition_resource
from nodespan.runtime.text.jsonpath import JSONPathError
from tests.runtime.cli import samples
from tests.runtime.cli.samples import NODE, address, data, definition, link, resource, yaml

ETHER = {"type": "ether", "operationalState": "up", "linkState": True, "hardwareAddr": "00:50:56:8e:8f:e4"}
LINKS = [
    link("bond0", version=2, kind="bond", **ETHER),
    link("enp1s0", version=3, alias="net0", **ETHER),
    link("lo", type="loopback", operationalState="unknown", linkState=True, hardwareAddr="00:00:00:00:00:00"),
]
ENP1S0 = {
    "alias": "net0",
    "altNames": ["enx0050568e8fe4"],
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


def test_the_table_of_links(capsys: pytest.CaptureFixture[str]) -> None:
    output = make_output("table", NODE, watch=False)
    output.begin(definition(LinkStatus)["definition"])
    for each in LINKS:
        output.show(protocol.CREATED, data(protocol.CREATED, each))
    output.flush()
    assert capsys.readouterr().out == textwrap.dedent(
        """\
        NODE           NAMESPACE   TYPE         ID       VERSION   ALIAS   TYPE       KIND   HW ADDR             OPER STATE   LINK STATE
        192.168.0.10   network     LinkStatus   bond0    2                 ether      bond   00:50:56:8e:8f:e4   up           true
        192.168.0.10   network     LinkStatus   enp1s0   3         net0    ether             00:50:56:8e:8f:e4   up           true
        192.168.0.10   network     LinkStatus   lo       1                 loopback          00:00:00:00:00:00   unknown      true
        """  # noqa: E501
    )


def test_a_cell_with_a_list_is_compact_json_and_one_with_several_results_is_joined(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for type, sample, cell in (
        (
            NodeAddress,
            resource(NodeAddress, "current", NodeAddressSpec(addresses=("10.0.0.1/8", "::1/128"))),
            '["10.0.0.1/8","::1/128"]   v1',
        ),
        (ResourceDefinition, definition_resource(LinkStatus), "link links linkstatus ls"),
    ):
        output = make_output("table", NODE, watch=False)
        output.begin(definition(type)["definition"])
        output.show(protocol.CREATED, data(protocol.CREATED, sample))
        output.flush()
        assert capsys.readouterr().out.endswith(f"   {cell}\n")


def test_an_empty_table_has_its_header(capsys: pytest.CaptureFixture[str]) -> None:
    output = make_output("table", NODE, watch=True)
    output.begin(definition(AddressStatus)["definition"])
    output.flush()
    assert capsys.readouterr().out == "NODE   *   NAMESPACE   TYPE   ID   VERSION   ADDRESS   LINK\n"


def test_yaml_of_a_link(capsys: pytest.CaptureFixture[str]) -> None:
    shown = link("enp1s0", version=3, **ENP1S0).evolve(updated=1_767_323_047 * 10**9)
    make_output("yaml", NODE, watch=False).show(protocol.CREATED, yaml(protocol.CREATED, shown))
    assert capsys.readouterr().out == textwrap.dedent(
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


def test_yaml_documents_are_kept_apart_and_say_what_happened(capsys: pytest.CaptureFixture[str]) -> None:
    output = make_output("yaml", NODE, watch=True)
    output.show(protocol.CREATED, yaml(protocol.CREATED, address("lo", "127.0.0.1/8")))
    output.show(protocol.DESTROYED, yaml(protocol.DESTROYED, address("lo", "127.0.0.1/8")))
    first, second = capsys.readouterr().out.split("---\n")
    assert first.startswith("node: 192.168.0.10\nevent: created\nmetadata:\n    namespace: network\n")
    assert second.startswith("node: 192.168.0.10\nevent: destroyed\nmetadata:\n")
    assert first.endswith("\n")


ADDRESS_JSON = """\
{
    "event": "created",
    "metadata": {
        "created": "2026-01-02T03:04:05Z",
        "id": "enp1s0/192.168.0.15/32",
        "namespace": "network",
        "owner": "network.AddressStatusController",
        "phase": "running",
        "type": "AddressStatuses.net.talos.dev",
        "updated": "2026-01-02T03:04:05Z",
        "version": 1
    },
    "node": "192.168.0.10",
    "spec": {
        "address": "192.168.0.15/32",
        "family": "inet4",
        "flags": "permanent",
        "linkIndex": 2,
        "linkName": "enp1s0",
        "priority": 0,
        "scope": "global"
    }
}
"""


def test_json_of_an_address(capsys: pytest.CaptureFixture[str]) -> None:
    shown = data(protocol.CREATED, address("enp1s0", "192.168.0.15/32"))
    make_output("json", NODE, watch=True).show(protocol.CREATED, shown)
    assert capsys.readouterr().out == ADDRESS_JSON
    make_output("json", NODE, watch=False).show(protocol.CREATED, shown)
    assert capsys.readouterr().out == ADDRESS_JSON.replace('    "event": "created",\n', "")


def test_json_reads_metadata_as_the_yaml_form_would_be_read(capsys: pytest.CaptureFixture[str]) -> None:
    odd = address("lo", "127.0.0.1/8").evolve(
        id="10", owner="", labels={"on": "true", "none": "", "n": "1.50", "t": "<&>\u2028"}, finalizers=("1", "a")
    )
    make_output("json", NODE, watch=False).show(protocol.CREATED, data(protocol.CREATED, odd))
    shown = capsys.readouterr().out
    for line in (
        '"id": 10,',
        '"owner": null,',
        '"on": true,',
        '"none": null,',
        '"n": 1.5,',
        r'"t": "\u003c\u0026\u003e\u2028"',
        '"finalizers": [\n            1,\n            "a"\n        ],',
    ):
        assert line in shown


JSONPATHS = [
    ("{.spec.address}", "192.168.0.15/32\n"),
    ("{.spec.linkIndex}", "2\n"),
    ("{.metadata.version}", "1\n"),
    ("{.node}", "192.168.0.10\n"),
    ("{.spec.address} {.spec.scope}", "192.168.0.15/32\n \nglobal\n"),
    ("{.metadata.labels}", '{\n    "app": "web",\n    "on": true\n}\n'),
    ("{.metadata.labels.on}", "true\n"),
    ("{.metadata.labels.*}", "web\ntrue\n"),
    ("{.metadata.finalizers}", '[\n    "f"\n]\n'),
    ("{.metadata.finalizers[0]}", "f\n"),
    (".spec.scope", "global\n"),
]


@pytest.mark.parametrize(("expression", "text"), JSONPATHS)
def test_each_result_of_a_jsonpath_has_its_line(capsys: pytest.CaptureFixture[str], expression: str, text: str) -> None:
    shown = address("enp1s0", "192.168.0.15/32").evolve(labels={"app": "web", "on": "true"}, finalizers=("f",))
    make_output(f"jsonpath={expression}", NODE, watch=False).show(protocol.CREATED, data(protocol.CREATED, shown))
    assert capsys.readouterr().out == text


def test_a_key_that_a_jsonpath_misses_is_an_error() -> None:
    output = make_output("jsonpath={.spec.nosuch}", NODE, watch=False)
    with pytest.raises(JSONPathError, match="nosuch"):
        output.show(protocol.CREATED, data(protocol.CREATED, address("lo", "127.0.0.1/8")))


def test_what_never_was_has_no_results(capsys: pytest.CaptureFixture[str]) -> None:
    output = make_output("jsonpath={.spec.mtu}", NODE, watch=True)
    output.show(protocol.DESTROYED, data(protocol.DESTROYED, samples.absent(LinkStatus, "lo")))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("xml", "unknown output 'xml': expected table, wide, name, yaml, json, jsonpath=EXPRESSION or custom-columns="),
        ("jsonpath", "unknown output 'jsonpath'"),
        ("jsonpath=", "unknown output 'jsonpath='"),
        ("jsonpath={.a[}", "JSONPath '{.a[}', character 5"),
        ("Table", "unknown output 'Table'"),
    ],
)
def test_an_invalid_output_is_named(form: str, text: str) -> None:
    with pytest.raises(CommandError) as caught:
        make_output(form, NODE, watch=False)
    assert text in str(caught.value)


@pytest.mark.parametrize("watch", [True, False])
def test_a_column_that_a_resource_lacks_is_empty(capsys: pytest.CaptureFixture[str], watch: bool) -> None:
    output = make_output("table", "n", watch=watch)
    output.begin(definition(LinkStatus)["definition"])
    answer: dict[str, Any] = data(protocol.DESTROYED, samples.absent(LinkStatus, "x"))
    output.show(protocol.DESTROYED, answer)
    output.flush()
    mark = ["-"] if watch else []
    assert capsys.readouterr().out.splitlines()[1].split() == ["n", *mark, "network", "LinkStatus", "x", "undefined"]
