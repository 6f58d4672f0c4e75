"""The sections of `nodespan status`: the node, the mesh, virtual IPs, discovery, problems, and what happened last."""

import datetime
from collections.abc import Iterator
from typing import Any

from nodespan.resources.cluster import (
    INFO_ID,
    LOCAL,
    DiscoveryServiceStatus,
    Identity,
    Info,
    Member,
    MemberName,
    NameServiceStatus,
    ServiceState,
)
from nodespan.resources.config.status import CONFIG_STATUS_ID, ConfigStatus
from nodespan.resources.kubespan import (
    NEVER,
    KubeSpanIdentity,
    KubeSpanPeerStatus,
    KubeSpanPeerStatusSpec,
    PeerState,
)
from nodespan.resources.network import (
    HostnameStatus,
    NetworkProblem,
    NetworkStatus,
    NodeAddress,
    VIPState,
    VIPStatus,
    VIPStatusSpec,
)
from nodespan.resources.network import Severity as ProblemSeverity
from nodespan.resources.network.hostname import HOSTNAME_ID
from nodespan.resources.network.network_status import NETWORK_STATUS_ID
from nodespan.resources.network.node_address import CURRENT_ADDRESSES_ID
from nodespan.runtime.engine import ControllerState, ControllerStatus
from nodespan.runtime.events import Event
from nodespan.runtime.overview import Fact, Finding, Glance, Row, Section, SectionView, Severity, Table
from nodespan.runtime.overview.report import ago, size
from nodespan.runtime.resource import Resource

_MOST_ADDRESSES = 8
_MOST_EVENTS = 5


def _node(glance: Glance) -> SectionView:
    hostname = glance.find(HostnameStatus, HOSTNAME_ID)
    addresses = glance.find(NodeAddress, CURRENT_ADDRESSES_ID)
    identity, info = glance.find(Identity, LOCAL), glance.find(Info, INFO_ID)
    mesh = glance.readable(KubeSpanIdentity, LOCAL)
    name = "" if hostname is None else next(iter(hostname.spec.names), "")
    known = () if addresses is None else addresses.spec.addresses
    data: dict[str, Any] = {
        "hostname": name,
        "nodeId": "" if identity is None else identity.spec.node_id,
        "clusterId": "" if info is None else info.spec.cluster_id,
        "clusterName": "" if info is None else info.spec.cluster_name,
        "meshAddress": "" if mesh is None else mesh.spec.address,
        "addresses": list(known),
        "version": glance.version,
    }
    facts = [Fact("name", f"{name or '(none)'}, nodespan {glance.version}")]
    if data["nodeId"]:
        facts.append(Fact("node id", data["nodeId"]))
    if data["clusterName"] or data["clusterId"]:
        facts.append(Fact("cluster", data["clusterName"] or data["clusterId"]))
    shown = ", ".join(known[:_MOST_ADDRESSES]) or "none"
    more = f" and {len(known) - _MOST_ADDRESSES} more" if len(known) > _MOST_ADDRESSES else ""
    facts.append(Fact("addresses", shown + more))
    if data["meshAddress"]:
        facts.append(Fact("in the mesh", data["meshAddress"]))
    config_facts, findings, data["configuration"] = _configuration(glance)
    return SectionView(facts=(*facts, *config_facts), findings=tuple(findings), data=data)


def _configuration(glance: Glance) -> tuple[list[Fact], list[Finding], dict[str, Any]]:
    status = glance.find(ConfigStatus, CONFIG_STATUS_ID)
    if status is None:
        return [], [], {}
    spec = status.spec
    findings = []
    if spec.error:
        remedy = "mend the file; until then the configuration before it stays in effect"
        findings.append(Finding(Severity.ERROR, f"configuration files are not used: {spec.error}", remedy))
    text = "none" if not spec.digest else f"{spec.digest[:12]} of {', '.join(spec.files) or 'nodespan apply'}"
    if spec.digest and spec.since is not None:
        text += f", for {ago(spec.since, glance.now)}"
    if spec.trial_until is not None:
        until = _time(spec.trial_until)
        text += f", on trial until {until}"
        remedy = "confirm it with: nodespan apply --confirm"
        findings.append(Finding(Severity.WARNING, f"the configuration is on trial until {until}", remedy))
    data = {
        "digest": spec.digest,
        "files": list(spec.files),
        "since": _time(spec.since),
        "trialUntil": _time(spec.trial_until),
        "error": spec.error,
    }
    return [Fact("configuration", text)], findings, data


