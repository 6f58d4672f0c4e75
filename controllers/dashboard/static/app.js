// The frame of the dashboard: which view is shown, and what all of them share.

import { h, icon, replace, setText } from "./dom.js";
import { Live, ask } from "./live.js";
import { ALWAYS, EVENT, PEER } from "./kinds.js";
import { History } from "./history.js";
import { findProblems } from "./problems-found.js";
import { MeshView } from "./mesh.js";
import { VipView } from "./vips.js";
import { ProblemsView } from "./problems.js";
import { ResourcesView } from "./resources.js";
import { GraphView } from "./graph.js";
import { EventsView } from "./events.js";
import { ConfigView } from "./config.js";

const VIEWS = [
  { name: "mesh", title: "Mesh", view: MeshView },
  { name: "vips", title: "Virtual IPs", view: VipView },
  { name: "problems", title: "Problems", view: ProblemsView },
  { name: "events", title: "Events", view: EventsView },
  { name: "resources", title: "Resources", view: ResourcesView },
  { name: "graph", title: "Graph", view: GraphView },
  { name: "config", title: "Config", view: ConfigView },
];
const STATES = {
  open: ["live", "is-up"],
  lost: ["connection lost", "is-down"],
  closed: ["session ended", "is-down"],
  away: ["agent is away", "is-down"],
};

export class App {
  constructor() {
    this.node = { node: "", version: "", rights: "reader" };
    this.history = new History();
    this.problems = [];
    this.links = new Map();
    this.state = "lost";
    this.view = null;
    this.main = document.getElementById("main");
    this.buildNav();
    this.prepareTheme();
    this.live = new Live(ALWAYS, (kinds) => this.update(kinds), (state) => this.showState(state));
    window.addEventListener("hashchange", () => this.navigate());
    document.addEventListener("keydown", (event) => this.press(event));
    this.navigate();
    this.greet();
  }

  kind(type) {
    return this.live.kind(type);
  }

  async greet() {
    try {
      this.node = await ask("node");
    } catch (error) {
      console.warn(error.message);
      return;
    }
    document.title = `${this.node.node} · nodespan`;
    setText(document.getElementById("node"), this.node.node);
    document.getElementById("node").title = `nodespan ${this.node.version}`;
    setText(document.getElementById("rights"), this.node.rights === "all" ? "" : "reader");
    this.view?.greeted?.();
  }

  buildNav() {
    const nav = document.getElementById("nav");
    VIEWS.forEach(({ name, title }, index) => {
      const count = h("span", { class: "count", hidden: true });
      const link = h("a", { href: `#/${name}`, title: `${title} (${index + 1})` }, icon(name), h("span", { class: "nav-title" }, title), count);
      link.count = count;
      nav.append(link);
      this.links.set(name, link);
    });
  }

  navigate() {
    const [name, ...parts] = location.hash.replace(/^#\/?/, "").split("/").map(decode);
    const found = VIEWS.find((each) => each.name === name) || VIEWS[0];
    for (const [each, link] of this.links) {
      if (each === found.name) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    if (!(this.view instanceof found.view)) {
      this.view?.destroy();
      this.view = new found.view(this);
      replace(this.main, this.view.element);
      this.main.dataset.view = found.name;
      this.view.attach?.();
      this.view.update(new Set(this.live.kinds.values()), true);
    }
    this.view.open?.(...parts);
  }

  update(kinds) {
    this.history.take(kinds);
    const peers = this.kind(PEER);
    // Most of what changes is the traffic of peers, which is no problem.
    if (kinds.size > 1 || !kinds.has(peers) || peers.turned.size) this.problems = findProblems(this);
    const count = this.problems.filter((problem) => problem.severity !== "info").length;
    const badge = this.links.get("problems").count;
    badge.hidden = count === 0;
    setText(badge, count);
    this.links.get("events").hidden = this.kind(EVENT).failure !== null;
    this.showState(this.state);
    this.view.update(kinds, false);
  }

  showState(state) {
    this.state = state;
    const isAway = [...this.live?.kinds.values() ?? []].some((kind) => !kind.isUp);
    const [text, style] = STATES[state === "open" && isAway ? "away" : state];
    const pill = document.getElementById("link");
    setText(pill, text);
    pill.className = `pill ${style}`;
  }

  prepareTheme() {
    const root = document.documentElement;
    const dark = matchMedia("(prefers-color-scheme: dark)");
    const chosen = localStorage.getItem("theme");
    if (chosen) root.dataset.theme = chosen;
    const button = document.getElementById("theme");
    button.append(icon("theme"));
    button.addEventListener("click", () => {
      const isDark = root.dataset.theme ? root.dataset.theme === "dark" : dark.matches;
      root.dataset.theme = isDark ? "light" : "dark";
      localStorage.setItem("theme", root.dataset.theme);
      this.view?.restyle?.();
    });
    dark.addEventListener("change", () => this.view?.restyle?.());
  }

  press(event) {
    const isTyping = event.target instanceof HTMLInputElement || event.target instanceof HTMLSelectElement;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape" && isTyping) event.target.blur();
    if (isTyping) return;
    if (event.key === "/") {
      const search = this.main.querySelector("input[type=search]");
      if (search) {
        search.focus();
        event.preventDefault();
      }
    } else if (/^[1-9]$/.test(event.key) && VIEWS[event.key - 1]) {
      location.hash = `#/${VIEWS[event.key - 1].name}`;
    }
  }
}

function decode(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

export const app = new App();
performance.mark("started");
