"""The documentation site: its generated pages, its order, and the whole of it as MkDocs makes it."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deploy.errors import BuildError
from deploy.site import build, messages, resources
from deploy.site.build import loads_from_elsewhere
from deploy.site.field_docs import fields
from deploy.site.markdown import anchor, plain
from deploy.site.mesh_picture import Line, draw, shortened
from deploy.site.nav import NAV, arranged
from deploy.site.resources import all_types
from deploy.site.values import example, type_text
from deploy.tree import project_version
from nodespan.resources.config.main import MachineFile
from nodespan.resources.config.nodespan import VipSettings
from nodespan.runtime.codec.plain import spec_from_plain, spec_to_plain

ROOT = Path(__file__).parents[2]
RECORDING = """\
creating the cluster 'demo' of 3 nodes, in network namespaces of this machine
  a: b is unknown at 198.51.100.12:51820
  a: b is up at 198.51.100.12:51820
  a: c is up at 198.51.100.3:51820
  b: a is up at <198.51.100.11>
"""


@pytest.mark.parametrize("type", [type for type in all_types() if not hasattr(type.spec_class, "to_plain")], ids=str)
def test_the_example_of_every_type_is_one(type: Any) -> None:
    made = example(type.spec_class)
    assert spec_from_plain(type.spec_class, spec_to_plain(made)) == made


def test_a_field_is_described_by_the_string_under_it() -> None:
    (ttl, conditions) = fields(VipSettings)
    assert (ttl.name, type_text(ttl.hint)) == ("leaseTTL", "duration, as `1m30s`")
    assert ttl.text.startswith("How long a holder")
    assert type_text(conditions.hint) == "list of [VipCondition](#vipcondition-configuration)"
    content, permissions, *_ = fields(MachineFile)
    assert content.is_secret
    assert type_text(permissions.hint) == "octal number, 0 to 07777"


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ('at("mtu", message="too small")', "too small"),
        ('at(message=f"{quote(link.name)} has {len(names)} names")', "{name} has {names} names"),
        ('at(message="a" + f" {spec.mtu:>4}")', "a {mtu}"),
        ('at(message="yes" if ok else "no")', "yes / no"),
        ('text = f"the {kind}"\nat(message=text)', "the {kind}"),
        ('text = "one"\ntext = "two"\nat(message=text)', "one / two"),
        ('text = f"more {text}"\nat(message=text)', "more {text}"),
        ('one = f"a {two}"\ntwo = f"b {one}"\nat(message=f"{one}")', "a b {one}"),
        ("at(message=unknown)", "{unknown}"),
        ("at()", ""),
    ],
)
def test_the_text_of_a_message_is_read_from_its_call(source: str, text: str) -> None:
    tree = ast.parse(source)
    (call,) = (node for node in ast.walk(tree) if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "at")
    message = next((keyword.value for keyword in call.keywords if keyword.arg == "message"), None)
    assert messages.text_of(message, tree) == text


def test_problems_and_events_are_read_from_the_code() -> None:
    told = {source.title: len(messages.problems(source)) for source in messages.SOURCES}
    assert all(count > 5 for count in told.values()), told
    assert any(event.text == "link {id} is gone" and event.severity == "warning" for event in messages.events())


def test_links_to_parts_are_unambiguous() -> None:
    for page, text in resources.pages().items():
        headings = [anchor(heading) for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE)]
        assert len(headings) == len(set(headings)), page


def test_pages_of_reference_do_not_mean_markup_that_a_text_has_by_chance() -> None:
    assert plain("a*b* <i> [x] `c` | d_e_") == r"a\*b\* \<i\> \[x\] \`c\` \| d\_e\_"
    assert anchor("What happened: `nodespan events`") == "what-happened-nodespan-events"


def test_a_page_that_the_order_does_not_know_stands_at_the_end() -> None:
    nav = arranged(["index.md", "kubespan.md", "adr/README.md", "adr/0001-x.md", "new.md", "source/examples/x.md"])
    assert nav == [
        {"nodespan": "index.md"},
        {"How to": [{"Set up": ["kubespan.md"]}]},
        {"Explanation": [{"Decisions": ["adr/README.md", "adr/0001-x.md"]}]},
        {"More": ["new.md"]},
    ]


def test_the_order_names_pages_that_exist() -> None:
    named = re.findall(r"'([\w/.-]+\.md)'", str(NAV))
    written = [
        page
        for page in named
        if not page.startswith("reference/") and page not in {"changelog.md", "contributing.md", "reporting.md"}
    ]
    assert [page for page in written if not (ROOT / "docs" / page).exists()] == []


@pytest.mark.parametrize(
    ("name", "text", "is_found"),
    [
        ("a.html", '<script src="https://unpkg.com/x"></script>', True),
        ("a.html", '<script src="assets/x.js"></script>', False),
        ("a.html", '<img alt="x" src="//example.org/x.png">', True),
        ("a.html", '<link rel="stylesheet" href="https://fonts.googleapis.com/css">', True),
        ("a.html", '<link href="https://fonts.gstatic.com" rel="preconnect" crossorigin>', True),
        ("a.html", '<link rel="canonical" href="https://example.org/">', False),
        ("a.html", '<a href="https://example.org/">x</a>', False),
        ("a.css", "@import url(https://example.org/x.css);", True),
        ("a.css", "background: url('//example.org/x.png')", True),
        ("a.css", "background: url(data:image/svg+xml;base64,AAAA)", False),
    ],
)
def test_what_a_page_would_load_from_elsewhere_is_found(tmp_path: Path, name: str, text: str, is_found: bool) -> None:
    (tmp_path / name).write_text(text)
    assert bool(loads_from_elsewhere(tmp_path)) == is_found


def test_the_versions_are_listed_and_the_newest_is_offered(tmp_path: Path) -> None:
    for version in ("0.9.0", "0.10.0", "0.2.0"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "sitemap.xml").touch()
    build.list_versions(tmp_path)
    listed = json.loads((tmp_path / "versions.json").read_text())
    assert [entry["version"] for entry in listed] == ["0.10.0", "0.9.0", "0.2.0"]
    assert "0; url=0.10.0/index.html" in (tmp_path / "index.html").read_text()


def test_the_moving_picture_shows_a_tunnel_when_both_ends_are_up() -> None:
    picture = draw([Line(0.5 * index, text) for index, text in enumerate(RECORDING.splitlines())])
    assert re.findall(r'id="(t\w+)"', picture) == ["tab"]  # of a and c one end is up
    assert "b: a is up at &lt;198.51.100.11&gt;" in picture
    (appears,) = re.findall(r"@keyframes tab \{ 0.000% \{ opacity: 0; \} ([\d.]+)%", picture)
    assert float(appears) == pytest.approx(100 * 2.0 / 8.0)
    assert "http" not in picture.replace("http://www.w3.org/2000/svg", "")


def test_waits_of_a_recording_are_shortened() -> None:
    lines = [Line(0.5, "a"), Line(7.5, "b"), Line(7.75, "c")]
    assert [line.at for line in shortened(lines, 1.0)] == [0.5, 1.5, 1.75]


def test_a_long_recording_scrolls() -> None:
    picture = draw([Line(float(index), f"line {index}") for index in range(30)])
    assert "translate(0, -112px)" in picture  # the command and 30 lines, of which 24 are seen


def mkdocs(monkeypatch: pytest.MonkeyPatch, page: str, *, status: int = 0, said: str = "") -> None:
    """Stands in for MkDocs: makes a site of one page."""

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        site = Path(command[command.index("--site-dir") + 1])
        site.mkdir()
        (site / "index.html").write_text(page)
        (site / "sitemap.xml").touch()
        return subprocess.CompletedProcess(command, status, "", said)

    monkeypatch.setattr(subprocess, "run", run)


def test_a_directory_to_work_in_keeps_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mkdocs(monkeypatch, "fine", said="a part of it is deprecated")
    (tmp_path / "notes").touch()
    for version in ("0.2.0rc1", "0.2.0", "0.2.0", "trial"):
        site = build.build(tmp_path, tmp_path / "out", pages={"index.md": "# A"}, version=version)
        assert (site / "index.html").read_text() == "fine"
    assert (tmp_path / "notes").exists()
    listed = json.loads((tmp_path / "out/versions.json").read_text())
    assert [each["version"] for each in listed] == ["0.2.0", "0.2.0rc1", "trial"]
    assert "url=0.2.0/index.html" in (tmp_path / "out/index.html").read_text()


@pytest.mark.parametrize(
    ("page", "status", "fault"),
    [("<script src='https://example.org/x.js'>", 0, "load from other hosts"), ("", 1, "cannot be built:\nbroken")],
)
def test_a_site_that_is_refused_does_not_replace_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, page: str, status: int, fault: str
) -> None:
    mkdocs(monkeypatch, "fine")
    arguments = {"pages": {"index.md": "# A"}, "version": "0.2.0"}
    site = build.build(tmp_path / "work", tmp_path / "out", **arguments)  # type: ignore[arg-type]
    mkdocs(monkeypatch, page, status=status, said="broken")
    with pytest.raises(BuildError, match=fault):
        build.build(tmp_path / "work", tmp_path / "out", **arguments)  # type: ignore[arg-type]
    assert (site / "index.html").read_text() == "fine"


@pytest.mark.process
@pytest.mark.slow
def test_the_site_is_made_without_a_warning_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    places = ("--output", str(tmp_path / "out"), "--work", str(tmp_path / "work"))
    # tests/browser/test_site.py has one in colours.
    command = [sys.executable, "-m", "deploy.site", "--draft", *places]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    site = tmp_path / "out" / project_version()
    found = (site / "search/search_index.json").read_text()
    for text in ("KubeSpanPeerStatus", "leaseTTL", "nodespan init", "link {id} is gone", "eventually"):
        assert text in found, f"search does not find {text}"
    assert 'href="reference/problems.html">problems</a>' in (site / "index.html").read_text()
    page = (site / "reference/resources/kubespan.html").read_text()
    assert 'id="kubespanpeerstatus"' in page
    assert "Whether the peer answers." in page
    assert (site / "reference/cli/nodespan-get.1").read_text().startswith(".TH")
