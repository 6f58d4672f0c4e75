// Lays graphs out in a worker: the whole graph takes seconds, in which the page must go on.

const WORKER = "/static/layout-worker.js";
// The policy of the page lets no text become code, but this one name.
const policy = globalThis.trustedTypes?.createPolicy("nodespan", {
  createScriptURL(url) {
    if (url !== WORKER) throw new TypeError(`not our worker: ${url}`);
    return url;
  },
});

export class Layouter {
  constructor() {
    this.worker = null;
    this.waiting = new Map();
    this.number = 0;
  }

  // The position of each node, by its id. `nodes` are [id, shape], `arrows` {source, target}.
  place(nodes, arrows) {
    this.worker ??= this.start();
    const number = (this.number += 1);
    return new Promise((resolve) => {
      this.waiting.set(number, resolve);
      this.worker.postMessage({ number, nodes, arrows });
    });
  }

  start() {
    const worker = new Worker(policy ? policy.createScriptURL(WORKER) : WORKER, { type: "module" });
    worker.addEventListener("message", ({ data }) => {
      this.waiting.get(data.number)(new Map(data.positions));
      this.waiting.delete(data.number);
    });
    return worker;
  }

  close() {
    this.worker?.terminate();
  }
}
