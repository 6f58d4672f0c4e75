// What is wrong, and what to do about it.

import { h, replace, setText } from "./dom.js";

const MOST = 300;

export class ProblemsView {
  constructor(app) {
    this.app = app;
    this.shown = "";
    this.summary = h("p", { class: "muted", role: "status" });
    this.list = h("ul", { class: "problems" });
    this.element = h("div", { class: "page" }, h("h1", {}, "Problems"), this.summary, this.list);
  }

  destroy() {}

  update() {
    const problems = this.app.problems;
    const shown = JSON.stringify(problems);
    if (shown === this.shown) return;
    this.shown = shown;
    setText(this.summary, problems.length ? `${problems.length} found, the worst first.` : "");
    replace(this.list, problems.length ? problems.slice(0, MOST).map(item) : h("li", { class: "all-well" }, h("b", {}, "All is well."), h("span", {}, "No controller fails, every peer answers, and what is configured is applied.")));
  }
}

function item({ severity, title, text, remedy, href }) {
  return h(
    "li",
    { class: `card problem is-${severity}` },
    h("span", { class: "severity" }, severity),
    h("div", {}, h("a", { href }, title), text && h("p", {}, text), remedy && h("p", { class: "remedy" }, remedy)),
  );
}
