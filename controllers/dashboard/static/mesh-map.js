// The map of the mesh, on a canvas, by Cytoscape: this node in the middle, its peers on rings around it.

import cytoscape from "./vendor/cytoscape/cytoscape.esm.min.mjs";
import { clean, collator, color, h } from "./dom.js";

const SELF = "self";
// From so many peers on, nodes are small, and less is drawn while the map moves.
const MANY = 150;

export class MeshMap {
  constructor(onChoose) {
    this.onChoose = onChoose;
    this.cy = null;
    this.isLarge = false;
    this.size = 0;
    this.canvas = h("div", { class: "map", role: "img", "aria-label": "Map of the mesh" });
    this.element = h(
      "div",
      { class: "map-frame" },
      this.canvas,
      h("div", { class: "map-tools" }, this.button("+", "Zoom in", () => this.zoom(1.4)), this.button("−", "Zoom out", () => this.zoom(1 / 1.4)), this.button("◎", "Show all", () => this.fit())),
      h("ul", { class: "legend", "aria-hidden": "true" }, ["up", "trying", "down"].map((word) => h("li", {}, h("i", { class: `mark mark-${word}` }), word)), h("li", {}, h("i", { class: "mark mark-plane" }), "control plane")),
    );
  }

  button(text, label, click) {
    return h("button", { type: "button", class: "icon-button", "aria-label": label, title: label, on: { click } }, text);
  }

  attach() {
    this.cy = cytoscape({
      container: this.canvas,
      style: style(false),
      layout: { name: "preset" },
      elements: [{ data: { id: SELF, name: "" }, classes: "own", position: { x: 0, y: 0 } }],
      minZoom: 0.05,
      maxZoom: 4,
      autoungrabify: true,
      boxSelectionEnabled: false,
      selectionType: "single",
    });
    this.cy.on("tap", "node", (event) => event.target.id() !== SELF && this.onChoose(event.target.id()));
    this.cy.on("tap", (event) => event.target === this.cy && this.onChoose(null));
    this.observer = new ResizeObserver(() => {
      this.cy.resize();
      this.fit();
    });
    this.observer.observe(this.canvas);
  }

  destroy() {
    this.observer?.disconnect();
    this.cy?.destroy();
    this.cy = null;
  }

  setSelf(name) {
    this.cy?.getElementById(SELF).data("name", clean(name));
  }

  restyle() {
    this.cy?.style(style(this.isLarge));
  }

  // `turned` are the ids that may differ from what is shown, null for all.
  show(peers, counts, planes, turned) {
    const cy = this.cy;
    const known = new Map(peers.map((peer) => [peer.metadata.id, peer]));
    const ids = turned || known.keys();
    const isOther = known.size !== this.size || [...ids].some((id) => known.has(id) !== cy.getElementById(id).nonempty());
    cy.batch(() => {
      if (isOther) this.place([...peers].sort((a, b) => compare(a, b, planes)));
      for (const [id, peer] of known) if (!turned || isOther || turned.has(id)) this.paint(cy.getElementById(id), peer, planes);
    });
    this.size = known.size;
    if (isOther) this.fit();
    this.canvas.setAttribute("aria-label", `Map of the mesh: ${peers.length} peers, ${counts.up} up, ${counts.down} down. The list has the same.`);
  }

  place(ordered) {
    const cy = this.cy;
    const present = new Set(ordered.map((peer) => peer.metadata.id));
    cy.nodes().filter((node) => node.id() !== SELF && !present.has(node.id())).remove();
    this.isLarge = ordered.length >= MANY;
    const positions = rings(ordered.length);
    const added = [];
    ordered.forEach((peer, index) => {
      const id = peer.metadata.id;
      const known = cy.getElementById(id);
      if (known.length) {
        known.position(positions[index]);
        return;
      }
      added.push({ group: "nodes", data: { id, name: clean(peer.spec.label || id.slice(0, 8)) }, position: positions[index] });
      added.push({ group: "edges", data: { id: `to ${id}`, source: SELF, target: id } });
    });
    cy.add(added);
    cy.style(style(this.isLarge));
    const renderer = cy.renderer();
    renderer.hideEdgesOnViewport = this.isLarge;
    renderer.textureOnViewport = this.isLarge;
  }

