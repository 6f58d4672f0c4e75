"""Patches of a configuration: what is merged, replaced, deleted, and refused."""

import textwrap
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from nodespan.controllers.config.patching import Patch, PatchError, apply_patches
from nodespan.controllers.config.sources import SourceText, bundle
from tests.support.agent import nodespan

LINK_KEPT = (
    "{apiVersion: v1alpha1, kind: LinkConfig, name: eth0, addresses: [{address: %s}], routes: [{gateway: 10.0.42.1}]}"
)
LINK = """\
apiVersion: v1alpha1
kind: LinkConfig
name: eth0
addresses:
    - address: 10.0.42.136/24
routes:
    - gateway: 10.0.42.1
"""
MIRROR = "apiVersion: v1alpha1\nkind: RegistryMirrorConfig\nname: r.example\n"


def patched(text: str, *patches: str) -> str:
    named = [Patch(name=f"patch {index}", text=textwrap.dedent(patch)) for index, patch in enumerate(patches, start=1)]
    return apply_patches([SourceText(name="base", text=textwrap.dedent(text))], named)


def content(text: str) -> list[Any]:
    return list(YAML(typ="safe", pure=True).load_all(text))


@pytest.mark.parametrize(
    ("base", "patches", "result"),
    [
        # Single values: an empty text changes nothing, what is false or zero does.
        (
            "machine: {type: worker, network: {hostname: a}}",
            ["machine: {type: '', network: {hostname: b}}"],
            ["machine: {type: worker, network: {hostname: b}}"],
        ),
        (
            "machine: {network: {kubespan: {enabled: true, mtu: 1400}}}",
            ["machine: {network: {kubespan: {enabled: false, mtu: ~}}}"],
            ["machine: {network: {kubespan: {enabled: false, mtu: 1400}}}"],
        ),
        # Lists.
        (
            "machine: {network: {nameservers: [10.0.0.1]}}",
            ["machine: {network: {nameservers: [10.0.0.2]}}"],
            ["machine: {network: {nameservers: [10.0.0.1, 10.0.0.2]}}"],
        ),
        (
            "cluster: {network: {podSubnets: [10.0.0.0/16], serviceSubnets: [10.1.0.0/16]}}",
            ["cluster: {network: {podSubnets: [10.2.0.0/16]}}"],
            ["cluster: {network: {podSubnets: [10.2.0.0/16], serviceSubnets: [10.1.0.0/16]}}"],
        ),
        (
            "apiVersion: v1alpha1\nkind: NetworkRuleConfig\nname: a\ningress: [{subnet: 10.0.0.0/8}]",
            ["apiVersion: v1alpha1\nkind: NetworkRuleConfig\nname: a\ningress: [{subnet: 192.168.0.0/16}]"],
            ["{apiVersion: v1alpha1, kind: NetworkRuleConfig, name: a, ingress: [{subnet: 192.168.0.0/16}]}"],
        ),
        ("machine: {type: worker}", ["machine: {certSANs: []}"], ["machine: {type: worker, certSANs: []}"]),
        (
            "cluster: {apiServer: {admissionControl: [{name: PodSecurity, configuration: {a: 1}}]}}",
            ["cluster: {apiServer: {admissionControl: [{name: PodSecurity, configuration: {b: 2}}, {name: X}]}}"],
            ["cluster: {apiServer: {admissionControl: [{name: PodSecurity, configuration: {a: 1, b: 2}}, {name: X}]}}"],
        ),
        # Documents.
        (
            LINK,
            [
                "apiVersion: v1alpha1\nkind: LinkConfig\nname: eth1\nmtu: 1400",
                "version: v1alpha1\nmachine: {type: worker}",
            ],
            [
                LINK_KEPT % "10.0.42.136/24",
                "{apiVersion: v1alpha1, kind: LinkConfig, name: eth1, mtu: 1400}",
                "{version: v1alpha1, machine: {type: worker}}",
            ],
        ),
        # Deletions.
        (
            LINK,
            [
                """\
                apiVersion: v1alpha1
                kind: LinkConfig
                name: eth0
                addresses:
                  - {address: 10.0.42.136/24, $patch: delete}
                  - {address: 10.0.42.137/24}
                """
            ],
            [LINK_KEPT % "10.0.42.137/24"],
        ),
        (
            f"{MIRROR}endpoints: [https://a]\n---\n{LINK}",
            [
                f"{MIRROR}endpoints: {{$patch: delete}}",
                f"{MIRROR}endpoints: [https://b]\n---\n{MIRROR}skipFallback: true",
            ],
            [
                f"{MIRROR}endpoints: [https://b]\nskipFallback: true",
                LINK_KEPT % "10.0.42.136/24",
            ],
        ),
        (
            """\
            machine:
              network:
                hostname: foo
                interfaces: [{interface: eth0, dhcp: true}, {interface: eth1, addresses: [10.3.5.4/32]}]
            ---
            {apiVersion: v1alpha1, kind: SideroLinkConfig, apiUrl: "https://a"}
            ---
            {apiVersion: v1alpha1, kind: ExtensionServiceConfig, name: foo,
             configFiles: [{content: hello, mountPath: /f}]}
            """,
            [
                """\
                {apiVersion: v1alpha1, kind: SideroLinkConfig, $patch: delete}
                ---
                apiVersion: v1alpha1
                kind: ExtensionServiceConfig
                name: foo
                configFiles: [{content: hello, $patch: delete}, {content: hello2, mountPath: /etc/foo2}]
                ---
                machine:
                  network:
                    hostname: {$patch: delete}
                    interfaces:
                      - {interface: eth0, $patch: delete}
                      - {interface: eth1, addresses: [10.3.5.5/32]}
                      - {interface: eth0, dummy: true}
                """
            ],
            [
                (
                    "{machine: {network: {interfaces: [{interface: eth1, addresses: [10.3.5.4/32, 10.3.5.5/32]}, "
                    "{interface: eth0, dummy: true}]}}}"
                ),
                (
                    "{apiVersion: v1alpha1, kind: ExtensionServiceConfig, name: foo, "
                    "configFiles: [{content: hello2, mountPath: /etc/foo2}]}"
                ),
            ],
        ),
        # The last item of a list, and a document that is not there.
        (
            "machine: {type: worker, network: {interfaces: [{interface: a}]}}",
            ["machine: {network: {interfaces: [{interface: a, $patch: delete}]}}"],
            ["machine: {type: worker, network: {}}"],
        ),
        (
            "machine: {type: worker}",
            ["{apiVersion: v1alpha1, kind: SideroLinkConfig, $patch: delete}"],
            ["machine: {type: worker}"],
        ),
        # Operations; consecutive ones are one list.
        (
            "machine: {type: worker, network: {nameservers: [10.0.0.1]}}",
            [
                '[{"op": "replace", "path": "/machine/type", "value": "controlplane"}]',
                "- {op: add, path: /machine/network/nameservers/-, value: 10.0.0.2}",
                "[{op: test, path: /machine/type, value: controlplane}]",
            ],
            ["machine: {type: controlplane, network: {nameservers: [10.0.0.1, 10.0.0.2]}}"],
        ),
        ("machine: {type: worker}\n---\nnull\n", ["[{op: remove, path: /machine/type}]"], ["machine: {}"]),
    ],
)
def test_a_patch_changes_what_it_says(base: str, patches: list[str], result: list[str]) -> None:
    assert content(patched(base, *patches)) == [each for text in result for each in content(text)]


