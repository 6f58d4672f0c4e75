// The mesh: this node, its peers, and what passes between them.

import { ago, bytes, collator, h, replace, route, setText } from "./dom.js";
import { DISCOVERY, MEMBER, PEER, PEER_SPEC, VIP } from "./kinds.js";
import { MeshMap } from "./mesh-map.js";
import { VirtualList } from "./virtual-list.js";
import { TrafficChart, drawSparkline } from "./charts.js";

const STATES = ["up", "unknown", "down"];
const RANK = { down: 0, unknown: 1, up: 2 };
const WORDS = { up: "up", down: "down", unknown: "trying" };

export class MeshView {
  constructor(app) {
    this.app = app;
    this.peers = [];
    this.counts = { up: 0, unknown: 0, down: 0 };
    this.selected = null;
    this.hidden = new Set();
    this.element = h("div", { class: "mesh" });
    this.tiles = new Tiles();
    this.map = new MeshMap((id) => this.choose(id));
    this.search = h("input", { type: "search", placeholder: "Find a peer ( / )", "aria-label": "Find a peer", autocomplete: "off", spellcheck: "false", on: { input: () => { this.show(); this.list.toTop(); } } });
    this.chips = STATES.map((state) => this.makeChip(state));
    this.list = new VirtualList({
      label: "Peers",
      rowHeight: 52,
      make: makeRow,
      fill: (row, id) => this.fillRow(row, app.kind(PEER).items.get(id)),
      key: (id) => id,
      onSelect: (id) => this.choose(id),
      onActivate: (id) => (location.hash = route("resources", PEER, id)),
    });
    this.detail = new PeerDetail(app, () => this.choose(null));
    this.empty = h("p", { class: "empty", hidden: true });
    const head = h("div", { class: "card-head" }, h("h2", {}, "Peers"), h("div", { class: "chips", role: "group", "aria-label": "States that are shown" }, this.chips), this.search);
    this.element.append(
      h("h1", { class: "visually-hidden" }, "Mesh"),
      this.tiles.element,
      h("section", { class: "card map-card", "aria-label": "Map" }, this.map.element),
      h("section", { class: "side-column" }, this.detail.element, h("div", { class: "card list-card" }, head, this.empty, this.list.element)),
    );
    this.timer = setInterval(() => this.tick(), 1000);
  }

  attach() {
    this.map.attach();
    this.list.attach();
  }

  destroy() {
    clearInterval(this.timer);
    this.map.destroy();
    this.list.destroy();
    this.detail.destroy();
  }

  restyle() {
    this.map.restyle();
    this.list.draw();
    this.detail.restyle();
  }

  greeted() {
    this.map.setSelf(this.app.node.node);
  }

  open(id) {
    this.choose(id || null, false);
    if (id) this.list.reveal(id);
  }

  makeChip(state) {
    const count = h("b", {});
    const chip = h("button", { class: `chip is-${state}`, type: "button", "aria-pressed": "true" }, h("i", { class: "dot" }), WORDS[state], " ", count);
    chip.count = count;
    chip.addEventListener("click", () => {
      if (!this.hidden.delete(state)) this.hidden.add(state);
      chip.setAttribute("aria-pressed", !this.hidden.has(state));
      this.show();
    });
    return chip;
  }

  update(kinds, isFirst) {
    const changed = new Set([...kinds].map((kind) => kind.type));
    if (isFirst) this.map.setSelf(this.app.node.node);
    if (isFirst || changed.has(PEER) || changed.has(MEMBER) || changed.has(PEER_SPEC)) {
      const kind = this.app.kind(PEER);
      if (isFirst || changed.has(MEMBER) || kind.turned.size) {
        this.peers = kind.list();
        this.counts = { up: 0, unknown: 0, down: 0 };
        for (const { spec } of this.peers) this.counts[spec.state] = (this.counts[spec.state] || 0) + 1;
        this.map.show(this.peers, this.counts, this.planes(), isFirst || changed.has(MEMBER) ? null : kind.turned);
        this.show();
      } else {
        if (kind.isReady && !this.peers.length) this.show();
        this.list.draw();
      }
      this.detail.update();
    }
    this.tiles.update(this.app, this.counts);
  }

  // The addresses in the mesh of members that are part of the control plane, by their names.
  planes() {
    const names = new Set();
    for (const { metadata, spec } of this.app.kind(MEMBER).items.values()) {
      if (spec.machineType === "controlplane" || spec.machineType === "init") names.add(metadata.id).add(spec.hostname);
    }
    return names;
  }

