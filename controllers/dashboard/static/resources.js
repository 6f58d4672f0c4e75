// Every resource of every type, what it holds, and what it was made from.

import { ago, collator, h, replace, route, setText } from "./dom.js";
import { Live, ask } from "./live.js";
import { DEFINITION } from "./kinds.js";
import { VirtualList } from "./virtual-list.js";

const MOST_COLUMNS = 3;

export class ResourcesView {
  constructor(app) {
    this.app = app;
    this.type = null;
    this.id = null;
    this.live = null;
    this.columns = [];
    this.typeSearch = h("input", { type: "search", placeholder: "Find a type ( / )", "aria-label": "Find a type", autocomplete: "off", spellcheck: "false", on: { input: () => { this.showTypes(); this.types.toTop(); } } });
    this.search = h("input", { type: "search", placeholder: "Find in names and contents", "aria-label": "Find a resource", autocomplete: "off", spellcheck: "false", on: { input: () => { this.showItems(); this.items.toTop(); } } });
    this.types = new VirtualList({ label: "Types", rowHeight: 40, make: makeType, fill: fillType, key: (type) => type.metadata.id, onSelect: (type) => (location.hash = route("resources", type.spec.type)) });
    this.items = new VirtualList({ label: "Resources", rowHeight: 50, make: makeItem, fill: (row, item) => this.fillItem(row, item), key: (item) => item.metadata.id, onSelect: (item) => (location.hash = route("resources", this.type, item.metadata.id)) });
    this.title = h("h2", {}, "Choose a type");
    this.count = h("span", { class: "muted" });
    this.note = h("p", { class: "empty", hidden: true });
    this.detail = h("section", { class: "card resource-card", "aria-label": "The selected resource" });
    this.element = h(
      "div",
      { class: "explorer" },
      h("h1", { class: "visually-hidden" }, "Resources"),
      h("section", { class: "card list-card types-card" }, h("div", { class: "card-head" }, h("h2", {}, "Types"), this.typeSearch), this.types.element),
      h("section", { class: "card list-card" }, h("div", { class: "card-head" }, this.title, this.count, h("span", { class: "space" }), this.search), this.note, this.items.element),
      this.detail,
    );
    this.showDetail();
  }

  attach() {
    this.types.attach();
    this.items.attach();
  }

  destroy() {
    this.live?.close();
    this.types.destroy();
    this.items.destroy();
    this.isGone = true;
  }

  // By the full name, or the id of the definition, which is the same in lower case.
  open(type, id) {
    const definition = type && this.app.kind(DEFINITION).items.get(type.toLowerCase());
    const full = definition ? definition.spec.type : type || null;
    if (full !== this.type) {
      this.type = full;
      this.live?.close();
      this.live = null;
      this.search.value = "";
      if (full) this.live = new Live([full], () => this.showItems());
      this.types.select(type?.toLowerCase());
      this.types.reveal(type?.toLowerCase());
    }
    this.id = id || null;
    this.element.dataset.depth = this.id ? "resource" : this.type ? "type" : "types";
    this.items.select(this.id);
    this.shownVersion = null;
    this.showItems();
    this.showDetail();
  }

  update(kinds, isFirst) {
    if (isFirst || kinds.has(this.app.kind(DEFINITION))) this.showTypes();
  }

  get kind() {
    return this.live?.kind(this.type);
  }

  showTypes() {
    const wanted = this.typeSearch.value.trim().toLowerCase();
    const types = this.app.kind(DEFINITION).list().filter(({ spec }) => `${spec.type} ${(spec.allAliases || []).join(" ")}`.toLowerCase().includes(wanted));
    types.sort((a, b) => collator.compare(a.spec.type, b.spec.type));
    this.types.show(types);
    this.types.select(this.type?.toLowerCase());
  }

  showItems() {
    const kind = this.kind;
    setText(this.title, kind?.definition?.displayType || (this.type || "Choose a type").split(".")[0]);
    this.search.hidden = !kind;
    const wanted = this.search.value.trim().toLowerCase();
    const all = kind ? kind.list() : [];
    this.columns = (kind?.definition?.printColumns || []).slice(0, MOST_COLUMNS);
    const found = wanted ? all.filter((item) => JSON.stringify([item.metadata.id, item.metadata.labels, item.spec]).toLowerCase().includes(wanted)) : all;
    found.sort((a, b) => collator.compare(a.metadata.id, b.metadata.id));
    setText(this.count, kind?.isReady ? (wanted ? `${found.length} of ${all.length}` : `${all.length}`) : "");
    this.note.hidden = found.length > 0;
    setText(this.note, !kind ? "Types are on the left." : kind.failure ? kind.failure.message : !kind.isReady ? "Reading…" : all.length ? "Nothing is like that." : "There are none.");
    this.items.show(found);
    const shown = this.id && kind?.items.get(this.id);
    if (shown && shown.metadata.version !== this.shownVersion) this.showDetail();
    if (this.id && kind?.isReady && !shown && this.shownVersion) this.showDetail();
  }

