// The dependency graph: which controller reads and writes which type, and which of them just woke.

import cytoscape from "./vendor/cytoscape/cytoscape.esm.min.mjs";
import { clean, collator, color, h, replace, route, setText } from "./dom.js";
import { ask } from "./live.js";
import { CONTROLLER } from "./kinds.js";
import { Layouter } from "./layouter.js";

// The numbers of edges up to this one are outputs.
const LAST_OUTPUT = 1;
const GLOW = 1200;
const MOST_BUSY = 12;
const AROUND = "around";

export class GraphView {
  constructor(app) {
    this.app = app;
    this.wakeups = new Map();
    this.recent = new Map();
    this.wanted = null;
    this.graph = null;
    this.layouter = new Layouter();
    this.drawing = 0;
    this.search = h("input", { type: "search", list: "graph-names", placeholder: "Find a controller or type ( / )", "aria-label": "Find a controller or type", autocomplete: "off", spellcheck: "false", on: { change: () => this.find(), keydown: (event) => event.key === "Enter" && this.find() } });
    this.names = h("datalist", { id: "graph-names" });
    this.family = h("select", { "aria-label": "Which part of the graph", on: { change: () => this.draw() } });
    this.around = h("option", { value: AROUND, disabled: true }, "around the selection");
    this.canvas = h("div", { class: "map", role: "img", "aria-label": "The dependency graph" });
    this.note = h("p", { class: "empty" }, "Reading…");
    this.detail = h("div", { class: "graph-detail" });
    this.busy = h("ol", { class: "busy" });
    this.element = h(
      "div",
      { class: "graph-view" },
      h("section", { class: "card map-card", "aria-label": "Graph" }, h("div", { class: "card-head" }, h("h1", {}, "Dependency graph"), h("span", { class: "space" }), this.family, this.search, this.names), this.note, h("div", { class: "map-frame" }, this.canvas)),
      h("section", { class: "card side-card" }, this.detail, h("h2", {}, "Woken lately"), this.busy),
    );
    this.load();
  }

  attach() {
    this.observer = new ResizeObserver(() => this.cy?.resize().fit(undefined, 30));
    this.observer.observe(this.canvas);
  }

  destroy() {
    this.observer?.disconnect();
    this.cy?.destroy();
    this.layouter.close();
    this.isGone = true;
  }

  restyle() {
    this.cy?.style(style());
  }

  async load() {
    try {
      this.graph = await ask("graph");
    } catch (error) {
      setText(this.note, error.message);
      return;
    }
    if (this.isGone) return;
    this.note.hidden = true;
    const controllers = Object.keys(this.graph.controllers);
    const families = [...new Set(controllers.map(familyOf))].sort();
    replace(this.family, this.around, h("option", { value: "" }, "the whole graph"), families.map((name) => h("option", { value: name }, name)));
    if (families.includes("kubespan")) this.family.value = "kubespan";
    replace(this.names, [...controllers, ...Object.keys(this.graph.resources)].map((name) => h("option", { value: name })));
    if (this.wanted) this.show(this.wanted);
    else this.draw();
  }

  open(name) {
    this.wanted = name || null;
    if (this.graph && name) this.show(name);
  }

  find() {
    const wanted = this.search.value.trim().toLowerCase();
    const names = [...Object.keys(this.graph?.controllers || {}), ...Object.keys(this.graph?.resources || {})];
    const found = names.find((name) => name.toLowerCase() === wanted) || names.find((name) => name.toLowerCase().includes(wanted));
    if (found && wanted) location.hash = route("graph", found);
  }

  show(name) {
    this.around.disabled = false;
    this.family.value = AROUND;
    this.describe(name);
    this.draw();
  }

  // The part of the graph that is asked for: the controllers of a family and the types that they use, or what is next
  // to the selection.
  async draw() {
    const family = this.family.value;
    const isShown = family === AROUND ? ([controller, , type]) => controller === this.wanted || type === this.wanted : ([controller]) => !family || familyOf(controller) === family;
    const edges = this.graph.edges.filter(isShown);
    const nodes = new Map();
    const arrows = new Map();
    for (const [controller, , type, , kind] of edges) {
      nodes.set(controller, "controller");
      nodes.set(type, "type");
      const [source, target] = kind <= LAST_OUTPUT ? [controller, type] : [type, controller];
      arrows.set(`${source} ${target}`, { source, target, kind });
    }
    const drawing = (this.drawing += 1);
    this.note.hidden = false;
    setText(this.note, "Drawing…");
    const positions = await this.layouter.place([...nodes], [...arrows.values()]);
    if (this.isGone || drawing !== this.drawing) return;
    this.note.hidden = true;
    const elements = [
      ...[...nodes].map(([id, shape]) => ({ data: { id, name: clean(shape === "type" ? id.split(".")[0] : id.split(".").slice(1).join(".").replace(/Controller$/, "") || id) }, classes: shape, position: positions.get(id) })),
      ...[...arrows].map(([id, { source, target, kind }]) => ({ data: { id: `edge ${id}`, source, target }, classes: kind <= LAST_OUTPUT ? "output" : "input" })),
    ];
    this.cy?.destroy();
    this.cy = cytoscape({ container: this.canvas, elements, style: style(), layout: { name: "preset", fit: true, padding: 30 }, minZoom: 0.03, maxZoom: 3, autoungrabify: true, boxSelectionEnabled: false, hideEdgesOnViewport: nodes.size > 120, textureOnViewport: nodes.size > 120 });
    this.cy.on("tap", "node", (event) => (location.hash = route("graph", event.target.id())));
    this.canvas.setAttribute("aria-label", `The dependency graph: ${nodes.size} controllers and types, ${arrows.size} arrows. What is selected is described beside it.`);
    if (this.wanted) this.select(this.wanted);
    if (!this.wanted) replace(this.detail, h("p", { class: "muted" }, "Choose a controller or a type. Controllers light up as they wake."));
  }

