"""`nodespan dashboard --tui`: the node and its mesh on the terminal, on Textual.

What is shown comes from other machines: it is escaped, and given to the library as text, never as its markup.
"""

import datetime
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Final

from rich.text import Text
from textual import work
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.widgets import DataTable, Footer, Header, Input, Static, TabbedContent, TabPane

from nodespan.controllers.dashboard.following import FollowedKind, FollowedStatus, Resource
from nodespan.resources.kubespan import KubeSpanPeerStatus, PeerState
from nodespan.runtime.cli.client import ask
from nodespan.runtime.cli.errors import CommandError
from nodespan.runtime.cli.why import brief, draw
from nodespan.runtime.events import Event
from nodespan.runtime.overview.report import ago, size
from nodespan.runtime.resource import ResourceDefinition
from nodespan.runtime.text.escaping import escaped

_REFRESH: Final = 0.25
_SAMPLES: Final = 16
_BARS: Final = "▁▂▃▄▅▆▇█"
_COLOURS: Final = {"up": "green", "down": "bold red", "unknown": "yellow", "error": "bold red", "warning": "yellow"}
_WORDS: Final = {"unknown": "trying"}
_RANK: Final = {"down": 0, "unknown": 1, "up": 2}
_MARKS: Final = {"error": "✗", "warning": "!", "info": "·"}
_MOST_EVENTS: Final = 300
_MOST_ROWS: Final = 12


def plain(text: object, style: str = "") -> Text:
    """A text from anywhere, as it is: without control characters, and not as markup."""
    return Text(escaped(str(text), keep="\n"), style=style)


class Traffic:
    """What a peer received and sent per second, of late."""

    def __init__(self) -> None:
        self._last: tuple[float, int] | None = None
        self._rates: deque[float] = deque(maxlen=_SAMPLES)

    def take(self, now: float, count: int) -> None:
        """The bytes so far."""
        if self._last is not None and now > self._last[0]:
            self._rates.append(max(0, count - self._last[1]) / (now - self._last[0]))
        self._last = (now, count)

    def bars(self) -> str:
        """A character for each sample, by its part of the highest."""
        highest = max(self._rates, default=0.0)
        if not highest:
            return ""
        return "".join(_BARS[min(len(_BARS) - 1, int(rate / highest * len(_BARS)))] for rate in self._rates)


