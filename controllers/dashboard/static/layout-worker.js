// Lays out a graph in layers, by dagre: what is written to the right of what writes it.

import { Graph, layout } from "./vendor/dagre/dagre.esm.js";

self.addEventListener("message", ({ data: { number, nodes, arrows } }) => {
  const graph = new Graph();
  graph.setGraph({ rankdir: "LR", nodesep: 22, ranksep: 60, ranker: "longest-path" });
  graph.setDefaultEdgeLabel(() => ({}));
  for (const [id, shape] of nodes) graph.setNode(id, { width: shape === "type" ? 150 : 190, height: 30 });
  for (const { source, target } of arrows) graph.setEdge(source, target);
  layout(graph);
  postMessage({ number, positions: nodes.map(([id]) => [id, { x: graph.node(id).x, y: graph.node(id).y }]) });
});
