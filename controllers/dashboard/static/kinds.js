// The kinds that the views are made of, by their full names.

export const PEER = "KubeSpanPeerStatuses.kubespan.talos.dev";
export const PEER_SPEC = "KubeSpanPeerSpecs.kubespan.talos.dev";
export const MEMBER = "Members.cluster.talos.dev";
export const IDENTITY = "Identities.cluster.talos.dev";
export const DISCOVERY = "DiscoveryServiceStatuses.cluster.nodespan.dev";
export const VIP = "VIPStatuses.net.nodespan.dev";
export const PROBLEM = "NetworkProblems.net.nodespan.dev";
export const CONTROLLER = "ControllerStatuses.runtime.nodespan.dev";
export const CONFIG_STATUS = "ConfigStatuses.config.nodespan.dev";
export const EVENT = "Events.runtime.nodespan.dev";
export const DEFINITION = "ResourceDefinitions.meta.cosi.dev";

export const ALWAYS = [PEER, PEER_SPEC, MEMBER, IDENTITY, DISCOVERY, VIP, PROBLEM, CONTROLLER, CONFIG_STATUS, EVENT, DEFINITION];
