"""The documents of the ingress firewall: what may be in them, and what their author is told."""

import pytest

from nodespan.controllers.config.finding import Severity
from nodespan.controllers.config.loading import load
from nodespan.resources.config import NetworkDefaultActionConfig, NetworkRuleConfig
from nodespan.resources.config.network import IngressAction, IngressSource, PortSelector, RuleProtocol
from tests.controllers.config.marked import unmark
from tests.controllers.config.samples import KEY_A

ANY = "ingress: [{subnet: 0.0.0.0/0}]"


def document(kind: str, body: str) -> str:
    return f"apiVersion: v1alpha1\nkind: {kind}\n{body}\n"


def rule(body: str, name: str = "name: a") -> str:
    return document("NetworkRuleConfig", f"{name}\n{body}")


def action(ingress: str) -> str:
    return document("NetworkDefaultActionConfig", f"ingress: {ingress}")


def ports(listed: str, protocol: str = "tcp", name: str = "a", sources: str = ANY) -> str:
    return rule(f"portSelector: {{ports: [{listed}], protocol: {protocol}}}\n{sources}", f"name: {name}")


def test_the_documents_are_read() -> None:
    loaded = load(
        "---\n".join(
            (
                action("block"),
                rule(
                    "portSelector: {ports: [53, '54', 8000-9000], protocol: udp}\n"
                    "ingress: [{subnet: 192.168.0.0/16, except: 192.168.0.3/32}, {subnet: 2001::/16}]"
                ),
            )
        )
    )
    assert (loaded.problems, loaded.ignored) == ((), ())
    assert loaded.config.documents == (
        NetworkDefaultActionConfig(ingress=IngressAction.BLOCK),
        NetworkRuleConfig(
            name="a",
            port_selector=PortSelector(ports=("53", "54", "8000-9000"), protocol=RuleProtocol.UDP),
            ingress=(
                IngressSource(subnet="192.168.0.0/16", except_="192.168.0.3/32"),
                IngressSource(subnet="2001::/16"),
            ),
        ),
    )


@pytest.mark.parametrize(
    ("marked", "message"),
    [
        (rule(f"portSelector: {{ports: [80], protocol: tcp}}\n{ANY}", "").replace("api", "‸api"), "needs name"),
        (rule(f"‸portSelector: {{protocol: tcp}}\n{ANY}"), "needs portSelector.ports"),
        (rule(f"portSelector: {{ports: ‸[], protocol: tcp}}\n{ANY}"), "needs portSelector.ports"),
        (ports("‸80-79"), 'invalid port range: "80-79"'),
        (ports("‸x"), 'invalid port range: "x"'),
        (ports("‸-5"), 'invalid port range: "-5"'),
        (ports("‸65536"), 'invalid port range: "65536"'),
        (ports("‸1-65536"), 'invalid port range: "1-65536"'),
        (ports("‸80:90"), 'invalid port range: "80:90"'),
        (ports("‸''"), 'invalid port range: ""'),
        (ports("‸1500-2500, 1000-2000"), "invalid port range: 1500-2500, overlaps with 1000-2000"),
        (ports("80, ‸80"), "invalid port range: 80, overlaps with 80"),
        (ports("1-1000, 2000, ‸500-600"), "invalid port range: 500-600, overlaps with 1-1000"),
        (ports("80", protocol="‸sctp"), '"sctp" is none of tcp, udp, icmp, icmpv6'),
        (ports("80", sources="ingress: [{subnet: ‸10.0.0.0}]"), '"10.0.0.0" is not a CIDR'),
        (ports("80", sources="ingress: [{subnet: ‸10.0.0.0/33}]"), '"10.0.0.0/33" is not a CIDR'),
        (ports("80", sources="ingress: [‸{except: 10.0.0.0/8}]"), "subnet is missing"),
        (ports("80", sources="ingress: [{subnet: 10.0.0.0/8, except: ‸10.0}]"), '"10.0" is not a CIDR'),
        (action("‸deny"), '"deny" is none of accept, block'),
        (action("accept") + "---\n" + action("block").replace("kind: ", "kind: ‸"), "stands further up already"),
    ],
)
def test_a_mistake_is_an_error_at_its_place(marked: str, message: str) -> None:
    text, (place,) = unmark(marked)
    (problem,) = load(text).errors
    assert message in problem.message
    assert (problem.line, problem.column) == place


@pytest.mark.parametrize(
    "listed", ["0", "65535", "0-65535", "80, 81-90, 443", "5000, 5001", "80-80"], ids=lambda text: text.replace(" ", "")
)
def test_ports_that_are_valid(listed: str) -> None:
    assert load(ports(listed)).problems == ()


def nodespan(body: str) -> str:
    return f"apiVersion: nodespan.dev/v1alpha1\nkind: NodespanConfig\n{body}\n"


WIREGUARD = document("WireguardConfig", f"name: wg0\nprivateKey: {KEY_A}\nlistenPort: 51821")
MESH = document("KubeSpanConfig", "enabled: true")
MESH_NEEDS = (
    document("DiscoveryServiceConfig", "name: a\nendpoint: https://discovery.example.org/")
    + "---\n"
    + document("DiscoveryIdentityConfig", f"clusterID: a\nclusterSecret: {'A' * 43}=")
)


@pytest.mark.parametrize(
    ("documents", "message"),
    [
        ((rule(f"portSelector: {{ports: [80]}}\n{ANY}"),), "without a protocol this rule is about no packet"),
        ((ports("80", protocol="icmp"),), "icmp has no ports"),
        ((ports("0-65535", protocol="icmpv6"),), "icmpv6 has no ports"),
        ((action("block"), ports("80", sources="ingress: []")), "this rule opens nothing"),
        ((ports("80-90"), ports("85", name="b")), 'tcp 85 is closed by "a", too'),
        ((action("accept"), ports("1-1000"), ports("500-600", name="b")), 'tcp 500-600 is closed by "a", too'),
        ((action("block"), MESH, MESH_NEEDS), "peers cannot reach this node at the mesh's UDP port 51820"),
        ((action("block"), MESH, MESH_NEEDS, ports("51820")), "peers cannot reach this node"),
        (
            (action("block"), MESH, MESH_NEEDS, nodespan("kubespan: {listenPort: 51999}"), ports("51820", "udp")),
            "the mesh's UDP port 51999",
        ),
        (
            (action("block"), nodespan("dashboard: {listen: '[::]:8443', cert: /c, key: /k, ca: /a}")),
            "closes TCP port 8443",
        ),
        ((action("block"), WIREGUARD), "peers cannot reach this node at UDP port 51821"),
    ],
)
def test_what_a_rule_does_not_do_is_a_warning(documents: tuple[str, ...], message: str) -> None:
    (problem,) = load("---\n".join(documents)).problems
    assert (problem.severity, message in problem.message) == (Severity.WARNING, True), problem.message


@pytest.mark.parametrize(
    "documents",
    [
        (action("block"), MESH, MESH_NEEDS, ports("51000-52000", protocol="udp")),
        (action("accept"), MESH, MESH_NEEDS),
        (action("block"), WIREGUARD, ports("51821", "udp")),
        (action("accept"), WIREGUARD),
        (action("block"), nodespan("dashboard: {listen: '127.0.0.1:8443'}")),
        (action("block"), ports("80"), ports("80", name="b")),
        (ports("80"), ports("80", protocol="udp", name="b"), ports("81", name="c")),
        (ports("80", sources="ingress: []"),),
    ],
)
def test_what_is_as_it_should_be_is_no_warning(documents: tuple[str, ...]) -> None:
    assert load("---\n".join(documents)).problems == ()
