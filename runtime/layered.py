"""Places boxes in columns and leads lines between them, left to right: the geometry of a drawn graph.

The classic recipe in five steps: turn the fewest edges round that close cycles; put each box one column right of what
points at it; cut long edges into pieces of one column each, so that every edge has a place of its own between the
boxes; order each column by the mean place of the neighbours, back and forth, keeping the order with the fewest
crossings; and move everything vertically towards its neighbours as far as the order allows. Nothing is random: the
same graph is always drawn the same way.
"""

import bisect
import itertools
from collections.abc import Mapping, Sequence

import attrs

Point = tuple[float, float]

_BOX_GAP = 18.0
_LINE_GAP = 9.0
_STUB = 14.0
_COLUMN_GAP = (56.0, 170.0)
_COLUMN_GAP_PER_RISE = 0.4
_PORT_GAP = 12.0
_PORT_SHARE = 0.85
_ORDER_SWEEPS = 24
_PLACE_SWEEPS = 12
# Lines that span columns look best straight, so their inner pieces pull hardest.
_PULL = {0: 1.0, 1: 2.0, 2: 8.0}


@attrs.frozen
class Box:
    """A placed box: its upper left corner and its size."""

    x: float
    y: float
    width: float
    height: float


@attrs.frozen(kw_only=True)
class Layout:
    """Where everything goes, from (0, 0) to (width, height).

    A route has an even number of points, from source to target: from the 1st to the 2nd a straight horizontal line, to
    the 3rd a curve that is horizontal at both ends, to the 4th a straight line, and so on.
    """

    boxes: Mapping[str, Box]
    routes: tuple[tuple[Point, ...], ...]
    width: float
    height: float


def layout(sizes: Mapping[str, tuple[float, float]], edges: Sequence[tuple[str, str]]) -> Layout:
    """Place boxes of these sizes (width, height), and a route for each edge. Raises KeyError for an edge to no box."""
    names = list(sizes)
    number = {name: index for index, name in enumerate(names)}
    ends = [(number[source], number[target]) for source, target in edges]

    rank = _rank(len(names), ends)
    forward = [(a, b) if rank[a] < rank[b] else (b, a) for a, b in ends]
    column_of = _columns(rank, [(a, b) for a, b in forward if a != b])

    graph = _Graph([sizes[name] for name in names], column_of, forward)
    _order(graph)
    y = _heights(graph)
    return _finished(names, graph, y, turned=[ends[i] != forward[i] for i in range(len(ends))])


class _Graph:
    """Boxes and the pieces of long edges, all numbered, in columns; boxes come first."""

    def __init__(
        self, sizes: list[tuple[float, float]], column_of: list[int], edges: Sequence[tuple[int, int]]
    ) -> None:
        self.boxes = len(sizes)
        self.width = [width for width, _ in sizes]
        self.height = [height for _, height in sizes]
        self.columns: list[list[int]] = [[] for _ in range(max(column_of, default=-1) + 1)]
        for vertex, column in enumerate(column_of):
            self.columns[column].append(vertex)
        self.chains = [self._chain(a, b, column_of) for a, b in edges]
        self.left: list[list[int]] = [[] for _ in self.width]
        self.right: list[list[int]] = [[] for _ in self.width]
        for chain in self.chains:
            for a, b in itertools.pairwise(chain):
                self.right[a].append(b)
                self.left[b].append(a)

    def _chain(self, a: int, b: int, column_of: list[int]) -> list[int]:
        if a == b:
            return [a]
        chain = [a]
        for column in range(column_of[a] + 1, column_of[b]):
            chain.append(len(self.width))
            self.columns[column].append(len(self.width))
            self.width.append(0.0)
            self.height.append(0.0)
        return [*chain, b]

    def pull(self, a: int, b: int) -> float:
        return _PULL[(a >= self.boxes) + (b >= self.boxes)]

    def distance(self, a: int, b: int) -> float:
        """The least vertical distance between the middles of two that are neighbours in a column."""
        gap = _BOX_GAP if a < self.boxes and b < self.boxes else _LINE_GAP
        return (self.height[a] + self.height[b]) / 2 + gap


def _rank(count: int, edges: Sequence[tuple[int, int]]) -> list[int]:
    """An order of the vertices in which few edges go backwards.

    What has no edges in comes next at the front, what has none out next at the back; when only cycles are left, the
    one with the most edges out over edges in comes next at the front.
    """
    outgoing: list[set[int]] = [set() for _ in range(count)]
    incoming: list[set[int]] = [set() for _ in range(count)]
    for a, b in edges:
        if a != b:
            outgoing[a].add(b)
            incoming[b].add(a)

    left = dict.fromkeys(range(count))
    front: list[int] = []
    back: list[int] = []
    while left:
        chosen = next((v for v in left if not incoming[v]), None)
        place = front
        if chosen is None:
            chosen = next((v for v in left if not outgoing[v]), None)
            place = back
        if chosen is None:
            chosen = max(left, key=lambda v: len(outgoing[v]) - len(incoming[v]))
            place = front
        place.append(chosen)
        del left[chosen]
        for other in outgoing[chosen]:
            incoming[other].discard(chosen)
        for other in incoming[chosen]:
            outgoing[other].discard(chosen)

    rank = [0] * count
    for index, vertex in enumerate([*front, *reversed(back)]):
        rank[vertex] = index
    return rank


