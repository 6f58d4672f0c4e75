"""The moving picture of a mesh that comes up: a run of `nodespan cluster create`, recorded and drawn as an SVG.

`python -m deploy.site.mesh_picture FILE`, as root: `make pictures` calls it. The picture is one file that loads
nothing, and shows its last state to those who asked their system for less motion.
"""

import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from xml.sax.saxutils import escape

import attrs

# What ends the recording: from here on the command tells what else to try.
_END = "in another terminal"
_COMMAND = "sudo nodespan cluster create"
_CHANGE = re.compile(r"\s*(\w+): (\w+) is (\w+)")
# Where the stations are in the map; the last node is behind a router.
_PLACES = {"a": (90, 160), "b": (290, 160), "c": (190, 330)}
_DISCOVERY = (190, 60)
_ROUTER = (190, 262)
_WIDTH, _HEIGHT, _MAP_LEFT = 1000, 440, 610
_LINE_HEIGHT, _TOP = 16, 44
# How many lines of the terminal are shown at a time, and for how long the end stays, in seconds.
_ROWS = 24
_REST = 6.0
# The longest wait between two lines that is shown, in seconds.
_LONGEST_WAIT = 1.0
# How long anything takes to appear, in seconds.
_STEP = 0.02
_COLUMNS = 80


@attrs.frozen
class Line:
    """A line of the recording, and when it came, in seconds."""

    at: float
    text: str


def record(command: list[str]) -> list[Line]:
    """Run the command until it has told all, and end it. Raises ChildProcessError if it fails before."""
    began = time.monotonic()
    lines: list[Line] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        for text in process.stdout:
            if text.startswith(_END):
                process.send_signal(signal.SIGINT)
                break
            lines.append(Line(time.monotonic() - began, text.rstrip("\n")))
        rest = process.stdout.read()
    if not any("tunnel ends are up" in line.text for line in lines):
        raise ChildProcessError("\n".join([*(line.text for line in lines), rest]))
    return lines


def shortened(lines: list[Line], longest: float = _LONGEST_WAIT) -> list[Line]:
    """The recording with no wait between two lines longer than this: what the run took stands in its text."""
    found: list[Line] = []
    before = at = 0.0
    for line in lines:
        at += min(line.at - before, longest)
        before = line.at
        found.append(Line(at, line.text))
    return found


def draw(lines: list[Line]) -> str:
    """The recording as an animated SVG."""
    rows = [Line(0.0, f"$ {_COMMAND}"), *_without_blank_end(lines)]
    total = rows[-1].at + _REST
    styles: list[str] = []
    parts = [*_frame(), *_terminal(rows, styles, total), *_map(rows, styles, total)]
    style = "\n".join([*_STYLE, "@media (prefers-reduced-motion: no-preference) {", *styles, "}"])
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}" '
        'role="img" aria-label="A terminal in which a mesh of three nodes comes up, and a map of its tunnels">'
    )
    return "\n".join([head, f"<style>\n{style}\n</style>", *parts, "</svg>", ""])


_STYLE = [
    "text { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; font-size: 12px; fill: #c9d1d9; }",
    ".quiet { fill: #8b949e; } .good { fill: #56d364; } .name { font-weight: bold; }",
    ".box { fill: #161b22; stroke: #30363d; } .wire { stroke: #30363d; stroke-width: 1.5; stroke-dasharray: 3 4; }",
    ".tunnel { stroke: #56d364; stroke-width: 3; } .node { fill: #0d1117; stroke: #56d364; stroke-width: 2; }",
]


def _frame() -> Iterator[str]:
    yield f'<rect width="{_WIDTH}" height="{_HEIGHT}" rx="10" fill="#0d1117"/>'
    for index, color in enumerate(("#ff5f56", "#ffbd2e", "#27c93f")):
        yield f'<circle cx="{20 + 18 * index}" cy="18" r="5.5" fill="{color}"/>'
    yield f'<line x1="{_MAP_LEFT}" y1="36" x2="{_MAP_LEFT}" y2="{_HEIGHT - 16}" stroke="#30363d"/>'


def _terminal(rows: list[Line], styles: list[str], total: float) -> Iterator[str]:
    """The lines, each from its time on; all move up with each line that finds no room."""
    scrolls = [row.at for row in rows[_ROWS:]]
    styles += _animation("scroll", _scrolling(scrolls), total)
    bottom = _LINE_HEIGHT * _ROWS + 8
    yield f'<clipPath id="screen"><rect x="0" y="{_TOP - 11}" width="{_MAP_LEFT}" height="{bottom}"/></clipPath>'
    yield f'<g clip-path="url(#screen)"><g id="scroll" transform="translate(0 {-_LINE_HEIGHT * len(scrolls)})">'
    for index, row in enumerate(rows):
        if row.text:
            kind = "name" if index == 0 else "good" if " is up" in row.text or "are up" in row.text else ""
            styles += _animation(f"l{index}", _appearing(row.at), total)
            yield (
                f'<text id="l{index}" class="{kind}" x="20" y="{_TOP + _LINE_HEIGHT * index}" xml:space="preserve">'
                f"{escape(_cut(row.text))}</text>"
            )
    yield "</g></g>"


