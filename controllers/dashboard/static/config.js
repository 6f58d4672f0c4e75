// The configuration in effect, with stars for its secrets.

import { clock, h, replace, setText } from "./dom.js";
import { ask } from "./live.js";
import { CONFIG_STATUS } from "./kinds.js";

export class ConfigView {
  constructor(app) {
    this.app = app;
    this.digest = null;
    this.facts = h("dl", { class: "facts is-wide" });
    this.text = h("pre", { class: "source", tabindex: "0", "aria-label": "The configuration" });
    this.note = h("p", { class: "empty", role: "status" }, "Reading…");
    this.element = h("div", { class: "page" }, h("h1", {}, "Configuration in effect"), h("section", { class: "card" }, this.facts), h("section", { class: "card" }, this.note, this.text));
  }

  destroy() {
    this.isGone = true;
  }

  update(kinds, isFirst) {
    if (!isFirst && !kinds.has(this.app.kind(CONFIG_STATUS))) return;
    const status = this.app.kind(CONFIG_STATUS).list()[0]?.spec || {};
    const facts = [
      ["Files", (status.files || []).join(", ") || "none"],
      ["In effect since", status.since ? clock(status.since) : "–"],
      ["Digest", (status.digest || "").slice(0, 16) || "–"],
      status.trialUntil && ["On trial until", clock(status.trialUntil)],
      status.error && ["Not used because", status.error],
    ];
    replace(this.facts, facts.filter(Boolean).map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", { class: "wrap" }, value))));
    if (isFirst || status.digest !== this.digest) this.load(status.digest);
  }

  async load(digest) {
    this.digest = digest;
    let text = null;
    let note = "No configuration is in effect.";
    try {
      text = (await ask("config")).text;
    } catch (error) {
      note = error.message;
    }
    if (this.isGone) return;
    this.note.hidden = text !== null;
    this.text.hidden = text === null;
    setText(this.note, note);
    if (text !== null) replace(this.text, text.split("\n").map(line));
  }
}

// A line in parts: the comment, the key, the value.
function line(text) {
  const found = /^(\s*(?:- )*)([\w.-]+:)?(.*?)(\s#.*)?$/.exec(text);
  if (!found || text.trim().startsWith("#")) return h("span", { class: "row" }, h("i", { class: "comment" }, text), "\n");
  const [, indent, key, value, comment] = found;
  return h("span", { class: "row" }, indent, key && h("b", {}, key), h("span", { class: value.includes("***") ? "masked" : "" }, value), comment && h("i", { class: "comment" }, comment), "\n");
}