  show() {
    const wanted = this.search.value.trim().toLowerCase();
    const shown = [];
    for (const peer of this.peers) {
      if (this.hidden.has(peer.spec.state)) continue;
      if (wanted && !`${peer.spec.label} ${peer.metadata.id} ${peer.spec.endpoint}`.toLowerCase().includes(wanted)) continue;
      shown.push(peer);
    }
    shown.sort((a, b) => RANK[a.spec.state] - RANK[b.spec.state] || compare(a, b));
    STATES.forEach((state, index) => setText(this.chips[index].count, this.counts[state]));
    this.empty.hidden = shown.length > 0;
    const kind = this.app.kind(PEER);
    const none = kind.failure ? kind.failure.message : kind.isReady ? "No peers yet: this node is alone, or KubeSpan is off." : "Reading…";
    setText(this.empty, this.peers.length ? "No peer is like that." : none);
    this.list.show(shown.map((peer) => peer.metadata.id));
  }

  choose(id, isByUser = true) {
    if (id === this.selected) return;
    this.selected = id;
    this.list.select(id);
    this.map.select(id);
    this.detail.show(id);
    if (isByUser) history.replaceState(null, "", id ? route("mesh", id) : "#/mesh");
  }

  fillRow(row, peer) {
    if (!peer) return;
    row.peer = peer;
    const { spec, metadata } = peer;
    const parts = row.parts;
    row.dataset.state = spec.state;
    setText(parts.name, spec.label || metadata.id);
    setText(parts.endpoint, spec.endpoint || "no endpoint");
    setText(parts.word, WORDS[spec.state] || spec.state);
    setText(parts.seen, ago(spec.lastHandshakeTime));
    setText(parts.bytes, `↓ ${bytes(spec.receiveBytes)}  ↑ ${bytes(spec.transmitBytes)}`);
    drawSparkline(parts.spark, this.app.history.peers.get(metadata.id));
  }

  tick() {
    for (const row of this.list.rows.values()) if (row.peer) setText(row.parts.seen, ago(row.peer.spec.lastHandshakeTime));
    this.detail.tick();
  }
}

function compare(a, b) {
  return collator.compare(a.spec.label || a.metadata.id, b.spec.label || b.metadata.id);
}

function makeRow() {
  const parts = {
    name: h("span", { class: "peer-name" }),
    endpoint: h("span", { class: "peer-endpoint" }),
    word: h("span", { class: "state-word" }),
    seen: h("span", { class: "peer-seen" }),
    bytes: h("span", { class: "peer-bytes" }),
    spark: h("canvas", { class: "spark", width: "72", height: "28", "aria-hidden": "true" }),
  };
  const row = h(
    "div",
    { class: "peer" },
    h("span", { class: "peer-state" }, h("i", { class: "dot" }), parts.word),
    h("span", { class: "peer-who" }, parts.name, parts.endpoint),
    parts.spark,
    h("span", { class: "peer-what" }, parts.bytes, parts.seen),
  );
  row.parts = parts;
  return row;
}

class Tiles {
  constructor() {
    this.peers = tile("Peers up", "#/mesh");
    this.traffic = tile("Traffic", "#/mesh");
    this.vips = tile("Virtual IPs", "#/vips");
    this.discovery = tile("Discovery", route("resources", DISCOVERY));
    this.problems = tile("Problems", "#/problems");
    this.bar = h("span", { class: "bar", "aria-hidden": "true" });
    this.parts = STATES.map((state) => h("i", { class: `bar-${state}` }));
    this.bar.append(...this.parts);
    this.peers.element.append(this.bar);
    this.spark = h("canvas", { class: "spark wide", width: "150", height: "26", "aria-hidden": "true" });
    this.traffic.element.append(this.spark);
    const all = [this.peers, this.traffic, this.vips, this.discovery, this.problems];
    this.element = h("div", { class: "tiles" }, all.map((each) => each.element));
  }