  fillItem(row, { metadata, spec }) {
    row.dataset.phase = metadata.phase;
    setText(row.parts.id, metadata.id);
    setText(row.parts.version, `v${metadata.version}`);
    const cells = spec ? this.columns.map(({ name, jsonPath }) => [name, cell(spec, jsonPath)]).filter(([, value]) => value !== "") : [];
    setText(row.parts.cells, spec ? cells.map(([name, value]) => `${name}: ${value}`).join("  ·  ") : "sensitive");
  }

  showDetail() {
    const resource = this.id && this.kind?.items.get(this.id);
    if (!resource) {
      this.shownVersion = null;
      replace(this.detail, h("p", { class: "empty" }, this.id ? (this.kind?.isReady ? "It is not there, or not any more." : "Reading…") : "Choose a resource to see what it holds, and why."));
      return;
    }
    const { metadata, spec } = resource;
    this.shownVersion = metadata.version;
    const facts = [["Namespace", metadata.namespace], ["Version", metadata.version], ["Owner", metadata.owner || "none"], ["Phase", metadata.phase], ["Updated", ago(metadata.updated)], metadata.finalizers && ["Finalizers", metadata.finalizers.join(", ")]];
    const yaml = h("pre", { class: "source", tabindex: "0", "aria-label": "As YAML" });
    const tree = h("ul", { class: "tree", role: "tree", "aria-label": "What it was made from" });
    replace(
      this.detail,
      h("div", { class: "card-head" }, h("a", { class: "back", href: route("resources", this.type), "aria-label": "Back to the list" }, "←"), h("h2", { class: "wrap" }, metadata.id)),
      h("dl", { class: "facts" }, facts.filter(Boolean).map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))),
      h("h3", {}, "Contents"),
      spec === null ? h("p", { class: "muted" }, "Sensitive: its contents do not leave the node by the dashboard. ", h("code", {}, `nodespan get ${this.type} ${metadata.id} -o yaml`)) : yaml,
      h("h3", {}, "Why"),
      tree,
    );
    const address = { type: this.type, namespace: metadata.namespace, id: metadata.id };
    const isCurrent = () => !this.isGone && this.id === metadata.id && this.shownVersion === metadata.version;
    if (spec !== null) ask("yaml", address).then((answer) => isCurrent() && setText(yaml, answer.yaml), (error) => isCurrent() && setText(yaml, error.message));
    ask("why", { ...address, depth: 6 }).then((causes) => isCurrent() && this.showTree(tree, causes), (error) => isCurrent() && replace(tree, h("li", { class: "muted" }, error.message)));
  }

  showTree(tree, causes) {
    const names = new Map(this.app.kind(DEFINITION).list().map(({ spec }) => [spec.displayType, spec.type]));
    replace(tree, causes.map((cause) => treeItem(cause, names)));
    tree.firstChild?.querySelector("a")?.setAttribute("tabindex", "0");
  }
}

function treeItem({ depth, namespace, type, id, version, owner, note, repeated }, names) {
  const name = id ? h("a", { href: route("resources", names.get(type) || type, id) }, `${namespace}/${id}`) : h("span", { class: "muted" }, `${namespace}/…`);
  const item = h("li", { role: "treeitem", "aria-level": depth + 1, class: repeated ? "is-repeated" : "" }, h("span", { class: "tree-type" }, type), " ", name, " ", version && h("span", { class: "muted" }, `v${version} `), owner && h("a", { class: "tree-owner", href: route("graph", owner) }, owner), note && h("span", { class: "muted" }, ` (${note})`));
  item.style.paddingInlineStart = `${depth * 18}px`;
  return item;
}

// The plain paths of columns: .a.b and .a[*]; others are left to the YAML.
function cell(spec, path) {
  const found = /^\{?((?:\.\w+(?:\[\*\])?)+)\}?$/.exec(path);
  if (!found) return "";
  let value = spec;
  for (const part of found[1].slice(1).split(".")) value = value?.[part.replace("[*]", "")];
  if (value === undefined || value === null) return "";
  return Array.isArray(value) ? value.map((each) => (typeof each === "object" ? JSON.stringify(each) : each)).join(", ") : typeof value === "object" ? JSON.stringify(value) : String(value);
}

function makeType() {
  const parts = { name: h("span", { class: "type-name" }), domain: h("span", { class: "type-domain" }), lock: h("span", { class: "type-lock", title: "sensitive" }) };
  const row = h("div", { class: "type" }, parts.name, parts.domain, parts.lock);
  row.parts = parts;
  return row;
}

function fillType(row, { spec }) {
  const [name, ...domain] = spec.type.split(".");
  setText(row.parts.name, name);
  setText(row.parts.domain, domain.join("."));
  setText(row.parts.lock, spec.sensitivity ? "sensitive" : "");
}

function makeItem() {
  const parts = { id: h("span", { class: "item-id" }), version: h("span", { class: "item-version" }), cells: h("span", { class: "item-cells" }) };
  const row = h("div", { class: "item" }, parts.id, parts.version, parts.cells);
  row.parts = parts;
  return row;
}