def _columns(rank: list[int], edges: Sequence[tuple[int, int]]) -> list[int]:
    """The column of each vertex: right of all that point at it, and close to what it points at."""
    outgoing: list[list[int]] = [[] for _ in rank]
    incoming: list[list[int]] = [[] for _ in rank]
    for a, b in edges:
        outgoing[a].append(b)
        incoming[b].append(a)
    in_order = sorted(range(len(rank)), key=rank.__getitem__)

    column = [0] * len(rank)
    for vertex in in_order:
        column[vertex] = max((column[a] + 1 for a in incoming[vertex]), default=0)
    for vertex in reversed(in_order):
        if len(outgoing[vertex]) > len(incoming[vertex]):
            column[vertex] = min(column[b] for b in outgoing[vertex]) - 1

    used = {old: new for new, old in enumerate(sorted(set(column)))}
    return [used[old] for old in column]


def _order(graph: _Graph) -> None:
    """Order the columns so that few lines cross."""
    best = [list(column) for column in graph.columns]
    fewest = _crossings(graph, best)
    columns = [list(column) for column in best]
    for sweep in range(_ORDER_SWEEPS):
        rightwards = sweep % 2 == 0
        neighbours = graph.left if rightwards else graph.right
        for index in range(len(columns)) if rightwards else reversed(range(len(columns))):
            beside = index - 1 if rightwards else index + 1
            if 0 <= beside < len(columns):
                columns[index] = _by_mean(columns[index], columns[beside], neighbours)
        crossings = _crossings(graph, columns)
        if crossings < fewest:
            best, fewest = [list(column) for column in columns], crossings
    graph.columns = best


def _by_mean(column: list[int], beside: list[int], neighbours: list[list[int]]) -> list[int]:
    place = {vertex: index / max(len(beside) - 1, 1) for index, vertex in enumerate(beside)}
    means = {}
    for index, vertex in enumerate(column):
        places = [place[other] for other in neighbours[vertex]]
        means[vertex] = sum(places) / len(places) if places else index / max(len(column) - 1, 1)
    return sorted(column, key=means.__getitem__)


def _crossings(graph: _Graph, columns: list[list[int]]) -> int:
    total = 0
    for column, beside in itertools.pairwise(columns):
        place = {vertex: index for index, vertex in enumerate(beside)}
        passed: list[int] = []
        for vertex in column:
            ends = sorted(place[other] for other in graph.right[vertex])
            total += sum(len(passed) - bisect.bisect_right(passed, end) for end in ends)
            for end in ends:
                bisect.insort(passed, end)
    return total


def _heights(graph: _Graph) -> list[float]:
    """The vertical middle of each vertex."""
    y = [0.0] * len(graph.height)
    for column in graph.columns:
        distances = [graph.distance(a, b) for a, b in itertools.pairwise(column)]
        at = -sum(distances) / 2
        for vertex, distance in zip(column, [*distances, 0.0], strict=True):
            y[vertex] = at
            at += distance

    lines = range(graph.boxes, len(y))
    both = [graph.left[v] + graph.right[v] for v in range(len(y))]
    straight = (_only(graph.left, lines), _only(graph.right, lines))
    for sweep in range(3 * _PLACE_SWEEPS):
        rightwards = sweep % 2 == 0
        # Towards one side first, to spread what hangs together; then towards both, to settle in between; at the end
        # only lines move, each piece to the height of the piece before it.
        match sweep // _PLACE_SWEEPS:
            case 0:
                neighbours, hold = graph.left if rightwards else graph.right, 0.1
            case 1:
                neighbours, hold = both, 0.1
            case _:
                neighbours, hold = straight[0] if rightwards else straight[1], 4.0
        for column in graph.columns if rightwards else reversed(graph.columns):
            _settle(graph, column, neighbours, y, hold)
    return y


def _only(neighbours: list[list[int]], vertices: range) -> list[list[int]]:
    """The neighbour relation among these vertices alone."""
    return [
        [other for other in others if other in vertices] if vertex in vertices else []
        for vertex, others in enumerate(neighbours)
    ]


def _settle(graph: _Graph, column: list[int], neighbours: list[list[int]], y: list[float], hold: float) -> None:
    """Move a column towards its neighbours; what has none holds its place with the weight `hold`."""
    wanted, weights = [], []
    for vertex in column:
        pulls = [(graph.pull(vertex, other), y[other]) for other in neighbours[vertex]] or [(hold, y[vertex])]
        weight = sum(pull for pull, _ in pulls)
        weights.append(weight)
        wanted.append(sum(pull * at for pull, at in pulls) / weight)
    distances = [graph.distance(a, b) for a, b in itertools.pairwise(column)]
    for vertex, at in zip(column, _spread(wanted, weights, distances), strict=True):
        y[vertex] = at


