"""The site from its pages: MkDocs makes it, strictly, below a directory per version, and a list of versions beside."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from packaging.version import InvalidVersion, Version

from deploy.errors import BuildError
from deploy.site.nav import arranged
from deploy.site.pages import ROOT, collected
from deploy.tree import project_version
from nodespan.runtime.codec.yamltext import dump

HERE = Path(__file__).parent
_SETTINGS = HERE / "mkdocs.yml"
# What a page of the site must not load anything from: another host.
_LOADS = re.compile(
    r"""<(?:script|img|iframe|source|audio|video)\b[^>]*\bsrc=["']?(?:https?:)?//[^"'\s>]+"""
    r"""|<link\b(?=[^>]*\brel=["']?(?:stylesheet|preload|preconnect|icon|prefetch))[^>]*"""
    r"""\bhref=["']?(?:https?:)?//[^"'\s>]+"""
)
_IN_STYLES = re.compile(r"""(?:@import\s+(?:url\()?|url\()\s*["']?(?:https?:)?//[^"')\s]+""")


# A quarter of the time goes into these.
_COLOURS = ("use_pygments: true", "use_pygments: false")


def write_sources(work: Path, pages: Mapping[str, str], *, draft: bool = False) -> Path:
    """The pages, pictures and settings, in a folder of their own below `work`; returns the settings."""
    # Never `work` itself, which the caller chose: it may hold anything.
    sources = work / "nodespan-site"
    if sources.exists():
        shutil.rmtree(sources)
    docs = sources / "docs"
    for name, text in pages.items():
        place = docs / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    for path in sorted((ROOT / "docs").rglob("*")):
        if path.suffix in {".svg", ".png"}:
            place = docs / path.relative_to(ROOT / "docs")
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place)
    shutil.copytree(HERE / "static", docs / "assets")
    nav = arranged([name for name in pages if name.endswith(".md")])
    settings = sources / "mkdocs.yml"
    tree = dump({"nav": nav, "theme_dir": ""}).partition("theme_dir")[0]
    text = _SETTINGS.read_text().replace("THEME", str(HERE / "theme")).replace("ROOT", str(ROOT))
    if draft:
        text = text.replace(*_COLOURS)
    settings.write_text(f"{text}\n{tree}")
    return settings


def build(
    work: Path, output: Path, *, pages: Mapping[str, str] | None = None, version: str = "", draft: bool = False
) -> Path:
    """Make the site of a version below `output`, of all pages unless others are given; as a draft without colours.

    Raises BuildError with what MkDocs complains about; then the site that was there before stays.
    """
    settings = write_sources(work, collected() if pages is None else pages, draft=draft)
    site = output / (version or project_version())
    made = settings.parent / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--config-file", str(settings)]
    done = subprocess.run(
        [*command, "--site-dir", str(made.resolve())],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        # What the theme says of its successor is no warning about these pages.
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )
    # Warnings of MkDocs are in its status. What else it prints is about its own parts, such as a deprecation.
    said = f"{done.stdout}{done.stderr}".rstrip()
    if done.returncode:
        raise BuildError(f"the site cannot be built:\n{said}")
    if said:
        print(said, file=sys.stderr)
    if loads := loads_from_elsewhere(made):
        raise BuildError("pages would load from other hosts:\n" + "\n".join(loads))
    output.mkdir(parents=True, exist_ok=True)
    if site.exists():
        shutil.rmtree(site)
    shutil.move(made, site)
    list_versions(output)
    return site


def loads_from_elsewhere(site: Path) -> list[str]:
    """What the pages and styles of a site would load from other hosts."""
    found = []
    for path in sorted(site.rglob("*")):
        if path.suffix in {".html", ".css"}:
            pattern = _LOADS if path.suffix == ".html" else _IN_STYLES
            found += [f"{path.relative_to(site)}: {match[0]}" for match in pattern.finditer(path.read_text())]
    return found


def list_versions(output: Path) -> None:
    """The list that the pages offer versions from, newest first, and the way to the newest one."""
    versions = sorted((path.parent.name for path in output.glob("*/sitemap.xml")), key=_order, reverse=True)
    listed = [{"version": version, "title": version, "aliases": []} for version in versions]
    (output / "versions.json").write_text(json.dumps(listed, indent=1) + "\n")
    newest = f"{versions[0]}/index.html"
    (output / "index.html").write_text(
        f'<!doctype html><meta charset="utf-8"><title>nodespan</title>'
        f'<meta http-equiv="refresh" content="0; url={newest}">'
        f'<a href="{newest}">the documentation of nodespan {versions[0]}</a>\n'
    )


def _order(version: str) -> Version:
    """A candidate comes before its release, and what is no version at the end."""
    try:
        return Version(version)
    except InvalidVersion:
        return Version("0.dev0")