@pytest.mark.parametrize(
    ("base", "patch", "words"),
    [
        (
            "machine: {network: {}}",
            "machine: {network: {hostname: {$patch: delete}}}",
            (
                "patch delete: path 'machine.network.hostname' in document '/v1alpha1': failed to delete path "
                "'machine.network.hostname': lookup failed"
            ),
        ),
        (
            "machine: {network: {interfaces: [{interface: a}]}}",
            "machine: {network: {interfaces: [{interface: b, $patch: delete}]}}",
            "lookup failed",
        ),
        (
            "machine: {network: {interfaces: [{interface: a, bond: {mode: x}}]}}",
            "machine: {network: {interfaces: [{interface: a, bond: {$patch: delete}}]}}",
            "cannot delete an inner key in 'machine.network.interfaces.bond'",
        ),
        ("machine: {network: {interfaces: []}}", "machine: {network: {interfaces: [{$patch: delete}]}}", "which item"),
        ("machine: {}", "machine: {$patch: replace}", "$patch can only be delete"),
        ("machine: {}", "$patch: delete", "name its apiVersion and kind"),
        ("machine: {}", "text", "documents of a configuration, or one list"),
        ("machine: {}", "[a: b", "patch 1:1:"),
        (
            f"machine: {{}}\n---\n{LINK}",
            "[{op: remove, path: /machine}]",
            "JSON6902 patches are not supported for multi",
        ),
        ("machine: {}", "[{op: remove, path: /machine/type}]", "failure applying rfc6902 patches"),
        ("machine: {}", "[{op: dance, path: /machine}]", "failure applying rfc6902 patches"),
        ("machine: {}", "[17]", "failure applying rfc6902 patches"),
        ("machine: {}", "[{op: replace, path: '', value: []}]", "no table of keys"),
    ],
)
def test_a_patch_that_cannot_be_applied_says_why(base: str, patch: str, words: str) -> None:
    with pytest.raises(PatchError) as caught:
        patched(base, patch)
    assert words in str(caught.value)