  select(name) {
    const node = this.cy.getElementById(name);
    this.cy.elements().removeClass("is-far");
    this.cy.$(":selected").unselect();
    if (node.empty()) return;
    node.select();
    this.cy.elements().difference(node.closedNeighborhood()).addClass("is-far");
  }

  describe(name) {
    const isController = name in this.graph.controllers;
    const edges = this.graph.edges.filter(([controller, , type]) => (isController ? controller : type) === name);
    const parts = (isOutput) => [...new Set(edges.filter((edge) => edge[4] <= LAST_OUTPUT === isOutput).map((edge) => edge[isController ? 2 : 0]))].sort(collator.compare);
    const list = (title, names) => names.length > 0 && [h("h3", {}, title), h("ul", { class: "names" }, names.map((each) => h("li", {}, h("a", { href: route("graph", each) }, each))))];
    const status = this.app.kind(CONTROLLER).items.get(name)?.spec;
    const facts = status ? [["State", status.state], ["Wake-ups", status.wakeups], ["Writes", status.writes], ["Failures", status.crashes], status.queueLength && ["Queue", status.queueLength], status.longestStepMs && ["Longest step", `${status.longestStepMs} ms`]] : isController ? [] : [["Resources", this.graph.resources[name] ?? "–"]];
    replace(
      this.detail,
      h("h2", { class: "wrap" }, name),
      h("dl", { class: "facts" }, facts.filter(Boolean).map(([title, value]) => h("div", {}, h("dt", {}, title), h("dd", {}, value)))),
      status?.lastError && h("p", { class: "is-trouble" }, status.lastError),
      isController ? [list("Reads", parts(false)), list("Writes", parts(true))] : [list("Written by", parts(true)), list("Read by", parts(false)), h("a", { class: "more", href: route("resources", name) }, "Its resources")],
    );
  }

  update(kinds, isFirst) {
    const kind = this.app.kind(CONTROLLER);
    if (!isFirst && !kinds.has(kind)) return;
    const now = Date.now();
    for (const id of isFirst ? kind.items.keys() : kind.changed) {
      const spec = kind.items.get(id)?.spec;
      const before = this.wakeups.get(id);
      this.wakeups.set(id, spec?.wakeups);
      if (!spec || before === undefined || before === spec.wakeups) continue;
      this.recent.set(id, { at: now, count: spec.wakeups - before });
      this.glow(id);
    }
    const latest = [...this.recent].sort((a, b) => b[1].at - a[1].at || b[1].count - a[1].count).slice(0, MOST_BUSY);
    replace(this.busy, latest.length ? latest.map(([id, { count }]) => h("li", {}, h("a", { href: route("graph", id) }, id), h("b", {}, `+${count}`))) : h("li", { class: "muted" }, "No controller has woken since this page was opened."));
    const selected = this.cy?.$("node:selected").id?.();
    if (selected && kind.changed.has(selected)) this.describe(selected);
  }

  glow(id) {
    const node = this.cy?.getElementById(id);
    if (!node || node.empty()) return;
    node.union(node.connectedEdges()).addClass("is-awake");
    clearTimeout(node.scratch("timer"));
    node.scratch("timer", setTimeout(() => !node.removed() && node.union(node.connectedEdges()).removeClass("is-awake"), GLOW));
  }
}

function familyOf(controller) {
  return controller.split(".")[0];
}

function style() {
  return [
    { selector: "node", style: { label: "data(name)", "font-size": 12, "font-family": "system-ui, sans-serif", "text-valign": "center", color: color("text"), "min-zoomed-font-size": 6, "background-color": color("card"), "border-width": 1.5, "border-color": color("strong-line"), height: 28, width: 150 } },
    { selector: "node.controller", style: { shape: "round-rectangle", width: 190, "background-color": color("accent-soft"), "border-color": color("accent") } },
    { selector: "node.type", style: { shape: "ellipse" } },
    { selector: "edge", style: { width: 1.2, "curve-style": "bezier", "target-arrow-shape": "triangle", "arrow-scale": 0.8, "line-color": color("strong-line"), "target-arrow-color": color("strong-line"), opacity: 0.75 } },
    { selector: "edge.output", style: { "line-color": color("accent"), "target-arrow-color": color("accent") } },
    { selector: ".is-far", style: { opacity: 0.18 } },
    { selector: "node.is-awake", style: { "background-color": color("unknown"), "border-color": color("unknown"), opacity: 1 } },
    { selector: "edge.is-awake", style: { "line-color": color("unknown"), "target-arrow-color": color("unknown"), width: 2.4, opacity: 1 } },
    { selector: "node:selected", style: { "border-width": 4, "border-color": color("focus") } },
  ];
}
