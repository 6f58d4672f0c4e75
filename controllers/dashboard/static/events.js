// What happened lately on this node.

import { clock, h, route, setText } from "./dom.js";
import { EVENT } from "./kinds.js";
import { VirtualList } from "./virtual-list.js";

export class EventsView {
  constructor(app) {
    this.app = app;
    this.search = h("input", { type: "search", placeholder: "Find an event ( / )", "aria-label": "Find an event", autocomplete: "off", on: { input: () => { this.show(); this.list.toTop(); } } });
    this.empty = h("p", { class: "empty" });
    this.list = new VirtualList({ label: "Events, the latest first", rowHeight: 44, make: makeRow, fill, key: (event) => event.metadata.id, onSelect: () => {}, onActivate: ({ spec }) => spec.type && (location.hash = route("resources", spec.type, spec.id)) });
    this.element = h("div", { class: "page is-full" }, h("h1", {}, "Events"), h("section", { class: "card list-card" }, h("div", { class: "card-head" }, h("h2", {}, "The latest first"), h("span", { class: "space" }), this.search), this.empty, this.list.element));
  }

  attach() {
    this.list.attach();
  }

  destroy() {
    this.list.destroy();
  }

  update(kinds, isFirst) {
    if (isFirst || kinds.has(this.app.kind(EVENT))) this.show();
  }

  show() {
    const kind = this.app.kind(EVENT);
    const wanted = this.search.value.trim().toLowerCase();
    const events = kind.list().filter(({ spec }) => `${spec.kind} ${spec.text} ${spec.id}`.toLowerCase().includes(wanted));
    events.sort((a, b) => (a.metadata.id < b.metadata.id ? 1 : -1));
    this.empty.hidden = events.length > 0;
    setText(this.empty, kind.failure ? kind.failure.message : kind.isReady ? "Nothing has happened." : "Reading…");
    this.list.show(events);
  }
}

function makeRow() {
  const parts = { time: h("time", {}), kind: h("span", { class: "event-kind" }), text: h("span", { class: "event-text" }) };
  const row = h("div", { class: "event" }, parts.time, parts.kind, parts.text);
  row.parts = parts;
  return row;
}

function fill(row, { spec }) {
  row.dataset.severity = spec.severity;
  setText(row.parts.time, clock(spec.time));
  setText(row.parts.kind, spec.kind);
  setText(row.parts.text, spec.text);
  row.parts.text.title = spec.text;
}
