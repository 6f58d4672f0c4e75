// What is wrong, from all kinds that can tell: the worst first.

import { clock, collator, route } from "./dom.js";
import { CONFIG_STATUS, CONTROLLER, DISCOVERY, PEER, PROBLEM, VIP } from "./kinds.js";

const ORDER = { error: 0, warning: 1, info: 2 };

export function findProblems(app) {
  const found = [...all(app)];
  found.sort((a, b) => ORDER[a.severity] - ORDER[b.severity] || collator.compare(a.title, b.title));
  return found;
}

function* all(app) {
  const of = (type) => app.kind(type).items.values();
  for (const kind of app.live.kinds.values()) {
    if (!kind.outage) continue;
    const { namespace, reason } = kind.outage;
    yield { severity: "error", title: `Namespace ${namespace} is out of reach`, text: reason, remedy: "It can be read as it was; writes wait.", href: route("resources", kind.type) };
  }
  for (const { spec } of of(CONFIG_STATUS)) {
    if (spec.error) yield { severity: "error", title: "The configuration files are not used", text: spec.error, remedy: "The configuration before stays in effect. nodespan validate FILE shows all mistakes.", href: "#/config" };
    if (spec.trialUntil) yield { severity: "warning", title: "The configuration is on trial", text: `It is rolled back at ${clock(spec.trialUntil)} unless it is confirmed.`, remedy: "nodespan apply --confirm", href: "#/config" };
  }
  for (const { metadata, spec } of of(PROBLEM)) {
    yield { severity: spec.severity, title: metadata.id, text: spec.message, remedy: "", href: route("resources", spec.type, spec.id) };
  }
  for (const { metadata, spec } of of(CONTROLLER)) {
    if (spec.state === "backoff") yield { severity: "error", title: `${metadata.id} fails`, text: spec.lastError || "", remedy: "It is tried again, at growing intervals; the agent's log has the traceback.", href: route("graph", metadata.id) };
    else if (spec.notice) yield { severity: "warning", title: metadata.id, text: spec.notice, remedy: "", href: route("graph", metadata.id) };
    else if (spec.failing) yield { severity: "warning", title: metadata.id, text: `${spec.failing} items cannot be applied.`, remedy: "", href: route("graph", metadata.id) };
  }
  for (const { metadata, spec } of of(DISCOVERY)) {
    if (spec.state === "failed") yield { severity: "error", title: `Discovery service ${spec.endpoint}`, text: `${spec.stage}: ${spec.message}`, remedy: "Peers that are known stay; new ones are not found.", href: route("resources", DISCOVERY, metadata.id) };
  }
  for (const { metadata, spec } of of(VIP)) {
    if (spec.trouble) yield { severity: "error", title: `Virtual IP ${spec.ip}`, text: spec.trouble, remedy: "", href: "#/vips" };
    if (spec.state === "refused") yield { severity: "error", title: `Virtual IP ${spec.ip} cannot be held here`, text: spec.reason || "", remedy: "", href: "#/vips" };
  }
  const down = [...of(PEER)].filter(({ spec }) => spec.state === "down");
  for (const { metadata, spec } of down.slice(0, 50)) {
    yield { severity: "warning", title: `Peer ${spec.label || metadata.id} is down`, text: `No handshake with ${spec.endpoint || "any endpoint"}.`, remedy: "Is the node on, and is its UDP port open?", href: route("mesh", metadata.id) };
  }
  if (down.length > 50) yield { severity: "warning", title: `${down.length - 50} further peers are down`, text: "", remedy: "", href: "#/mesh" };
}
