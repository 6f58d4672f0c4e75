// Virtual IPs: who holds each, and who held it before, on a time line.

import { ago, clock, h, replace, setText } from "./dom.js";
import { EVENT, VIP } from "./kinds.js";

const WINDOWS = [["5 min", 300], ["1 h", 3600], ["6 h", 21600], ["1 d", 86400]];
const COLORS = 6;

export class VipView {
  constructor(app) {
    this.app = app;
    this.seconds = 300;
    this.rows = new Map();
    this.holders = [];
    this.empty = h("p", { class: "empty" });
    this.place = h("div", { class: "vips" });
    this.axis = h("div", { class: "axis", "aria-hidden": "true" });
    const windows = WINDOWS.map(([title, seconds]) => {
      const button = h("button", { class: "chip", type: "button", "aria-pressed": seconds === this.seconds }, title);
      button.addEventListener("click", () => {
        this.seconds = seconds;
        for (const each of windows) each.setAttribute("aria-pressed", each === button);
        this.draw();
      });
      return button;
    });
    this.log = h("ol", { class: "log" });
    this.logCard = h("section", { class: "card" }, h("div", { class: "card-head" }, h("h2", {}, "What happened")), this.log);
    this.element = h(
      "div",
      { class: "page" },
      h("h1", {}, "Virtual IPs"),
      h("section", { class: "card" }, h("div", { class: "card-head" }, h("h2", {}, "Holders"), h("span", { class: "space" }), h("div", { class: "chips", role: "group", "aria-label": "Length of the time line" }, windows)), this.empty, this.place, this.axis),
      this.logCard,
    );
    this.timer = setInterval(() => this.draw(), 1000);
  }

  destroy() {
    clearInterval(this.timer);
  }

  update(kinds, isFirst) {
    const changed = new Set([...kinds].map((kind) => kind.type));
    if (isFirst || changed.has(VIP)) this.show();
    if (isFirst || changed.has(EVENT)) this.showLog();
  }

  show() {
    const kind = this.app.kind(VIP);
    const vips = kind.list().sort((a, b) => a.metadata.id.localeCompare(b.metadata.id));
    this.empty.hidden = vips.length > 0;
    this.axis.hidden = vips.length === 0;
    setText(this.empty, kind.failure ? kind.failure.message : kind.isReady ? "No virtual IP is configured on this node." : "Reading…");
    this.rows = new Map(vips.map((vip) => [vip.metadata.id, this.rows.get(vip.metadata.id) || makeRow()]));
    replace(this.place, [...this.rows.values()].map((row) => row.element));
    for (const vip of vips) this.fill(this.rows.get(vip.metadata.id), vip);
    this.draw();
  }

  fill(row, { spec }) {
    setText(row.ip, spec.ip);
    setText(row.link, spec.linkName);
    setText(row.state, { leader: "held here", candidate: "candidate", waiting: "waiting", refused: "refused" }[spec.state] || spec.state);
    row.state.className = `pill ${{ leader: "is-up", refused: "is-down", waiting: "is-unknown" }[spec.state] || ""}`;
    setText(row.leader, spec.leader ? `${spec.leader}, for ${ago(spec.since).replace(" ago", "")}` : "held by no node");
    setText(row.reason, spec.trouble || spec.reason || "");
    row.reason.classList.toggle("is-trouble", Boolean(spec.trouble));
  }

  // Spans as parts of the window that ends now.
  draw() {
    const now = Date.now() / 1000;
    const from = now - this.seconds;
    for (const [id, row] of this.rows) {
      const spans = (this.app.history.vips.get(id) || []).filter((span) => (span.to ?? now) > from);
      while (row.track.children.length > spans.length) row.track.lastChild.remove();
      spans.forEach((span, index) => {
        const bar = row.track.children[index] || row.track.appendChild(h("span", { class: "span" }));
        const left = Math.max(0, (span.from - from) / this.seconds);
        const right = Math.min(1, ((span.to ?? now) - from) / this.seconds);
        bar.className = `span ${span.leader ? `holder-${this.colorOf(span.leader)}` : "is-vacant"}`;
        bar.style.left = `${left * 100}%`;
        bar.style.width = `${Math.max(0.4, (right - left) * 100)}%`;
        setText(bar, span.leader || "no holder");
        bar.title = `${span.leader || "no holder"}: ${clock(span.from * 1000)} to ${span.to ? clock(span.to * 1000) : "now"}`;
      });
    }
    replace(this.axis, [0, 0.25, 0.5, 0.75, 1].map((part) => h("span", {}, part === 1 ? "now" : clock((from + part * this.seconds) * 1000))));
  }

  colorOf(leader) {
    let index = this.holders.indexOf(leader);
    if (index < 0) index = this.holders.push(leader) - 1;
    return index % COLORS;
  }

  showLog() {
    const kind = this.app.kind(EVENT);
    this.logCard.hidden = kind.failure !== null;
    const events = kind.list().filter(({ spec }) => spec.kind === "vip").sort((a, b) => b.metadata.id.localeCompare(a.metadata.id)).slice(0, 50);
    replace(this.log, events.length ? events.map(({ spec }) => h("li", { class: `is-${spec.severity}` }, h("time", { datetime: spec.time }, clock(spec.time)), " ", spec.text)) : h("li", { class: "muted" }, "Nothing yet."));
  }
}

function makeRow() {
  const row = { ip: h("b", { class: "vip-ip" }), link: h("span", { class: "muted" }), state: h("span", { class: "pill" }), leader: h("span", { class: "vip-leader" }), reason: h("p", { class: "vip-reason" }), track: h("div", { class: "track" }) };
  row.element = h("article", { class: "vip" }, h("div", { class: "vip-head" }, row.ip, row.link, row.state, row.leader), row.track, row.reason);
  return row;
}
