"""Machine configurations of a mesh: for new clusters, and for nodes that join an existing one."""

import base64
import datetime
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from nodespan.controllers.cluster.config import cluster_identity, discovery_config, wants_kubernetes_registry
from nodespan.controllers.config.loaded import Loaded
from nodespan.controllers.config.loading import load, read_and_load
from nodespan.controllers.config.problem import render
from nodespan.controllers.kubespan.config import kubespan_config
from nodespan.controllers.remote import talosconfig
from nodespan.controllers.secrets.errors import CertificateError
from nodespan.controllers.secrets.key_pair import KeyPair, check_pair, decode_pem, encode_pem
from nodespan.resources.config import DiscoveryServiceConfig, MachineConfigSpec, TrustedRootsConfig
from nodespan.resources.config.kubespan import DEFAULT_DISCOVERY_ENDPOINT
from nodespan.runtime.codec.yamltext import dump
from nodespan.runtime.named_file import LARGEST_PEM, read_named

_KEY_BYTES = 32
_ADMIN = "os:admin"
_DEFAULT_SERVICE = "default"
_OWN_SETTINGS = """\
# Settings of a single node go into this file too, each as a further document after a line of three dashes:
#
#   apiVersion: v1alpha1                          endpoints of the node besides its own addresses,
#   kind: KubeSpanEndpointsConfig                 such as that of a port forwarding
#   extraAnnouncedEndpoints: [203.0.113.7:51820]
#
#   apiVersion: nodespan.dev/v1alpha1             networks behind it that peers reach through it; they are
#   kind: NodespanConfig                          announced if advertiseKubernetesNetworks is true
#   podNetworks: [10.244.1.0/24]
"""


class MachineConfigError(Exception):
    """A configuration cannot be generated. The text has the reason and what to do, without secrets."""


@attrs.frozen(kw_only=True)
class DiscoveryService:
    """A discovery service by name and URL."""

    name: str = _DEFAULT_SERVICE
    url: str = DEFAULT_DISCOVERY_ENDPOINT


@attrs.frozen(kw_only=True)
class Mesh:
    """The settings common to all nodes of a mesh. `trusted_roots` are PEM texts by name.

    `kubespan`: whether the nodes create tunnels to each other; without, they only know each other.
    `endpoint_filters` select the addresses that a node announces, None for all. `authority` and `token` are
    those of the API, None and "" for none. `relays` are the URLs of its relays.
    """

    cluster_name: str
    cluster_id: str
    cluster_secret: str = attrs.field(repr=False)
    services: tuple[DiscoveryService, ...] = (DiscoveryService(),)
    trusted_roots: tuple[tuple[str, str], ...] = ()
    kubespan: bool = True
    harvest_extra_endpoints: bool = False
    mtu: int | None = None
    endpoint_filters: tuple[str, ...] | None = None
    exclude_advertised_networks: tuple[str, ...] = ()
    authority: KeyPair | None = None
    token: str = attrs.field(default="", repr=False)
    relays: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class NodePart:
    """The settings of one node. `interfaces` are entries of `machine.network.interfaces`, `nodespan` the settings
    of its NodespanConfig.

    `has_key`: whether the node issues certificates of the API, for which it gets the key of the authority.
    `cert_sans` are addresses and names of its API besides its own, as behind a port forwarding.
    """

    control_plane: bool = False
    has_key: bool = False
    cert_sans: tuple[str, ...] = ()
    interfaces: tuple[Mapping[str, Any], ...] = attrs.field(default=(), repr=False)
    nodespan: Mapping[str, Any] = attrs.field(factory=dict)


_ANY_NODE = NodePart()


def new_mesh(
    cluster_name: str,
    url: str = DEFAULT_DISCOVERY_ENDPOINT,
    *,
    trusted_roots: tuple[tuple[str, str], ...] = (),
    authority: KeyPair | None = None,
    relays: tuple[str, ...] = (),
    random_bytes: Callable[[int], bytes] = secrets.token_bytes,
) -> Mesh:
    """A new mesh with a random id and secret, and a token where it has an authority."""
    return Mesh(
        cluster_name=cluster_name,
        cluster_id=base64.b64encode(random_bytes(_KEY_BYTES)).decode(),
        cluster_secret=base64.b64encode(random_bytes(_KEY_BYTES)).decode(),
        services=(DiscoveryService(url=url),),
        trusted_roots=trusted_roots,
        authority=authority,
        token="" if authority is None else _new_token(random_bytes),
        relays=relays,
    )