  update(app, counts) {
    const count = counts.up + counts.unknown + counts.down;
    setText(this.peers.value, count ? `${counts.up} of ${count}` : "none");
    setText(this.peers.note, [counts.down && `${counts.down} down`, counts.unknown && `${counts.unknown} trying`].filter(Boolean).join(", ") || (count ? "all of them" : "this node is alone"));
    STATES.forEach((state, index) => (this.parts[index].style.flexGrow = counts[state]));
    this.bar.hidden = count === 0;
    const total = app.history.total;
    const rate = total.times.length ? [total.received.at(-1), total.sent.at(-1)] : [0, 0];
    setText(this.traffic.value, `${bytes(rate[0] + rate[1])}/s`);
    setText(this.traffic.note, `↓ ${bytes(total.last?.received)}  ↑ ${bytes(total.last?.sent)}`);
    drawSparkline(this.spark, total);
    const vips = app.kind(VIP).list();
    const held = vips.filter(({ spec }) => spec.state === "leader").length;
    setText(this.vips.value, vips.length ? `${held} of ${vips.length}` : "none");
    setText(this.vips.note, vips.length ? "held by this node" : "configured");
    const services = app.kind(DISCOVERY).list();
    const connected = services.filter(({ spec }) => spec.state === "connected").length;
    setText(this.discovery.value, services.length ? `${connected} of ${services.length}` : "off");
    setText(this.discovery.note, services.length ? "services connected" : "no service configured");
    this.discovery.element.classList.toggle("is-bad", connected < services.length);
    const errors = app.problems.filter(({ severity }) => severity === "error").length;
    setText(this.problems.value, app.problems.length || "none");
    setText(this.problems.note, app.problems.length ? `${errors} ${errors === 1 ? "error" : "errors"}` : "all is well");
    this.problems.element.classList.toggle("is-bad", errors > 0);
  }
}

function tile(title, href) {
  const value = h("b", { class: "tile-value" }, "–");
  const note = h("span", { class: "tile-note" });
  const element = h("a", { class: "tile", href }, h("span", { class: "tile-title" }, title), value, note);
  return { element, value, note };
}

// Where a latency is told, in whichever field it comes.
function latencyOf(spec) {
  return spec.latency || spec.roundTripTime || "";
}

class PeerDetail {
  constructor(app, close) {
    this.app = app;
    this.id = null;
    this.chart = null;
    this.title = h("h2", {});
    this.state = h("span", { class: "pill" });
    this.facts = h("dl", { class: "facts" });
    this.more = h("dl", { class: "facts" });
    this.chartPlace = h("div", { class: "chart" });
    this.link = h("a", { class: "more" }, "As a resource, and why it is so");
    const button = h("button", { class: "icon-button", type: "button", "aria-label": "Close the details", on: { click: close } }, "×");
    this.element = h(
      "section",
      { class: "card detail", hidden: true, "aria-label": "The selected peer" },
      h("div", { class: "card-head" }, this.title, this.state, h("span", { class: "space" }), button),
      this.facts,
      this.chartPlace,
      this.more,
      this.link,
    );
  }

  show(id) {
    this.id = id;
    this.element.hidden = !id;
    this.chart?.destroy();
    this.chart = null;
    if (!id) return;
    this.link.href = route("resources", PEER, id);
    this.update();
  }

  update() {
    const peer = this.id && this.app.kind(PEER).items.get(this.id);
    if (!peer) {
      if (this.id && this.app.kind(PEER).isReady) this.gone();
      return;
    }
    const { spec } = peer;
    const desired = this.app.kind(PEER_SPEC).items.get(this.id)?.spec || {};
    setText(this.title, spec.label || this.id);
    setText(this.state, WORDS[spec.state] || spec.state);
    this.state.className = `pill is-${spec.state}`;
    this.handshake = h("dd", {}, ago(spec.lastHandshakeTime));
    const latency = latencyOf(spec);
    const facts = [
      ["Handshake", this.handshake],
      latency && ["Latency", h("dd", {}, latency)],
      ["Received", h("dd", {}, bytes(spec.receiveBytes))],
      ["Sent", h("dd", {}, bytes(spec.transmitBytes))],
    ];
    const more = [
      ["Endpoint", h("dd", {}, spec.endpoint || "none")],
      ["Address", h("dd", { class: "wrap" }, desired.address || "unknown")],
      ["Routes", h("dd", { class: "wrap" }, (desired.allowedIPs || []).join(", ") || "none")],
      ["Public key", h("dd", { class: "wrap" }, this.id)],
    ];
    const pair = ([name, value]) => h("div", {}, h("dt", {}, name), value);
    replace(this.facts, facts.filter(Boolean).map(pair));
    replace(this.more, more.map(pair));
    const series = this.app.history.peers.get(this.id);
    if (series && series.times.length > 1) {
      this.chart ??= new TrafficChart(this.chartPlace);
      this.chart.show(series);
    }
  }

  gone() {
    setText(this.state, "gone");
    this.state.className = "pill";
    replace(this.facts, h("p", { class: "muted" }, "This peer is no longer part of the mesh."));
    replace(this.more);
  }

  tick() {
    const peer = this.id && this.app.kind(PEER).items.get(this.id);
    if (peer && this.handshake) setText(this.handshake, ago(peer.spec.lastHandshakeTime));
  }

  restyle() {
    this.chart?.destroy();
    this.chart = null;
    this.update();
  }

  destroy() {
    this.chart?.destroy();
  }
}
