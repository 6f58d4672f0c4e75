// Traffic as lines: small ones on a bare canvas, since a list has many of them; the large one by uPlot.

import uPlot from "./vendor/uplot/uPlot.esm.js";
import { bytes, color } from "./dom.js";

const POINTS = 48;

// What was received, filled, and what was sent, as a line.
export function drawSparkline(canvas, series) {
  const context = canvas.getContext("2d");
  const { width, height } = canvas;
  context.clearRect(0, 0, width, height);
  context.lineWidth = 1.5;
  const received = series ? series.received.slice(-POINTS) : [];
  const sent = series ? series.sent.slice(-POINTS) : [];
  if (received.length < 2) {
    context.strokeStyle = color("line");
    stroke(context, [0, 0], 1, width, height);
    return;
  }
  const highest = Math.max(1, ...received, ...sent);
  context.strokeStyle = context.fillStyle = color("chart1");
  stroke(context, received, highest, width, height);
  context.globalAlpha = 0.15;
  context.lineTo(width, height);
  context.lineTo(0, height);
  context.fill();
  context.globalAlpha = 1;
  context.strokeStyle = color("chart2");
  stroke(context, sent, highest, width, height);
}

function stroke(context, values, highest, width, height) {
  context.beginPath();
  values.forEach((value, index) => {
    const x = (index / (values.length - 1)) * width;
    const y = height - 2 - (value / highest) * (height - 4);
    if (index) context.lineTo(x, y);
    else context.moveTo(x, y);
  });
  context.stroke();
}

export class TrafficChart {
  constructor(place) {
    this.place = place;
    const axis = { stroke: color("muted"), grid: { stroke: color("line"), width: 1 }, ticks: { show: false }, font: "11px system-ui" };
    this.plot = new uPlot(
      {
        width: place.clientWidth || 320,
        height: 132,
        cursor: { y: false },
        legend: { live: true },
        scales: { x: { time: true }, y: { range: (_plot, _low, high) => [0, Math.max(10, high * 1.1)] } },
        axes: [axis, { ...axis, size: 64, values: (_plot, values) => values.map((value) => `${bytes(value)}/s`) }],
        series: [
          {},
          { label: "received", stroke: color("chart1"), fill: `${color("chart1")}22`, width: 2, value: rate },
          { label: "sent", stroke: color("chart2"), width: 2, value: rate },
        ],
      },
      [[], [], []],
      place,
    );
    this.observer = new ResizeObserver(() => this.plot.setSize({ width: place.clientWidth, height: 132 }));
    this.observer.observe(place);
  }

  show(series) {
    this.plot.setData([series.times, series.received, series.sent]);
  }

  destroy() {
    this.observer.disconnect();
    this.plot.destroy();
  }
}

function rate(_plot, value) {
  return value === null ? "–" : `${bytes(value)}/s`;
}