def _new_token(random_bytes: Callable[[int], bytes]) -> str:
    """Six letters or digits, a dot, and sixteen more, as the original's."""
    letters = base64.b32encode(random_bytes(14)).decode().lower()[:22]
    return f"{letters[:6]}.{letters[6:]}"


def config_text(mesh: Mesh, *, purpose: str, node: NodePart = _ANY_NODE) -> str:
    """The machine configuration of a node of the mesh. `purpose` is a line for its head.

    Raises MachineConfigError if the result is not valid, with the findings of `nodespan validate`.
    """
    parts = [_head(mesh, purpose, node), *(_document(kind, spec) for kind, spec in _documents(mesh))]
    own = dict(node.nodespan)
    if mesh.relays:
        own["kubespan"] = {**own.get("kubespan", {}), "relays": list(mesh.relays)}
    if own:
        parts.append(dump({"apiVersion": "nodespan.dev/v1alpha1", "kind": "NodespanConfig", **own}))
    text = "---\n".join(parts)
    read_text(text, "the configuration")
    return text


def read_text(text: str, name: str) -> MachineConfigSpec:
    """The configuration in a text. Raises MachineConfigError if it is not valid."""
    loaded = load(text, name=name)
    _refuse_mistakes(loaded)
    return loaded.config


def read_authority(file: str) -> str:
    """The certificates in a PEM file that the user names. Blocks on the disk. Raises MachineConfigError, OSError."""
    try:
        return read_named(Path(file), LARGEST_PEM, streams=True).decode()
    except UnicodeDecodeError as error:
        raise MachineConfigError(f"{file}: this is not PEM: {error}") from error


def read_mesh(path: Path) -> tuple[Mesh, tuple[str, ...]]:
    """The mesh of a machine configuration, of Talos or nodespan, and remarks for nodes that join it.

    Blocks on the disk. Raises MachineConfigError.
    """
    loaded = read_and_load(path)
    _refuse_mistakes(loaded)
    return mesh_of(loaded.config, str(path))


def mesh_of(config: MachineConfigSpec, name: str) -> tuple[Mesh, tuple[str, ...]]:
    """The same of a configuration without mistakes, which errors call by the name. Raises MachineConfigError."""
    cluster_id, secret = cluster_identity(config)
    if not (cluster_id and secret):
        raise MachineConfigError(
            f"{name} holds no cluster id and secret (cluster.id and cluster.secret, or a document of the kind "
            "DiscoveryIdentityConfig): take the configuration of a node that is part of the mesh"
        )
    services = tuple(_services(config))
    if not services:
        raise MachineConfigError(
            f"{name} names no discovery service, and by the Kubernetes registry alone nodespan cannot find the others: "
            "switch the service registry on for the whole cluster first (cluster.discovery, or a document of the kind "
            "DiscoveryServiceConfig)"
        )
    settings = kubespan_config(config)
    remarks = []
    if settings is None or not settings.enabled:
        remarks.append(f"KubeSpan is off in {name}: its nodes form no mesh until it is enabled for them too")
    if wants_kubernetes_registry(config):
        remarks.append(
            "the cluster also uses the Kubernetes registry, which nodespan does not: its nodes are found through "
            "the discovery service only"
        )
    mesh = Mesh(
        cluster_name=config.cluster.cluster_name,
        cluster_id=cluster_id,
        cluster_secret=secret,
        services=services,
        trusted_roots=tuple((root.name, root.certificates) for root in config.documents_of(TrustedRootsConfig)),
        harvest_extra_endpoints=settings is not None and settings.harvest_extra_endpoints,
        mtu=None if settings is None else settings.mtu,
        # Packets take the same path in both directions only if both ends of a tunnel exclude the same networks.
        exclude_advertised_networks=() if settings is None else settings.exclude_advertised_networks,
        authority=_authority(config, name),
        token=config.machine.token,
        relays=config.nodespan.kubespan.relays,
    )
    return mesh, tuple(remarks)