def _time(moment: datetime.datetime | None) -> str:
    return (
        "" if moment is None else moment.astimezone(datetime.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    )


def _mesh(glance: Glance) -> SectionView:
    peers = glance.list(KubeSpanPeerStatus)
    if not peers:
        return SectionView(findings=tuple(_alone(glance)), data={"peers": []})
    since = _peer_times(glance)
    down = [peer for peer in peers if peer.spec.state is PeerState.DOWN]
    up = sum(peer.spec.state is PeerState.UP for peer in peers)
    findings = []
    if down and not up:
        remedy = (
            "look whether UDP gets through to this node's WireGuard port (51820), and whether its clock is right: "
            "nodespan doctor"
        )
        findings.append(Finding(Severity.ERROR, f"none of {len(peers)} peers is up", remedy))
    elif down:
        names = ", ".join(_peer_name(peer) for peer in down[:3]) + (" and others" if len(down) > 3 else "")
        remedy = "nodespan events -k peer; nodespan doctor there"
        findings.append(Finding(Severity.WARNING, f"{len(down)} of {len(peers)} peers are down: {names}", remedy))
    table = Table(
        columns=("PEER", "STATE", "PATH", "HANDSHAKE", "SINCE", "RECEIVED", "SENT"),
        rows=tuple(_peer_row(peer, since.get(peer.id), glance.now) for peer in peers),
        more="nodespan get kubespanpeerstatuses",
    )
    facts = (Fact("peers", f"{up} of {len(peers)} up"),)
    data = {"peers": [_peer_data(peer, since.get(peer.id)) for peer in peers]}
    return SectionView(facts=facts, table=table, findings=tuple(findings), data=data)


def _alone(glance: Glance) -> Iterator[Finding]:
    """A node that takes part in a mesh and knows no other node."""
    if glance.readable(KubeSpanIdentity, LOCAL) is not None and len(glance.list(Member)) <= 1:
        remedy = "look whether the others have the same cluster id and secret, and reach the same discovery service"
        yield Finding(Severity.WARNING, "this node takes part in a mesh, and knows no other node of it", remedy)


def _peer_times(glance: Glance) -> dict[str, datetime.datetime]:
    """When each peer last came up or went down, as far as it is remembered."""
    times: dict[str, datetime.datetime] = {}
    states: dict[str, str] = {}
    for event in glance.list(Event):
        spec = event.spec
        if spec.type == KubeSpanPeerStatus.name:
            # An event of another endpoint of a peer that is up anyway begins with the same words.
            state = "up" if " is up" in spec.text else "down"
            if states.get(spec.id) != state:
                states[spec.id], times[spec.id] = state, spec.time
    return times


def _peer_name(peer: Resource[KubeSpanPeerStatusSpec]) -> str:
    return peer.spec.label or peer.id


def _peer_row(peer: Resource[KubeSpanPeerStatusSpec], since: datetime.datetime | None, now: datetime.datetime) -> Row:
    spec = peer.spec
    handshake = "never" if spec.last_handshake_time == NEVER else f"{ago(spec.last_handshake_time, now)} ago"
    cells = (
        _peer_name(peer),
        str(spec.state),
        spec.endpoint or spec.last_used_endpoint or "-",
        handshake,
        "-" if since is None else ago(since, now),
        size(spec.receive_bytes),
        size(spec.transmit_bytes),
    )
    return Row(cells, Severity.WARNING if spec.state is PeerState.DOWN else Severity.INFO)


def _peer_data(peer: Resource[KubeSpanPeerStatusSpec], since: datetime.datetime | None) -> dict[str, Any]:
    spec = peer.spec
    return {
        "publicKey": peer.id,
        "label": spec.label,
        "state": str(spec.state),
        "endpoint": spec.endpoint,
        "lastHandshakeTime": "" if spec.last_handshake_time == NEVER else _time(spec.last_handshake_time),
        "since": _time(since),
        "receiveBytes": spec.receive_bytes,
        "transmitBytes": spec.transmit_bytes,
    }


_VIP_SEVERITY = {VIPState.REFUSED: Severity.ERROR, VIPState.WAITING: Severity.WARNING}


def _vips(glance: Glance) -> SectionView:
    vips = glance.list(VIPStatus)
    if not vips:
        return SectionView(data={"vips": []})
    rows = tuple(
        Row(
            (
                vip.spec.ip,
                vip.spec.link_name,
                str(vip.spec.state),
                vip.spec.leader or "nobody known",
                _since(vip.spec, glance.now),
            ),
            _VIP_SEVERITY.get(vip.spec.state, Severity.INFO) if not vip.spec.trouble else Severity.ERROR,
        )
        for vip in vips
    )
    findings = []
    for vip in vips:
        spec = vip.spec
        place = f"virtual IP {spec.ip} on {spec.link_name}"
        if spec.trouble:
            remedy = "look whether etcd answers: nodespan doctor"
            findings.append(
                Finding(Severity.ERROR, f"{place}: the election cannot be followed: {spec.trouble}", remedy)
            )
        elif spec.state in _VIP_SEVERITY:
            text = f"{place} is {spec.state}" + (f": {spec.reason}" if spec.reason else "")
            findings.append(Finding(_VIP_SEVERITY[spec.state], text, f"nodespan get vip {vip.id} -o yaml"))
    data = {
        "vips": [
            {
                "ip": vip.spec.ip,
                "linkName": vip.spec.link_name,
                "state": str(vip.spec.state),
                "leader": vip.spec.leader,
                "since": vip.spec.since,
                "reason": vip.spec.reason,
                "trouble": vip.spec.trouble,
            }
            for vip in vips
        ]
    }
    table = Table(columns=("ADDRESS", "LINK", "THIS NODE", "HOLDER", "SINCE"), rows=rows, more="nodespan get vips")
    return SectionView(table=table, findings=tuple(findings), data=data)


def _since(spec: VIPStatusSpec, now: datetime.datetime) -> str:
    return ago(datetime.datetime.fromisoformat(spec.since), now) if spec.since else "-"


def _names(glance: Glance) -> SectionView:
    status = glance.find(NameServiceStatus, LOCAL)
    if status is None:
        return SectionView(data={})
    spec = status.spec
    known = len({name.spec.canonical_name for name in glance.list(MemberName)})
    where = f" under {spec.domain}" if spec.domain else ""
    facts = [Fact("members", f"{known} have names{where}"), Fact("programs", f"{spec.mode}: {spec.message}")]
    if spec.servers:
        facts.append(Fact("asked at", ", ".join(spec.servers)))
    data = {
        "mode": spec.mode,
        "domain": spec.domain,
        "ready": spec.ready,
        "servers": list(spec.servers),
        "message": spec.message,
        "members": known,
    }
    return SectionView(facts=tuple(facts), data=data)


def _discovery(glance: Glance) -> SectionView:
    services = glance.list(DiscoveryServiceStatus)
    if not services:
        return SectionView(data={"services": []})
    rows, findings = [], []
    works = any(service.spec.state is ServiceState.CONNECTED for service in services)
    for service in services:
        spec = service.spec
        has_failed = spec.state is ServiceState.FAILED
        rows.append(
            Row(
                (spec.endpoint or service.id, str(spec.state), str(spec.affiliates), str(spec.unreadable)),
                Severity.WARNING if has_failed or spec.unreadable else Severity.INFO,
            )
        )
        name = f"discovery service {spec.endpoint or service.id}"
        if has_failed:
            severity = Severity.WARNING if works else Severity.ERROR
            text = f"{name} cannot be used: {spec.stage}: {spec.message}"
            findings.append(Finding(severity, text, "nodespan doctor says how far the way to it goes"))
        if spec.unreadable:
            text = f"{name}: {spec.unreadable} records of affiliates cannot be read"
            findings.append(Finding(Severity.WARNING, text, "give all nodes of the cluster the same secret"))
    table = Table(
        columns=("SERVICE", "STATE", "AFFILIATES", "UNREADABLE"),
        rows=tuple(rows),
        more="nodespan get discoveryservicestatuses",
    )
    data = {
        "services": [
            {
                "endpoint": service.spec.endpoint,
                "state": str(service.spec.state),
                "stage": service.spec.stage,
                "message": service.spec.message,
                "affiliates": service.spec.affiliates,
                "unreadable": service.spec.unreadable,
            }
            for service in services
        ]
    }
    return SectionView(table=table, findings=tuple(findings), data=data)


def _problems(glance: Glance) -> SectionView:
    findings = []
    for problem in glance.list(NetworkProblem):
        if problem.spec.type == DiscoveryServiceStatus.name:
            continue  # the section of discovery has it
        severity = Severity.ERROR if problem.spec.severity is ProblemSeverity.ERROR else Severity.WARNING
        type = problem.spec.type.partition(".")[0]
        text = f"{type} {problem.spec.id}: {problem.spec.message}"
        findings.append(Finding(severity, text, f"nodespan describe {type.lower()} {problem.spec.id}"))
    network = glance.find(NetworkStatus, NETWORK_STATUS_ID)
    if network is not None and not network.spec.address_ready:
        text = "the network is not ready: this node has no address yet"
        findings.append(Finding(Severity.WARNING, text, "nodespan get netstatus"))
    for controller in glance.list(ControllerStatus):
        spec = controller.spec
        if spec.state is ControllerState.BACKOFF:
            text = f"controller {controller.id} fails: {spec.last_error}"
            findings.append(Finding(Severity.ERROR, text, "nodespan logs; with nodespan support, report it"))
        elif spec.notice:
            findings.append(Finding(Severity.WARNING, f"controller {controller.id}: {spec.notice}"))
    return SectionView(findings=tuple(findings))


def _events(glance: Glance) -> SectionView:
    latest = glance.list(Event)[-_MOST_EVENTS:]
    rows = tuple(
        Row((f"{ago(event.spec.time, glance.now)} ago", event.spec.kind, event.spec.text), event.spec.severity)
        for event in latest
    )
    data = {
        "events": [
            {
                "time": _time(event.spec.time),
                "severity": str(event.spec.severity),
                "kind": event.spec.kind,
                "text": event.spec.text,
            }
            for event in latest
        ]
    }
    if not rows:
        return SectionView(data=data)
    return SectionView(table=Table(columns=("WHEN", "WHAT", ""), rows=rows, more="nodespan events"), data=data)


# What the entry point stands for.
SECTIONS = (
    Section(
        name="node",
        title="This node",
        order=100,
        inputs=(HostnameStatus, NodeAddress, Identity, Info, ConfigStatus),
        view=_node,
    ),
    Section(name="mesh", title="Mesh", order=200, inputs=(KubeSpanPeerStatus, Member), view=_mesh),
    Section(name="vips", title="Virtual IPs", order=300, inputs=(VIPStatus,), view=_vips),
    Section(name="discovery", title="Discovery", order=400, inputs=(DiscoveryServiceStatus,), view=_discovery),
    Section(name="names", title="Names of members", order=450, inputs=(NameServiceStatus, MemberName), view=_names),
    Section(name="problems", title="Problems", order=500, inputs=(NetworkProblem, NetworkStatus), view=_problems),
    Section(name="events", title="Lately", order=600, inputs=(Event,), view=_events),
)