class DashboardApp(App[None]):
    """The terminal's dashboard about the agent at a socket."""

    TITLE = "nodespan"
    CSS = """
    DataTable { height: 1fr; }
    #status, #detail { padding: 0 1; }
    #types { width: 38; border-right: solid $panel; }
    #found { height: 1fr; }
    #detail-scroll { height: 1fr; border-top: solid $panel; }
    Input { height: 3; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("1", "tab('overview')", "Overview"),
        Binding("2", "tab('mesh')", "Mesh"),
        Binding("3", "tab('events')", "Events"),
        Binding("4", "tab('resources')", "Resources"),
        Binding("slash", "find", "Find", key_display="/"),
        Binding("d", "toggle_dark", "Dark/light"),
        Binding("q", "quit", "Quit"),
    ]

    def __init__(self, socket: str) -> None:
        super().__init__()
        self._agent = socket
        self._status = FollowedStatus(socket)
        self._peers = FollowedKind(socket, KubeSpanPeerStatus.name)
        self._events = FollowedKind(socket, Event.name)
        self._definitions = FollowedKind(socket, ResourceDefinition.name)
        self._chosen: FollowedKind | None = None
        self._traffic: dict[str, Traffic] = {}
        self._order: list[str] = []

    def compose(self) -> ComposeResult:
        """The tabs."""
        yield Header(show_clock=True)
        with TabbedContent(initial="overview"):
            with TabPane("Overview", id="overview"), VerticalScroll():
                yield Static(id="status")
            with TabPane("Mesh", id="mesh"):
                yield Input(placeholder="Find a peer", id="find-peer")
                yield self._table("peers", "State", "Peer", "Endpoint", "Handshake", "Received", "Sent", "Traffic")
            with TabPane("Events", id="events"):
                yield self._table("log", "Time", "Kind", "What")
            with TabPane("Resources", id="resources"), Horizontal():
                with Vertical(id="types"):
                    yield Input(placeholder="Find a type", id="find-type")
                    yield self._table("kinds", "Type")
                with Vertical():
                    yield self._table("found", "Id", "Version", "Owner")
                    with VerticalScroll(id="detail-scroll"):
                        yield Static(id="detail")
        yield Footer()

    @staticmethod
    def _table(id: str, *columns: str) -> DataTable[Text]:
        table: DataTable[Text] = DataTable(id=id, cursor_type="row", zebra_stripes=True)
        for column in columns:
            table.add_column(column, key=column)
        return table

    def on_mount(self) -> None:
        """Look for changes from now on."""
        self.set_interval(_REFRESH, self.refresh_all)

    def on_unmount(self) -> None:
        """End all watches."""
        for each in (self._status, self._peers, self._events, self._definitions, self._chosen):
            if each is not None:
                each.close()

    def action_tab(self, name: str) -> None:
        """Show a tab, with the keyboard in its table."""
        self.query_one(TabbedContent).active = name
        focus = {"mesh": "#peers", "events": "#log", "resources": "#kinds"}.get(name)
        if focus:
            self.query_one(focus).focus()

    def action_find(self) -> None:
        """Type what to find."""
        tab = self.query_one(TabbedContent).active
        if tab in ("mesh", "resources"):
            self.query_one("#find-peer" if tab == "mesh" else "#find-type").focus()

    def action_toggle_dark(self) -> None:
        """Change between dark and light."""
        self.theme = "textual-light" if self.current_theme.dark else "textual-dark"

    def on_input_changed(self, event: Input.Changed) -> None:
        """Show what was found."""
        if event.input.id == "find-peer":
            self._show_peers(set(), is_other=True)
        else:
            self._show_types()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Go on in the table."""
        self.query_one("#peers" if event.input.id == "find-peer" else "#kinds").focus()

    def refresh_all(self) -> None:
        """Show what has changed."""
        if not self.query("#peers"):
            return  # it is being taken apart
        if (report := self._status.take()) is not None:
            self.title = escaped(f"nodespan {report['node']}")
            self.query_one("#status", Static).update(status_text(report))
        if self._status.follower.failure:
            self.query_one("#status", Static).update(plain(self._status.follower.failure))
        self.sub_title = "" if self._status.follower.is_up else "the agent is away"
        self._take_peers()
        self._take_events()
        definitions, changed = self._definitions.take()
        if changed:
            self._types = sorted(each["spec"]["type"] for each in definitions.values())
            self._show_types()
        if self._chosen is not None:
            items, changed = self._chosen.take()
            if changed or self._chosen.follower.failure:
                self._show_items(items)

    # Peers.

    def _take_peers(self) -> None:
        before = {id: peer["spec"]["state"] for id, peer in getattr(self, "_known", {}).items()}
        self._known, changed = self._peers.take()
        now = self._now().timestamp()
        for id in changed & self._known.keys():
            spec = self._known[id]["spec"]
            self._traffic.setdefault(id, Traffic()).take(now, spec["receiveBytes"] + spec["transmitBytes"])
        for id in self._traffic.keys() - self._known.keys():
            del self._traffic[id]
        after = {id: peer["spec"]["state"] for id, peer in self._known.items()}
        self._show_peers(changed, is_other=before != after)

    def _show_peers(self, changed: set[str], *, is_other: bool) -> None:
        table: DataTable[Text] = self.query_one("#peers", DataTable)
        wanted = self.query_one("#find-peer", Input).value.strip().lower()
        if is_other:
            shown = [id for id, peer in self._known.items() if wanted in f"{id} {peer['spec']['label']}".lower()]
            self._order = sorted(shown, key=self._rank)
            cursor = table.cursor_row
            table.clear()
            for id in self._order:
                table.add_row(*self._peer_cells(id), key=id)
            table.move_cursor(row=min(cursor, len(self._order) - 1))
            return
        for id in changed:
            if id in self._known and id in table.rows:
                for column, cell in zip(table.columns, self._peer_cells(id), strict=True):
                    table.update_cell(id, column, cell)

    def _rank(self, id: str) -> tuple[int, str, str]:
        spec = self._known[id]["spec"]
        return _RANK.get(spec["state"], 0), spec["label"], id

    def _peer_cells(self, id: str) -> tuple[Text, ...]:
        spec = self._known[id]["spec"]
        state = spec["state"]
        return (
            plain(f"● {_WORDS.get(state, state)}", _COLOURS.get(state, "")),
            plain(spec["label"] or id, "bold"),
            plain(spec["endpoint"] or "none"),
            plain(self._since(spec["lastHandshakeTime"])),
            plain(size(spec["receiveBytes"])),
            plain(size(spec["transmitBytes"])),
            plain(self._traffic[id].bars() if id in self._traffic and state == PeerState.UP else "", "cyan"),
        )

    def _since(self, time: str) -> str:
        moment = datetime.datetime.fromisoformat(time)
        return "never" if moment.year == 1 else f"{ago(moment, self._now())} ago"

    @staticmethod
    def _now() -> datetime.datetime:
        return datetime.datetime.now(datetime.UTC)

    # Events.

    def _take_events(self) -> None:
        events, changed = self._events.take()
        if not changed:
            return
        table: DataTable[Text] = self.query_one("#log", DataTable)
        table.clear()
        for id in sorted(events, reverse=True)[:_MOST_EVENTS]:
            spec = events[id]["spec"]
            moment = datetime.datetime.fromisoformat(spec["time"]).astimezone()
            colour = _COLOURS.get(spec["severity"], "")
            table.add_row(plain(moment.strftime("%H:%M:%S")), plain(spec["kind"], colour), plain(spec["text"]), key=id)

    # Resources.

    def _show_types(self) -> None:
        table: DataTable[Text] = self.query_one("#kinds", DataTable)
        wanted = self.query_one("#find-type", Input).value.strip().lower()
        table.clear()
        for type in getattr(self, "_types", ()):
            if wanted in type.lower():
                table.add_row(plain(type), key=type)

    def _show_items(self, items: dict[str, Resource]) -> None:
        table: DataTable[Text] = self.query_one("#found", DataTable)
        cursor = table.cursor_row
        table.clear()
        for id in sorted(items):
            metadata = items[id]["metadata"]
            table.add_row(plain(id, "bold"), plain(metadata["version"]), plain(metadata["owner"]), key=id)
        table.move_cursor(row=max(0, min(cursor, len(items) - 1)))
        if self._chosen is not None and self._chosen.follower.failure:
            self.query_one("#detail", Static).update(plain(self._chosen.follower.failure))

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        """Show the resources of a type, or what a resource holds."""
        key = event.row_key.value or ""
        if event.data_table.id == "kinds":
            if self._chosen is not None:
                self._chosen.close()
            self._type, self._chosen = key, FollowedKind(self._agent, key)
            self._show_items({})
            self.query_one("#found").focus()
        elif event.data_table.id == "found":
            self.show_detail(self._type, key)

    @work(thread=True, exclusive=True)
    def show_detail(self, type: str, id: str) -> None:
        """Ask for a resource as YAML, and for what it was made from."""
        parts = (("", lambda: _yaml(self._agent, type, id)), ("Why\n", lambda: _why(self._agent, type, id)))
        text = Text("\n").join(_part(title, make) for title, make in parts)
        self.call_from_thread(self.query_one("#detail", Static).update, text)