  paint(node, peer, planes) {
    node.toggleClass("plane", isPlane(peer, planes));
    const state = peer.spec.state;
    const before = node.scratch("state");
    if (before === state) return;
    node.scratch("state", state);
    const both = node.union(node.connectedEdges());
    both.removeClass(before || "none");
    both.addClass(state);
  }

  select(id) {
    if (!this.cy) return;
    this.cy.$(":selected").unselect();
    if (id) this.cy.getElementById(id).select();
  }

  zoom(factor) {
    const cy = this.cy;
    cy.zoom({ level: cy.zoom() * factor, renderedPosition: { x: cy.width() / 2, y: cy.height() / 2 } });
  }

  fit() {
    this.cy?.fit(undefined, 36);
    if (this.cy && this.cy.zoom() > 1.6) {
      this.cy.zoom(1.6);
      this.cy.center();
    }
  }
}

function isPlane(peer, planes) {
  return planes.has(peer.spec.label) || planes.has(peer.spec.label.split(".")[0]);
}

function compare(a, b, planes) {
  return isPlane(b, planes) - isPlane(a, planes) || collator.compare(a.spec.label, b.spec.label);
}

// Positions on rings around the origin, evenly on each, none closer than a node needs.
export function rings(count) {
  const isMany = count >= MANY;
  const [spacing, step] = isMany ? [30, 34] : [78, 92];
  const found = [];
  // Few fit on one ring; a larger one is better than a second with a few.
  let radius = isMany ? 120 : Math.max(130, (Math.min(count, 24) * spacing) / (2 * Math.PI));
  for (let left = count, ring = 0; left > 0; radius += step, ring += 1) {
    const fit = Math.max(6, Math.round((2 * Math.PI * radius) / spacing));
    const here = left <= fit ? left : fit;
    for (let index = 0; index < here; index += 1) {
      const angle = ((index + (ring % 2) / 2) / here) * 2 * Math.PI - Math.PI / 2;
      found.push({ x: radius * Math.cos(angle) * 1.1, y: radius * Math.sin(angle) });
    }
    left -= here;
  }
  return found;
}

function style(isLarge) {
  const size = isLarge ? 14 : 26;
  const of = (state) => ({ "background-color": color(state) });
  return [
    { selector: "node", style: { width: size, height: size, "background-color": color("muted"), label: "data(name)", color: color("text"), "font-size": isLarge ? 9 : 11, "font-family": "system-ui, sans-serif", "text-valign": "bottom", "text-margin-y": 4, "min-zoomed-font-size": 8, "text-outline-color": color("card"), "text-outline-width": 2, "border-width": 0 } },
    { selector: "node.own", style: { width: 40, height: 40, shape: "round-rectangle", "background-color": color("accent"), "font-weight": 600, "font-size": 13, "min-zoomed-font-size": 0, "z-index": 10 } },
    { selector: "node.plane", style: { "border-width": isLarge ? 2.5 : 4, "border-color": color("accent"), "border-opacity": 0.75 } },
    { selector: "node.up", style: of("up") },
    { selector: "node.unknown", style: { ...of("unknown"), shape: "triangle" } },
    { selector: "node.down", style: { ...of("down"), shape: "diamond", width: size * 1.25, height: size * 1.25, "z-index": 5 } },
    { selector: "edge", style: { width: isLarge ? 0.7 : 2, "curve-style": "haystack", "line-color": color("line"), opacity: isLarge ? 0.35 : 0.7 } },
    { selector: "edge.up", style: { "line-color": color("up") } },
    { selector: "edge.unknown", style: { "line-color": color("unknown"), "line-style": "dotted" } },
    { selector: "edge.down", style: { "line-color": color("down"), "line-style": "dashed" } },
    { selector: "node:selected", style: { "border-width": isLarge ? 4 : 5, "border-color": color("focus"), "border-opacity": 1, "z-index": 20 } },
  ];
}