def _authority(config: MachineConfigSpec, name: str) -> KeyPair | None:
    """The authority of the API, with its key if the file has that. Raises MachineConfigError."""
    ca = config.machine.ca
    if ca is None or not ca.crt:
        return None
    try:
        pair = KeyPair(decode_pem(ca.crt), decode_pem(ca.key))
        check_pair(pair)
    except CertificateError as error:
        raise MachineConfigError(f"{name}: machine.ca {error}") from error
    return pair


def _services(config: MachineConfigSpec) -> Iterable[DiscoveryService]:
    """The services in effect, with the URLs as written."""
    if not discovery_config(config).service_endpoints:
        return
    section = config.cluster.discovery
    if section is not None and section.enabled and not section.registries.service.disabled:
        yield DiscoveryService(url=section.registries.service.endpoint or DEFAULT_DISCOVERY_ENDPOINT)
        return
    for document in config.documents_of(DiscoveryServiceConfig):
        yield DiscoveryService(name=document.name, url=document.endpoint)


def _head(mesh: Mesh, purpose: str, node: NodePart) -> str:
    machine: dict[str, object] = {"type": "controlplane" if node.control_plane else "worker"}
    if mesh.authority is not None:
        machine["token"] = mesh.token
        ca = {"crt": encode_pem(mesh.authority.certificate)}
        machine["ca"] = {**ca, "key": encode_pem(mesh.authority.key)} if node.has_key and mesh.authority.key else ca
    if node.cert_sans:
        machine["certSANs"] = list(node.cert_sans)
    if node.interfaces:
        machine["network"] = {"interfaces": list(node.interfaces)}
    main: dict[str, object] = {"version": "v1alpha1", "machine": machine}
    if mesh.cluster_name:
        main["cluster"] = {"clusterName": mesh.cluster_name}
    warning = "# Anyone with this file can join the mesh: it contains the cluster's secret."
    if node.has_key and mesh.authority is not None:
        warning += (
            "\n# It also contains the key of the authority: with it, anyone may administer every node over the network."
        )
    return f"# {purpose}\n{warning}\n#\n{_OWN_SETTINGS}{dump(main)}"


def _documents(mesh: Mesh) -> Iterable[tuple[str, dict[str, object]]]:
    if mesh.kubespan:
        yield "KubeSpanConfig", _kubespan(mesh)
    yield "DiscoveryIdentityConfig", {"clusterID": mesh.cluster_id, "clusterSecret": mesh.cluster_secret}
    for service in mesh.services:
        yield "DiscoveryServiceConfig", {"name": service.name, "endpoint": service.url}
    for name, certificates in mesh.trusted_roots:
        yield "TrustedRootsConfig", {"name": name, "certificates": certificates}


def _kubespan(mesh: Mesh) -> dict[str, object]:
    kubespan: dict[str, object] = {"enabled": True, "harvestExtraEndpoints": mesh.harvest_extra_endpoints}
    if mesh.mtu is not None:
        kubespan["mtu"] = mesh.mtu
    filters: dict[str, object] = {}
    if mesh.endpoint_filters is not None:
        filters["endpoints"] = mesh.endpoint_filters
    if mesh.exclude_advertised_networks:
        filters["excludeAdvertisedNetworks"] = mesh.exclude_advertised_networks
    return {**kubespan, "filters": filters} if filters else kubespan


def _document(kind: str, spec: dict[str, object]) -> str:
    return dump({"apiVersion": "v1alpha1", "kind": kind, **spec})


def _refuse_mistakes(loaded: Loaded) -> None:
    if loaded.errors:
        shown = "\n\n".join(render(problem, loaded.config.text) for problem in loaded.errors)
        raise MachineConfigError(f"not a valid machine configuration:\n{shown}")


def admin_client_text(mesh: Mesh, endpoints: Sequence[str], now: datetime.datetime) -> str:
    """The configuration of an administrator's client of a new mesh, which has an authority: a fresh certificate."""
    assert mesh.authority is not None  # a new mesh has one
    # An agent describes its mesh to those who join, and issues nothing for it.
    from nodespan.controllers.secrets.authority import issue_client

    admin = issue_client(mesh.authority, [_ADMIN], now)
    context = talosconfig.Context(
        endpoints=tuple(endpoints),
        authority=mesh.authority.certificate,
        certificate=admin.certificate,
        key=admin.key,
        cluster=mesh.cluster_name,
    )
    config = talosconfig.TalosConfig(context=mesh.cluster_name, contexts={mesh.cluster_name: context})
    return talosconfig.config_text(config)