def test_values_keep_their_notation() -> None:
    text = """\
    machine:
        files:
            - content: |
                two
                lines
              permissions: 0o644
              path: /etc/x
              op: create
        env:
            A: "1"
            B: on
            C: 1_000
            D: ''
            E: !!str 12
    """
    after = patched(text, "machine: {type: worker}", "[{op: add, path: /machine/env/F, value: 0x10}]")
    for kept in ('A: "1"', "B: on", "C: 1_000", 'D: ""', "permissions: 0o644", "F: 0x10"):
        assert kept in after
    assert content(after)[0]["machine"]["files"][0]["content"] == "two\nlines\n"
    assert content(after)[0]["machine"]["env"]["E"] == "12"


def test_files_that_are_merged_are_patched_together() -> None:
    both = bundle(
        [SourceText(name="a", text="machine: {type: worker}"), SourceText(name="b", text="machine: {env: {A: a}}")]
    )
    assert content(patched(both, "machine: {env: {B: b}}")) == [
        {"machine": {"type": "worker", "env": {"A": "a", "B": "b"}}}
    ]


values = st.recursive(
    st.none() | st.booleans() | st.integers(-99, 99) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abcd", min_size=1, max_size=2), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(document=st.dictionaries(st.sampled_from(["machine", "cluster"]), values, max_size=2))
def test_the_text_without_a_patch_says_the_same_and_is_written_once(document: dict[str, Any]) -> None:
    from nodespan.runtime.codec.yamltext import dump

    once = patched(dump(document))
    assert content(once) == [document]
    assert patched(once) == once


def test_files_are_patched_by_the_command(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("machine:\n  type: worker # a comment\n")
    (tmp_path / "patch.yaml").write_text("machine: {env: {A: a}}")
    command = ("machineconfig", "patch", "base.yaml", "-p", "@patch.yaml", "-p", "patch.yaml")
    done = nodespan(*command, directory=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "machine:\n    type: worker\n    env:\n        A: a\n"
    assert nodespan(*command, "-o", "new.yaml", directory=tmp_path).returncode == 0
    assert (tmp_path / "new.yaml").read_text() == done.stdout
    assert (tmp_path / "new.yaml").stat().st_mode & 0o777 == 0o600
    for arguments, words in [
        ((*command, "-o", "new.yaml"), "new.yaml: File exists"),
        (("machineconfig", "patch", "nosuch.yaml"), "nosuch.yaml"),
        (("machineconfig", "patch", "base.yaml", "-p", "@nosuch"), "the patch nosuch: No such file"),
        (("patch", "service", "-p", "a: b"), "only machineconfig resource type is supported"),
        (("patch",), "give a patch"),
    ]:
        refused = nodespan(*arguments, directory=tmp_path)
        assert (refused.returncode, refused.stdout) == (1, "")
        assert words in refused.stderr