def _part(title: str, make: Callable[[], str]) -> Text:
    try:
        return Text.assemble((title, "bold"), plain(make()))
    except CommandError as error:
        return plain(error, "red")


def _yaml(socket: str, type: str, id: str) -> str:
    # With the rights of others: nothing sensitive is on a screen that somebody may look at.
    request = {"call": "get", "type": type, "namespace": "", "id": id, "selectors": [], "watch": False, "form": "yaml"}
    return "".join(answer["yaml"] for answer in ask(socket, {**request, "as": "reader"}) if "yaml" in answer)


def _why(socket: str, type: str, id: str) -> str:
    causes = ask(socket, {"call": "why", "type": type, "namespace": "", "id": id, "depth": 6})
    return "\n".join(draw(brief(causes)))


def status_text(report: dict[str, Any]) -> Text:
    """The status of a node: what is wrong first, then each section."""
    healthy = plain("healthy", "bold green") if report["healthy"] else plain("not healthy", "bold red")
    lines = [Text.assemble(plain(report["node"], "bold"), "  ", healthy), Text()]
    findings = [finding for section in report["sections"] for finding in section["findings"]]
    for finding in sorted(findings, key=lambda each: list(_MARKS).index(each["severity"])):
        style = _COLOURS.get(finding["severity"], "")
        lines.append(plain(f"{_MARKS[finding['severity']]} {finding['text']}", style))
        if finding["remedy"]:
            lines.append(plain(f"  {finding['remedy']}", "dim"))
    for section in report["sections"]:
        if section["facts"] or section["table"]:
            lines += [Text(), plain(section["title"], "bold underline"), *_section_lines(section)]
    return Text("\n").join(lines)


def _section_lines(section: dict[str, Any]) -> Iterable[Text]:
    for label, text in section["facts"]:
        yield Text.assemble(plain(f"{label:<16}", "dim"), plain(text))
    table = section["table"]
    if not table:
        return
    shown, left = table["rows"][:_MOST_ROWS], len(table["rows"]) - _MOST_ROWS
    rows = [table["columns"], *(row["cells"] for row in shown)]
    widths = [max(len(escaped(str(row[index]))) for row in rows) for index in range(len(table["columns"]))]
    styles = ["dim", *(_COLOURS.get(row["severity"], "") for row in shown)]
    for row, style in zip(rows, styles, strict=True):
        cells = (escaped(str(cell)).ljust(width) for cell, width in zip(row, widths, strict=True))
        yield Text("  ".join(cells).rstrip(), style=style)
    if left > 0:
        yield plain(f"and {left:,} more", "dim")


def show(socket: str) -> None:
    """Show the dashboard until its user leaves it. Blocks."""
    DashboardApp(socket).run()
