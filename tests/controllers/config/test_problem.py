"""A problem is shown with its line and a caret under what is meant, and with stars for secrets."""

import pytest

from nodespan.controllers.config.loading import load
from nodespan.controllers.config.problem import render
from tests.controllers.config.marked import unmark


def shown(text: str) -> str:
    """The first problem of a text as people see it."""
    return render(load(text, name="node.yaml").problems[0], text)


def test_the_line_the_caret_and_the_hint_are_shown() -> None:
    text, _ = unmark("""
        machine:
          network:
            interfaces:
              - interface: eth0
                addresses:
                  - 10.0.0.300/24
    """)
    message = '"10.0.0.300/24" is neither an IP address nor a CIDR [networking.os.device.addresses]'
    assert shown(text).splitlines() == [
        f"node.yaml:6:13: error: machine.network.interfaces[0].addresses[0]: {message}",
        "    6 |           - 10.0.0.300/24",
        "      |             ^^^^^^^^^^^^^",
        "write it like 10.0.0.5/24 or fd00::5/64",
    ]


@pytest.mark.parametrize(
    ("text", "line", "caret"),
    [
        ("machine: {日本: 1, type: 犬}", "machine: {日本: 1, type: 犬}", " " * 25 + "^^"),
        ("machine: {'\t': 1, type: boss}", "machine: {'\t': 1, type: boss}", " " * 11 + "\t" + " " * 12 + "^^^^"),
        ("machine: {type: boss}\r\n", "machine: {type: boss}", " " * 16 + "^^^^"),
        ("\ufeffmachine: {type: boss}", "machine: {type: boss}", " " * 16 + "^^^^"),
        ("machine: \x01", "machine: \N{REPLACEMENT CHARACTER}", " " * 9 + "^"),
        ("machine: {e\u0301: 1, type: boss}", "machine: {e\u0301: 1, type: boss}", " " * 22 + "^^^^"),
    ],
)
def test_the_caret_stands_under_the_mistake_whatever_is_before_it(text: str, line: str, caret: str) -> None:
    _, source, mark, *_ = shown(text).split("\n")
    assert source == "    1 | " + line
    assert mark == "      | " + caret


def test_a_very_long_line_is_cut_around_the_mistake() -> None:
    text = "machine: {env: {A: " + "a" * 5000 + "}, type: boss, env2: " + "b" * 5000 + "}"
    _, source, mark, *_ = shown(text).split("\n")
    assert len(source) < 130
    assert source[mark.index("^") :].startswith("boss")


def test_a_problem_without_a_place_is_one_line_and_a_hint() -> None:
    assert len(shown("a" * 2**21).splitlines()) == 2


@pytest.mark.parametrize(
    "text",
    [
        "cluster: {secret: HIDDEN}",
        "cluster:\n  secret: HIDDEN\n",
        "cluster: {secrte: HIDDEN}",
        "cluster: {secret: [HIDDEN]}",
        "cluster: {secret: HIDDEN, id: [x]}",
        "machine: {network: {interfaces: [{interface: a, wireguard: {privateKey: HIDDEN, peers: 5}}]}}",
        "machine: {network: {interfaces: [{interface: a, wireguard: {'privateKey': 'HIDDEN, }', peers: 5}}]}}",
        "machine: {network: {interfaces: [{interface: a, wireguard: {privatKey: HIDDEN}}]}}",
        "machine:\n  network:\n    interfaces:\n      - vip: {ip: x, hcloud: {apiToken: HIDDEN}}\n",
        "machine:\n  network:\n    interfaces:\n      - wireguard:\n          privateKey: %HIDDEN\n",
        "machine:\n  network:\n    interfaces:\n      - wireguard:\n          privateKey: *HIDDEN\n",
        "machine:\n  network:\n    interfaces:\n      - wireguard:\n          privateKey: !!x!HIDDEN y\n",
        "machine:\n  network:\n    interfaces:\n      - wireguard:\n          privateKey: !HIDDEN y\n",
        "machine:\n  network:\n    interfaces:\n      - wireguard:\n          privateKey:\n            a: HIDDEN\n",
        "machine:\n  files:\n    - content: |\n        HIDDEN\n     oops: HIDDEN\n",
        "machine:\n  files:\n    - content: |\n        a\n\tHIDDEN\n",
        'machine:\n  files:\n    - content: "HIDDEN\n',
        "machine: {token: HIDDEN, type: boss}",
        "cluster:\n  id: any text secret: HIDDEN\n",
        "cluster: {secret:\n    HIDDEN, id: [x]}",
        "cluster: {secret:\n  HIDDEN: x}",
        "machine: {ca: {key: HIDDEN}, type: boss}",
        "machine: {env: {http_proxy: 'http://user:HIDDEN@proxy'}, type: boss}",
        "machine: {env: {TOKEN: [HIDDEN]}}",
        "apiVersion: v1alpha1\nkind: WireguardConfig\nname: a\nprivateKey: HIDDEN\nlistenPort: x\n",
        "apiVersion: v1alpha1\nkind: TrustedRootsConfig\nname: a\ncertificates:\n  - HIDDEN\n",
        "apiVersion: v1alpha1\nkind: DiscoveryIdentityConfig\nclusterID: a\nclusterSecret: HIDDEN\n",
    ],
)
def test_no_secret_is_shown(text: str) -> None:
    loaded = load(text)
    assert loaded.problems
    for problem in loaded.problems:
        assert "HIDDEN" not in render(problem, text)
        assert "HIDDEN" not in repr(problem)
    assert "HIDDEN" not in repr(loaded)


def test_the_password_of_a_url_is_not_shown() -> None:
    assert "HIDDEN" not in shown("cluster: {controlPlane: {endpoint: 'ftp://user:HIDDEN@host'}}")


def test_misplaced_lines_of_a_certificate_are_masked() -> None:
    material = "MIIBszCCAVmgAwIBAgIUQ2hhbGxlbmdlIGFjY2VwdGVkQ2hhbGxlbmdlIGFjY2Vw"
    for text in (f"machine:\n  files:\n{material}\n", f"machine:\n  files:\n{material}:\n", f"{material}: 1\n"):
        loaded = load(text)
        assert all(material not in render(problem, text) for problem in loaded.problems)
        assert material not in repr(loaded.ignored)


def test_public_keys_are_not_masked() -> None:
    assert '"abcdef"' in shown(
        "machine: {network: {interfaces: [{interface: a, wireguard: {privateKey: "
        "kCQsKr4B28VUl7qw1sVkTDNF9fFH++ViIuKsss+C6kc=, peers: [{publicKey: abcdef}]}}]}}"
    )
