// What passed since the page was opened: the traffic of each peer, and who held which virtual IP.

import { PEER, VIP } from "./kinds.js";

const LONGEST = 240;

class Series {
  constructor() {
    this.times = [];
    this.received = [];
    this.sent = [];
    this.last = null;
  }

  // Counters as they are now; what is kept is bytes per second since the time before.
  take(time, received, sent) {
    const last = this.last;
    if (last && time - last.time < 0.2) return;
    this.last = { time, received, sent };
    if (!last) return;
    const seconds = time - last.time;
    this.push(time, Math.max(0, received - last.received) / seconds, Math.max(0, sent - last.sent) / seconds);
  }

  push(time, received, sent) {
    this.times.push(time);
    this.received.push(received);
    this.sent.push(sent);
    if (this.times.length > LONGEST) for (const list of [this.times, this.received, this.sent]) list.shift();
  }
}

export class History {
  constructor() {
    this.peers = new Map();
    this.total = new Series();
    this.vips = new Map();
  }

  take(kinds) {
    const now = Date.now() / 1000;
    for (const kind of kinds) {
      if (kind.type === PEER) this.takePeers(kind, now);
      if (kind.type === VIP) this.takeVips(kind, now);
    }
  }

  takePeers(kind, now) {
    for (const id of kind.changed) {
      const peer = kind.items.get(id);
      if (!peer) {
        this.peers.delete(id);
        continue;
      }
      let series = this.peers.get(id);
      if (!series) this.peers.set(id, (series = new Series()));
      series.take(now, peer.spec.receiveBytes, peer.spec.transmitBytes);
    }
    let received = 0;
    let sent = 0;
    for (const peer of kind.items.values()) {
      received += peer.spec.receiveBytes;
      sent += peer.spec.transmitBytes;
    }
    if (kind.isReady && (!this.total.last || now - this.total.last.time >= 1)) this.total.take(now, received, sent);
  }

  // The present holder is known since `since`; those before it only if they were seen.
  takeVips(kind, now) {
    for (const id of kind.changed) {
      const vip = kind.items.get(id);
      const spans = this.vips.get(id) || [];
      this.vips.set(id, spans);
      const last = spans.at(-1);
      const leader = vip ? vip.spec.leader : "";
      if (last && last.leader === leader && last.to === null) continue;
      // When the state of this node began, which is later than the last change only if it changed with the holder.
      const told = vip ? Date.parse(vip.spec.since) / 1000 : NaN;
      const from = told <= now && (!last || told > last.from) ? told : now;
      if (last && last.to === null) last.to = from;
      spans.push({ leader, from, to: null });
      if (spans.length > LONGEST) spans.shift();
    }
  }
}
