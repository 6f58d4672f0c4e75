"""Configurations of meshes: valid as they are, and read back as what they were made from."""

import base64
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodespan.controllers.cluster.config import discovery_config
from nodespan.controllers.config.loading import load
from nodespan.controllers.kubespan.config import kubespan_config
from nodespan.controllers.membership.machine_config import (
    MachineConfigError,
    Mesh,
    NodePart,
    config_text,
    new_mesh,
    read_mesh,
)
from nodespan.discovery.cluster_secret import decode_secret

SECRET = base64.b64encode(bytes(range(32))).decode()
CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
LEGACY = f"""\
version: v1alpha1
machine:
  type: controlplane
  token: abcdef.0123456789abcdef
  network:
    kubespan:
      enabled: true
      mtu: 1380
      harvestExtraEndpoints: true
      filters:
        excludeAdvertisedNetworks: [192.168.7.0/24]
  kubelet: {{}}
cluster:
  id: an opaque id
  secret: {SECRET}
  clusterName: prod
  discovery:
    enabled: true
    registries:
      kubernetes: {{disabled: true}}
"""
DOCUMENTS = f"""\
apiVersion: v1alpha1
kind: KubeSpanConfig
enabled: true
---
apiVersion: v1alpha1
kind: DiscoveryIdentityConfig
clusterID: another
clusterSecret: {SECRET}
---
apiVersion: v1alpha1
kind: DiscoveryServiceConfig
name: own
endpoint: https://discovery.example.org:3000/
---
apiVersion: v1alpha1
kind: TrustedRootsConfig
name: own-ca
certificates: |
  -----BEGIN CERTIFICATE-----
  MIIB
  -----END CERTIFICATE-----
"""


def joined(tmp_path: Path, text: str) -> tuple[Mesh, tuple[str, ...]]:
    """What is read from a file of this text."""
    file = tmp_path / "existing.yaml"
    file.write_text(text)
    return read_mesh(file)


def test_a_new_mesh_is_valid_without_warnings() -> None:
    loaded = load(config_text(new_mesh("home"), purpose="A node."))
    assert loaded.problems == ()
    assert loaded.ignored == ()


def test_a_new_mesh_is_enabled_and_has_a_discovery_service() -> None:
    mesh = new_mesh("home", "https://discovery.example.org:3000/")
    config = load(config_text(mesh, purpose="A node.")).config
    kubespan, discovery = kubespan_config(config), discovery_config(config)
    assert kubespan is not None
    assert kubespan.enabled
    assert (kubespan.cluster_id, kubespan.shared_secret) == (mesh.cluster_id, mesh.cluster_secret)
    assert [service.endpoint for service in discovery.service_endpoints] == ["discovery.example.org:3000"]
    assert config.cluster.cluster_name == "home"


def test_no_two_meshes_share_an_id_or_a_secret() -> None:
    one, other = new_mesh("home"), new_mesh("home")
    assert len(decode_secret(one.cluster_secret)) == len(base64.b64decode(one.cluster_id)) == 32
    assert len({one.cluster_id, one.cluster_secret, other.cluster_id, other.cluster_secret}) == 4


def test_the_secret_is_not_shown_with_the_mesh() -> None:
    mesh = new_mesh("home")
    assert mesh.cluster_secret not in repr(mesh)


@given(name=st.text(max_size=40), purpose=st.text(st.characters(categories=["L", "N", "Zs"]), max_size=40))
def test_a_mesh_is_read_back_as_it_was_written(name: str, purpose: str) -> None:
    mesh = new_mesh(name, trusted_roots=(("own", CERTIFICATE),))
    config = load(config_text(mesh, purpose=purpose)).config
    assert config.cluster.cluster_name == name
    assert (config.documents[1].cluster_id, config.documents[1].cluster_secret) == (  # type: ignore[union-attr]
        mesh.cluster_id,
        mesh.cluster_secret,
    )


