"""`nodespan dashboard`: its options, and what it says when it cannot serve."""

import argparse
import shlex
import stat
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import structlog

from nodespan.controllers.config.masked_text import mask_text
from nodespan.controllers.dashboard.command import DashboardCommand, _serve
from nodespan.controllers.dashboard.listening import Dashboard
from nodespan.runtime.api.browser.door import Rights
from nodespan.runtime.api.browser.serving import ListenError
from nodespan.runtime.cli.errors import CommandError
from tests.controllers.config.samples import SECRET


def options(line: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    DashboardCommand().add_arguments(parser)
    return parser.parse_args(shlex.split(line))


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> list[Dashboard]:
    """An agent that answers; the dashboards that would be served."""
    served: list[Dashboard] = []
    monkeypatch.setattr("nodespan.runtime.cli.client.ask", lambda _path, _request: [])

    def serve(dashboard: Dashboard, *, has_browser: bool) -> int:
        served.append(dashboard)
        return 0

    monkeypatch.setattr("nodespan.controllers.dashboard.command._serve", serve)
    return served


def test_by_default_it_is_for_this_machine_with_all_rights(answering: list[Dashboard]) -> None:
    assert DashboardCommand().run(options("--socket /agent.sock")) == 0
    (dashboard,) = answering
    assert (dashboard.host, dashboard.port, dashboard.rights) == ("127.0.0.1", 0, Rights.ALL)
    assert dashboard.url(9080) == f"http://127.0.0.1:9080/?token={dashboard.token}"
    assert dashboard.token not in repr(dashboard)


def test_a_reader_and_an_address_can_be_chosen(answering: list[Dashboard]) -> None:
    DashboardCommand().run(options("--socket /agent.sock --reader --listen '[::1]:9' --host dash.example.org"))
    (dashboard,) = answering
    assert (dashboard.rights, dashboard.host, dashboard.hosts) == (Rights.READER, "::1", ("dash.example.org",))
    assert dashboard.url(9).startswith("http://[::1]:9/?token=")


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("--listen here", "write it like"),
        ("--listen 127.0.0.1:x", "write it like"),
        ("--listen 127.0.0.1:70000", "write it like"),
        ("--tls-cert a", "go together"),
    ],
)
def test_mistakes_are_told(line: str, text: str, answering: list[Dashboard]) -> None:
    with pytest.raises(CommandError, match=text):
        DashboardCommand().run(options(f"--socket /agent.sock {line}"))
    assert answering == []


def test_without_an_agent_it_says_so_before_it_serves(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="no agent answers"):
        DashboardCommand().run(options(f"--socket {tmp_path / 'none.sock'}"))


def test_without_the_library_for_terminals_it_says_what_to_install(
    answering: list[Dashboard], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "textual", None)
    for name in [name for name in sys.modules if name.endswith("dashboard.terminal") or name.startswith("textual.")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(CommandError, match=r"pip install 'nodespan\[tui\]'"):
        DashboardCommand().run(options("--socket /agent.sock --tui"))


def test_the_browser_is_led_to_the_url_by_a_file_of_the_user(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    opened: list[tuple[str, str, int]] = []

    def open_browser(url: str) -> bool:
        file = Path(urlsplit(url).path)
        opened.append((url, file.read_text(), stat.S_IMODE(file.stat().st_mode)))
        raise KeyboardInterrupt

    monkeypatch.setattr("webbrowser.open", open_browser)
    monkeypatch.setenv("DISPLAY", ":0")
    dashboard = Dashboard(socket=Path("/agent.sock"), host="127.0.0.1", port=0, token="only-for-me")
    assert _serve(dashboard, has_browser=True) == 0
    ((url, text, mode),) = opened
    assert url.startswith("file:///")
    assert "only-for-me" not in url
    assert f"url={capsys.readouterr().out.strip()}" in text
    assert mode == 0o600
    assert not Path(urlsplit(url).path).exists()


async def test_an_address_that_others_reach_is_refused_without_tls() -> None:
    dashboard = Dashboard(socket=Path("/agent.sock"), host="192.0.2.1", port=0, token="x")
    with pytest.raises(ListenError, match=r"mutual TLS: give cert, key and the ca .* or ssh -L"):
        await dashboard.serve(structlog.get_logger())


def test_no_secret_is_left_in_the_configuration_that_is_shown() -> None:
    text = f"cluster:\n  secret: {SECRET}\n  id: a\nmachine:\n  token: abc.def\n  ca: {{crt: QUJD, key: WFla}}\n"
    masked = mask_text(text)
    assert not any(secret in masked for secret in (SECRET, "abc.def", "QUJD", "WFla"))
    assert "id: a" in masked