def _map(rows: list[Line], styles: list[str], total: float) -> Iterator[str]:
    """The nodes, and the tunnels between them, each from when both of its ends are up."""
    yield f'<g transform="translate({_MAP_LEFT} 0)">'
    (x, y), (router_x, router_y) = _DISCOVERY, _ROUTER
    for place in (_PLACES["a"], _PLACES["b"], _ROUTER):
        yield f'<line class="wire" x1="{x}" y1="{y}" x2="{place[0]}" y2="{place[1]}"/>'
    yield f'<line class="wire" x1="{router_x}" y1="{router_y}" x2="{_PLACES["c"][0]}" y2="{_PLACES["c"][1]}"/>'
    for pair, at in _pairs_up(rows).items():
        (ax, ay), (bx, by) = (_PLACES[name] for name in sorted(pair))
        name = "t" + "".join(sorted(pair))
        styles += _animation(name, _appearing(at), total)
        yield f'<line id="{name}" class="tunnel" x1="{ax}" y1="{ay}" x2="{bx}" y2="{by}"/>'
    yield f'<rect class="box" x="{x - 62}" y="{y - 16}" width="124" height="30" rx="6"/>'
    yield f'<text class="quiet" x="{x}" y="{y + 4}" text-anchor="middle">discovery service</text>'
    yield f'<rect class="box" x="{router_x - 44}" y="{router_y - 13}" width="88" height="26" rx="6"/>'
    yield f'<text class="quiet" x="{router_x}" y="{router_y + 4}" text-anchor="middle">NAT router</text>'
    for name, (node_x, node_y) in _PLACES.items():
        yield f'<circle class="node" cx="{node_x}" cy="{node_y}" r="24"/>'
        yield f'<text class="name" x="{node_x}" y="{node_y + 4}" text-anchor="middle">{name}</text>'
    yield f'<text class="quiet" x="190" y="{_HEIGHT - 40}" text-anchor="middle">green: an encrypted tunnel is up</text>'
    yield f'<text class="quiet" x="190" y="{_HEIGHT - 22}" text-anchor="middle">waits are shortened</text>'
    yield "</g>"


def _pairs_up(rows: list[Line]) -> dict[frozenset[str], float]:
    """When both ends of each pair were up for the first time."""
    ends: dict[tuple[str, str], float] = {}
    for row in rows:
        if (match := _CHANGE.match(row.text)) and match[3] == "up" and {match[1], match[2]} <= _PLACES.keys():
            ends.setdefault((match[1], match[2]), row.at)
    return {
        frozenset(pair): max(at, ends[pair[::-1]])
        for pair, at in ends.items()
        if pair[::-1] in ends and pair[0] < pair[1]
    }


def _appearing(at: float) -> list[tuple[float, str]]:
    return [(0.0, "opacity: 0"), (at, "opacity: 0"), (at + _STEP, "opacity: 1")]


def _scrolling(times: list[float]) -> list[tuple[float, str]]:
    steps = [(0.0, "transform: translate(0, 0)")]
    for count, at in enumerate(times):
        up, further = _LINE_HEIGHT * count, _LINE_HEIGHT * (count + 1)
        steps += [(at, f"transform: translate(0, {-up}px)"), (at + _STEP, f"transform: translate(0, {-further}px)")]
    return steps


def _animation(name: str, steps: list[tuple[float, str]], total: float) -> list[str]:
    """The animation of an element, which begins again with the recording. Its last step stays."""
    steps = [*steps, (total, steps[-1][1])]
    frames = " ".join(f"{100 * min(at, total) / total:.3f}% {{ {what}; }}" for at, what in steps)
    return [f"@keyframes {name} {{ {frames} }}", f"#{name} {{ animation: {name} {total:.2f}s linear infinite; }}"]


def _cut(text: str) -> str:
    """What of a line fits, in whole columns of a table."""
    return text if len(text) <= _COLUMNS else text[:_COLUMNS].rpartition("  ")[0].rstrip() or text[:_COLUMNS]


def _without_blank_end(lines: list[Line]) -> list[Line]:
    last = max((index for index, line in enumerate(lines) if line.text.strip()), default=-1)
    return lines[: last + 1]


def main(output: Path) -> None:
    """Record a run and draw it."""
    nodespan = shutil.which("nodespan", path=str(Path(sys.executable).parent)) or "nodespan"
    output.write_text(draw(shortened(record([nodespan, "cluster", "create"]))))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