def _spread(wanted: list[float], weights: list[float], distances: list[float]) -> list[float]:
    """Positions as near the wanted ones as least squares allow, in order and at these least distances."""
    offsets = [0.0]
    for distance in distances:
        offsets.append(offsets[-1] + distance)
    # Without the distances the positions need only not decrease: neighbours that do are merged at their mean.
    blocks: list[tuple[float, float, int]] = []
    for want, weight, offset in zip(wanted, weights, offsets, strict=True):
        mean, total, count = want - offset, weight, 1
        while blocks and blocks[-1][0] > mean:
            other_mean, other_total, other_count = blocks.pop()
            mean = (mean * total + other_mean * other_total) / (total + other_total)
            total, count = total + other_total, count + other_count
        blocks.append((mean, total, count))
    means = [mean for mean, _, count in blocks for _ in range(count)]
    return [mean + offset for mean, offset in zip(means, offsets, strict=True)]


def _finished(names: list[str], graph: _Graph, y: list[float], *, turned: list[bool]) -> Layout:
    ports = _ports(graph, y)
    top = min((y[v] - graph.height[v] / 2 for v in range(len(y))), default=0.0)
    bottom = max((y[v] + graph.height[v] / 2 for v in range(len(y))), default=0.0)

    # The extent of each column, with a stub on either side where lines run straight.
    extents: list[tuple[float, float]] = []
    x = [0.0] * len(y)
    right_edge = 0.0
    for index, column in enumerate(graph.columns):
        if index:
            rises = [abs(y[a] - y[b]) for b in column for a in graph.left[b]]
            least, most = _COLUMN_GAP
            right_edge += min(max(max(rises, default=0.0) * _COLUMN_GAP_PER_RISE, least), most)
        width = max(graph.width[vertex] for vertex in column) + 2 * _STUB
        for vertex in column:
            x[vertex] = right_edge + (width - graph.width[vertex]) / 2
        extents.append((right_edge, right_edge + width))
        right_edge += width

    extent_of = {vertex: extents[index] for index, column in enumerate(graph.columns) for vertex in column}
    routes = []
    for edge, chain in enumerate(graph.chains):
        points = _route(graph, edge, chain, x, extent_of, ports)
        shifted = [(at, height - top) for at, height in points]
        routes.append(tuple(reversed(shifted)) if turned[edge] else tuple(shifted))
    return Layout(
        boxes={
            name: Box(x[v], y[v] - graph.height[v] / 2 - top, graph.width[v], graph.height[v])
            for v, name in enumerate(names)
        },
        routes=tuple(routes),
        width=right_edge,
        height=bottom - top,
    )


# Where lines meet their boxes: (edge, place in its chain, whether on the right side) → height.
_Ports = dict[tuple[int, int, bool], float]


def _ports(graph: _Graph, y: list[float]) -> _Ports:
    """Spread the lines that meet a side of a box over that side, in the order of where they come from."""
    sides: dict[tuple[int, bool], list[tuple[float, int, int]]] = {}
    for edge, chain in enumerate(graph.chains):
        if len(chain) == 1:
            # A loop leaves above everything else on the side and comes back below.
            sides.setdefault((chain[0], True), []).extend([(float("-inf"), edge, 0), (float("inf"), edge, 1)])
            continue
        for place, vertex in enumerate(chain):
            if place:
                sides.setdefault((vertex, False), []).append((y[chain[place - 1]], edge, place))
            if place < len(chain) - 1:
                sides.setdefault((vertex, True), []).append((y[chain[place + 1]], edge, place))

    ports: _Ports = {}
    for (vertex, is_right), lines in sides.items():
        gap = min(_PORT_GAP, graph.height[vertex] * _PORT_SHARE / len(lines))
        for index, (_, edge, place) in enumerate(sorted(lines)):
            ports[edge, place, is_right] = y[vertex] + (index - (len(lines) - 1) / 2) * gap
    return ports


def _route(
    graph: _Graph,
    edge: int,
    chain: list[int],
    x: list[float],
    extent_of: Mapping[int, tuple[float, float]],
    ports: _Ports,
) -> list[Point]:
    if len(chain) == 1:
        start, (_, right) = x[chain[0]] + graph.width[chain[0]], extent_of[chain[0]]
        out, back = ports[edge, 0, True], ports[edge, 1, True]
        return [(start, out), (right, out), (right, back), (start, back)]
    points: list[Point] = []
    for place, vertex in enumerate(chain):
        left, right = extent_of[vertex]
        if place:
            height = ports[edge, place, False]
            points.append((left, height))
            if place == len(chain) - 1:
                points.append((x[vertex], height))
        if place < len(chain) - 1:
            height = ports[edge, place, True]
            if place == 0:
                points.append((x[vertex] + graph.width[vertex], height))
            points.append((right, height))
    return points