def test_an_existing_mesh_is_joined_by_its_main_document(tmp_path: Path) -> None:
    mesh, remarks = joined(tmp_path, LEGACY)
    assert remarks == ()
    assert (mesh.cluster_name, mesh.cluster_id, mesh.cluster_secret) == ("prod", "an opaque id", SECRET)
    assert [service.url for service in mesh.services] == ["https://discovery.talos.dev/"]
    assert (mesh.mtu, mesh.harvest_extra_endpoints) == (1380, True)
    assert mesh.exclude_advertised_networks == ("192.168.7.0/24",)


def test_an_existing_mesh_is_joined_by_its_documents(tmp_path: Path) -> None:
    mesh, remarks = joined(tmp_path, DOCUMENTS)
    assert remarks == ()
    assert mesh.cluster_id == "another"
    assert [(service.name, service.url) for service in mesh.services] == [
        ("own", "https://discovery.example.org:3000/")
    ]
    assert mesh.trusted_roots == (("own-ca", CERTIFICATE),)


@pytest.mark.parametrize("text", [LEGACY, DOCUMENTS])
def test_a_joining_node_has_the_same_effective_settings(tmp_path: Path, text: str) -> None:
    mesh, _ = joined(tmp_path, text)
    theirs, ours = load(text).config, load(config_text(mesh, purpose="A node.")).config
    assert kubespan_config(ours) == kubespan_config(theirs)
    endpoints = [service.endpoint for service in discovery_config(theirs).service_endpoints]
    assert [service.endpoint for service in discovery_config(ours).service_endpoints] == endpoints


def test_a_joining_node_has_the_relays_of_the_mesh_beside_its_own_settings(tmp_path: Path) -> None:
    relays = ("https://discovery.example.org:3000/", "https://relay.example.org:3443")
    settings = {"kubespan": {"listenPort": 51999}, "api": {"listen": "[::]:50000"}}
    text = config_text(new_mesh("home", relays=relays), purpose="A node.", node=NodePart(nodespan=settings))
    mesh, _ = joined(tmp_path, text)
    assert mesh.relays == relays
    config = load(config_text(mesh, purpose="Another node.")).config.nodespan
    assert config.kubespan.relays == relays
    assert (config.kubespan.listen_port, config.api.listen) == (51820, "")
    assert load(text).config.nodespan.kubespan.listen_port == 51999


def test_a_joining_node_takes_only_the_mesh_from_the_other_node(tmp_path: Path) -> None:
    mesh, _ = joined(tmp_path, LEGACY)
    text = config_text(mesh, purpose="A node.")
    assert "controlplane" not in text
    assert "abcdef" not in text


def test_a_disabled_mesh_is_warned_about(tmp_path: Path) -> None:
    _, (remark,) = joined(tmp_path, LEGACY.replace("      enabled: true\n", "      enabled: false\n"))
    assert "KubeSpan is off" in remark


def test_the_kubernetes_registry_is_warned_about(tmp_path: Path) -> None:
    _, (remark,) = joined(tmp_path, LEGACY.replace("{disabled: true}", "{disabled: false}"))
    assert "the Kubernetes registry" in remark


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("machine: {type: worker}", "holds no cluster id and secret"),
        (
            LEGACY.replace("    enabled: true\n    registries", "    enabled: false\n    registries").replace(
                "      enabled: true\n", "      enabled: false\n"
            ),
            "names no discovery service",
        ),
        (LEGACY.replace(SECRET, "c2hvcnQ="), "cluster.secret is not|secret is not base64 of 32 bytes"),
        ("machine: [", "not a valid machine configuration"),
    ],
)
def test_a_failed_join_is_explained_without_the_secret(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(MachineConfigError, match=reason) as caught:
        joined(tmp_path, text)
    assert SECRET not in str(caught.value)
    assert "c2hvcnQ=" not in str(caught.value)
