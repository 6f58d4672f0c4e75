// The state as it changes. One stream of server-sent events brings several kinds; what changes is collected, and shown in
// the next frame, but not more often than a few times a second: however many changes come, the page has time for its reader.

const PAUSE = 100;

export class Kind {
  constructor(type) {
    this.type = type;
    this.items = new Map();
    this.definition = null;
    this.outage = null;
    this.isReady = false;
    this.failure = null;
    this.isUp = true;
    this.stale = null;
    this.changed = new Set();
    // Of the changed ones those that came, went, or are in another state.
    this.turned = new Set();
  }

  set(resource) {
    const id = resource.metadata.id;
    const before = this.items.get(id);
    this.items.set(id, resource);
    this.changed.add(id);
    if (!before || before.spec?.state !== resource.spec?.state || before.spec?.label !== resource.spec?.label) this.turned.add(id);
  }

  delete(id) {
    this.items.delete(id);
    this.changed.add(id);
    this.turned.add(id);
  }

  list() {
    return [...this.items.values()];
  }
}

export class Live {
  // `onChange(kinds)` gets the kinds that changed since the last frame; their `changed` holds the ids.
  constructor(types, onChange, onState = () => {}) {
    this.kinds = new Map(types.map((type) => [type, new Kind(type)]));
    this.types = types;
    this.onChange = onChange;
    this.onState = onState;
    this.dirty = new Set();
    this.frame = 0;
    this.flushed = -PAUSE;
    this.timer = 0;
    this.source = null;
    this.isClosed = false;
    this.onVisible = () => (document.hidden ? this.pause() : this.open());
    document.addEventListener("visibilitychange", this.onVisible);
    this.open();
  }

  kind(type) {
    return this.kinds.get(type);
  }

  open() {
    if (this.isClosed || this.source || document.hidden) return;
    const query = this.types.map((type) => `type=${encodeURIComponent(type)}`).join("&");
    const source = new EventSource(`/api/watch?${query}`);
    this.source = source;
    source.onopen = () => this.onState("open");
    source.onerror = () => this.handleError(source);
    const handlers = {
      kind: (data) => this.takeKind(data),
      changes: (data) => this.takeChanges(data),
      ready: (data) => this.takeReady(data),
      failed: (data) => this.takeFailure(data),
      link: (data) => this.takeLink(data),
    };
    for (const [name, take] of Object.entries(handlers)) {
      source.addEventListener(name, (event) => take(JSON.parse(event.data)));
    }
  }

  // A browser has few connections per server: a page that nobody sees needs none.
  pause() {
    clearTimeout(this.timer);
    if (this.source) this.source.close();
    this.source = null;
  }

  handleError(source) {
    this.onState("lost");
    if (source.readyState !== EventSource.CLOSED) return;
    // Not a broken connection, which the browser mends by itself, but an answer that is no stream.
    this.pause();
    fetch("/api/node").then(
      (answer) => this.onState(answer.status === 401 ? "closed" : "lost"),
      () => this.onState("lost"),
    );
    this.timer = setTimeout(() => this.open(), 2000);
  }

  close() {
    this.isClosed = true;
    this.pause();
    document.removeEventListener("visibilitychange", this.onVisible);
  }

  // The events.

  kindOf(data) {
    return this.kinds.get(this.types[data.n]);
  }

  takeLink(data) {
    const kind = this.kindOf(data);
    kind.isUp = data.up;
    this.mark(kind);
  }

  takeReady(data) {
    const kind = this.kindOf(data);
    for (const id of kind.stale || []) {
      kind.delete(id);
    }
    kind.stale = null;
    kind.isReady = true;
    this.mark(kind);
  }

  takeFailure(data) {
    const kind = this.kindOf(data);
    kind.failure = data;
    kind.isReady = true;
    this.mark(kind);
  }

  takeChanges(data) {
    const kind = this.kindOf(data);
    for (const resource of data.set) {
      kind.set(resource);
      if (kind.stale) kind.stale.delete(resource.metadata.id);
    }
    for (const id of data.gone) kind.delete(id);
    this.mark(kind);
  }

  takeKind(data) {
    const kind = this.kindOf(data);
    kind.definition = data.definition;
    kind.outage = data.outage;
    kind.failure = null;
    kind.stale = new Set(kind.items.keys());
    this.mark(kind);
  }

  mark(kind) {
    this.dirty.add(kind);
    if (this.frame) return;
    const wait = this.flushed + PAUSE - performance.now();
    const draw = () => (this.frame = requestAnimationFrame(() => this.flush()));
    if (wait <= 0) draw();
    else this.frame = setTimeout(draw, wait);
  }

  flush() {
    this.frame = 0;
    this.flushed = performance.now();
    const dirty = this.dirty;
    this.dirty = new Set();
    if (!this.isClosed) this.onChange(dirty);
    for (const kind of dirty) {
      kind.changed = new Set();
      kind.turned = new Set();
    }
  }
}

export class RequestError extends Error {}

// The answer to a single question. Raises RequestError.
export async function ask(path, query = {}) {
  const answer = await fetch(`/api/${path}?${new URLSearchParams(query)}`);
  const body = await answer.json();
  if (!answer.ok) throw new RequestError(body.error || answer.statusText);
  return body;
}
