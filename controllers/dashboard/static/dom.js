// Builds elements. Everything that is shown comes from other machines: it becomes text, never markup.

const UNSAFE = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g;

// Control characters, marks that change the direction of text, and halves of characters, made visible.
export function clean(text) {
  return String(text).replace(UNSAFE, (found) => `\\u${found.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

// h("a", {class: "x", href: "#/mesh", on: {click}}, "text", [child, ...]). Null and false attributes are left out.
export function h(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || (value === false && !name.startsWith("aria-"))) continue;
    if (name === "on") for (const [event, handler] of Object.entries(value)) element.addEventListener(event, handler);
    else if (name === "class") element.className = value;
    else if (name === "value") element.value = value;
    else element.setAttribute(name, value === true && !name.startsWith("aria-") ? "" : clean(value));
  }
  add(element, children);
  return element;
}

function add(element, children) {
  for (const child of children) {
    if (child === null || child === undefined || child === false) continue;
    if (Array.isArray(child)) add(element, child);
    else element.append(child instanceof Node ? child : document.createTextNode(clean(child)));
  }
}

// Writes only what differs: most of what is shown stays as it is.
export function setText(element, text) {
  const shown = clean(text);
  if (element.textContent !== shown) element.textContent = shown;
}

export function replace(element, ...children) {
  element.replaceChildren();
  add(element, children);
}

const SVG = "http://www.w3.org/2000/svg";
const ICONS = {
  mesh: ["M12 12 5 6m7 6 7-6M12 12l-6 7m6-7 7 6", "M12 12m-2.6 0a2.6 2.6 0 1 0 5.2 0a2.6 2.6 0 1 0-5.2 0", "M3.2 6a1.8 1.8 0 1 0 3.6 0a1.8 1.8 0 1 0-3.6 0M17.2 6a1.8 1.8 0 1 0 3.6 0a1.8 1.8 0 1 0-3.6 0M4.2 19a1.8 1.8 0 1 0 3.6 0a1.8 1.8 0 1 0-3.6 0M17.2 18a1.8 1.8 0 1 0 3.6 0a1.8 1.8 0 1 0-3.6 0"],
  vips: ["M4 7h9M4 12h5M4 17h12", "M17 4l3 3-3 3"],
  problems: ["M12 3 2.5 20h19zM12 10v4.5M12 17.3v.1"],
  resources: ["M4 5h16v4H4zM4 15h16v4H4zM8 9v6"],
  graph: ["M4 4h5v4H4zM15 10h5v4h-5zM4 16h5v4H4zM9 6h3v12H9M12 12h3"],
  events: ["M12 4a8 8 0 1 0 8 8M12 7v5l3.5 2"],
  config: ["M6 3h8l4 4v14H6zM9 11h6M9 15h6"],
  theme: ["M12 4a8 8 0 1 0 0 16zM12 4a8 8 0 0 1 0 16"],
};

export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  for (const d of ICONS[name]) {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("d", d);
    svg.append(path);
  }
  return svg;
}

export function bytes(count) {
  let value = Number(count) || 0;
  for (const unit of ["B", "kB", "MB", "GB", "TB"]) {
    if (value < 1000 || unit === "TB") return `${value < 10 && unit !== "B" ? value.toFixed(1) : Math.round(value)} ${unit}`;
    value /= 1000;
  }
  return "";
}

// How long ago, in one unit. The zero of times is "never".
export function ago(time, now = Date.now()) {
  const at = time instanceof Date ? time.getTime() : Date.parse(time);
  if (!time || Number.isNaN(at) || at < 0) return "never";
  const seconds = Math.max(0, Math.round((now - at) / 1000));
  if (seconds < 90) return `${seconds} s ago`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min ago`;
  if (seconds < 129600) return `${Math.round(seconds / 3600)} h ago`;
  return `${Math.round(seconds / 86400)} d ago`;
}

export function clock(time) {
  const at = new Date(time);
  return Number.isNaN(at.getTime()) ? "" : at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
}

export function color(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

export function route(...parts) {
  return `#/${parts.map(encodeURIComponent).join("/")}`;
}

// Compares names as people do: node-9 before node-10.
export const collator = new Intl.Collator(undefined, { numeric: true });
