// A list of any length of which only the visible rows are elements. TanStack Virtual says which these are.

import "./environment.js";
import { Virtualizer, elementScroll, observeElementOffset, observeElementRect } from "./vendor/virtual-core/index.js";
import { h } from "./dom.js";

let lists = 0;

export class VirtualList {
  // `make()` returns an empty row, `fill(row, item)` shows an item in it, `key(item)` names it.
  constructor({ label, rowHeight, make, fill, key, onSelect, onActivate = () => {} }) {
    this.items = [];
    this.make = make;
    this.fill = fill;
    this.key = key;
    this.onSelect = onSelect;
    this.onActivate = onActivate;
    this.rowHeight = rowHeight;
    this.selected = null;
    this.rows = new Map();
    this.spare = [];
    this.prefix = `list${(lists += 1)}-`;
    this.space = h("div", { class: "list-space", role: "presentation" });
    this.element = h(
      "div",
      { class: "list", role: "listbox", tabindex: "0", "aria-label": label, on: { keydown: (event) => this.press(event) } },
      this.space,
    );
    this.virtualizer = new Virtualizer({ ...this.options(), onChange: () => this.draw() });
    this.cleanup = this.virtualizer._didMount();
  }

  options() {
    return {
      count: this.items.length,
      getScrollElement: () => this.element,
      estimateSize: () => this.rowHeight,
      scrollToFn: elementScroll,
      observeElementRect,
      observeElementOffset,
      overscan: 6,
    };
  }

  // Once the element is in the document.
  attach() {
    this.virtualizer._willUpdate();
    this.draw();
  }

  destroy() {
    this.cleanup();
  }

  show(items) {
    const isOther = items.length !== this.items.length;
    this.items = items;
    if (isOther) {
      this.virtualizer.setOptions({ ...this.virtualizer.options, ...this.options() });
      this.virtualizer._willUpdate();
    }
    this.draw();
  }

  draw() {
    const height = `${this.items.length * this.rowHeight}px`;
    if (this.space.style.height !== height) this.space.style.height = height;
    const wanted = this.virtualizer.getVirtualItems();
    const indexes = new Set(wanted.map((each) => each.index));
    for (const [index, row] of this.rows) {
      if (!indexes.has(index)) {
        this.rows.delete(index);
        row.hidden = true;
        this.spare.push(row);
      }
    }
    for (const { index, start } of wanted) {
      const item = this.items[index];
      if (item === undefined) continue;
      let row = this.rows.get(index);
      if (!row) {
        row = this.spare.pop() || this.newRow();
        row.hidden = false;
        row.id = `${this.prefix}${index}`;
        this.rows.set(index, row);
      }
      row.style.transform = `translateY(${start}px)`;
      row.item = item;
      row.setAttribute("aria-posinset", index + 1);
      row.setAttribute("aria-setsize", this.items.length);
      const isSelected = this.key(item) === this.selected;
      row.setAttribute("aria-selected", isSelected);
      if (isSelected) this.element.setAttribute("aria-activedescendant", row.id);
      this.fill(row, item);
    }
  }

  newRow() {
    const row = this.make();
    row.classList.add("list-row");
    row.setAttribute("role", "option");
    row.style.height = `${this.rowHeight}px`;
    row.addEventListener("click", () => this.choose(row.item));
    row.addEventListener("dblclick", () => this.onActivate(row.item));
    this.space.append(row);
    return row;
  }

  toTop() {
    this.element.scrollTop = 0;
  }

  choose(item) {
    if (item === undefined) return;
    this.selected = this.key(item);
    this.draw();
    this.onSelect(item);
  }

  select(key) {
    if (this.selected === key) return;
    this.selected = key;
    this.draw();
  }

  reveal(key) {
    const index = this.items.findIndex((item) => this.key(item) === key);
    if (index >= 0) this.virtualizer.scrollToIndex(index, { align: "auto" });
  }

  press(event) {
    const page = Math.max(1, Math.floor(this.element.clientHeight / this.rowHeight) - 1);
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    const at = this.items.findIndex((item) => this.key(item) === this.selected);
    if (event.key === "Enter" && at >= 0) {
      this.onActivate(this.items[at]);
    } else if (event.key in steps) {
      const index = Math.min(this.items.length - 1, Math.max(0, at + steps[event.key]));
      this.choose(this.items[index]);
      if (this.items.length) this.virtualizer.scrollToIndex(index, { align: "auto" });
    } else {
      return;
    }
    event.preventDefault();
  }
}
